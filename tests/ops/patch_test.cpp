#include "aulos/ops/patch.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::PatchOrder;

constexpr PatchOrder orders[] = {PatchOrder::channel_first, PatchOrder::channel_last};

Tensor<float, 4> counting(Context& context, const Shape<4>& shape) {
  auto x = context.empty<float>(shape);
  for (Index i = 0; i < x.count(); ++i) x.mutable_data()[i] = static_cast<float>(i);
  return x;
}

TEST(PatchOps, OrderInsideAToken) {
  Context context;
  const auto x = counting(context, Shape<4>{1, 2, 4, 6});
  const auto convolution = patchify(x, 2), output = patchify(x, 2, PatchOrder::channel_last);
  EXPECT_EQ(convolution.shape(), (Shape<3>{1, 6, 8}));
  expect_values(convolution.slice(1, 0, 1), {0, 1, 6, 7, 24, 25, 30, 31});
  expect_values(convolution.slice(1, 3, 4), {12, 13, 18, 19, 36, 37, 42, 43});
  expect_values(output.slice(1, 0, 1), {0, 24, 1, 25, 6, 30, 7, 31});
}

TEST(PatchOps, PixelShuffleIsTheSameWithOneTokenPerPixel) {
  Context context;  // [[[1, 2], [3, 4]], [[5, 6], [7, 8]]] with r = 2: channels 1 to 8
  const auto x = of<float>(context, Shape<4>{1, 2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  expect_values(patchify(x, 2), {1, 2, 3, 4, 5, 6, 7, 8});
}

TEST(PatchOps, UnpatchifyIsTheInverse) {
  for (const PatchOrder order : orders) {
    for (const Shape<4>& shape : {Shape<4>{2, 3, 4, 6}, {1, 1, 2, 2}, {2, 5, 6, 2}, {0, 3, 4, 4}}) {
      Context context;
      const auto x = counting(context, shape);
      const auto y = unpatchify(patchify(x, 2, order), shape[2] / 2, shape[3] / 2, 2, order);
      EXPECT_EQ(y.shape(), shape);
      EXPECT_EQ(values(y), values(x));
    }
    Context context;
    const auto x = counting(context, Shape<4>{2, 3, 3, 5});
    EXPECT_EQ(values(unpatchify(patchify(x, 1, order), 3, 5, 1, order)), values(x));
  }
}

template <class T>
std::vector<AnyTensor<T>> all_of(Case<T>& c, const Shape<4>& shape, Index patch, PatchOrder order) {
  const Index rows = shape[2] / patch, columns = shape[3] / patch;
  const auto x = c.template in<4>(shape, 1);
  const auto tokens = c.template in<3>(Shape<3>{shape[0], rows * columns, shape[1] * patch * patch}, 2);
  return results(patchify(x, patch, order), unpatchify(tokens, rows, columns, patch, order));
}

TEST(PatchOps, GradientsLayoutsAndThreads) {
  for (const PatchOrder order : orders) {
    expect_gradients([&](Case<double>& c) { return all_of(c, Shape<4>{2, 3, 4, 6}, 2, order); });
    expect_gradients([&](Case<double>& c) { return all_of(c, Shape<4>{1, 1, 3, 3}, 3, order); });
    expect_gradients([&](Case<double>& c) { return all_of(c, Shape<4>{1, 1, 1, 1}, 1, order); });
    expect_layouts_agree<float>([&](Case<float>& c) { return all_of(c, Shape<4>{2, 3, 4, 6}, 2, order); });
    expect_threads_agree<float>([&](Case<float>& c) { return all_of(c, Shape<4>{2, 4, 64, 96}, 2, order); });
  }
}

TEST(PatchOps, Records) {
  const Shape<4> shape{2, 3, 4, 6};
  expect_records<float>("patchify", {"x"}, [&](Case<float>& c) { return results(patchify(c.in<4>(shape, 1), 2)); });
  expect_records<float>("unpatchify", {"x"}, [&](Case<float>& c) {
    return results(unpatchify(c.in<3>(Shape<3>{2, 6, 12}, 1), 2, 3, 2, PatchOrder::channel_last));
  });
}

TEST(PatchOps, SayWhatIsWrong) {
  const auto image = [](Context& c) { return c.zeros<float>(Shape<4>{1, 2, 4, 6}); };
  const auto tokens = [](Context& c) { return c.zeros<float>(Shape<3>{1, 6, 8}); };
  const PatchOrder order = PatchOrder::channel_first;
  expect_errors({
      {"height", [&](Context& c) { patchify(image(c), 3); }, {"patchify: ", "x [1, 2, 4, 6]", "patch size 3"}},
      {"patch 0", [&](Context& c) { patchify(image(c), 0); }, {"patchify: ", "patch size 0"}},
      {"tokens",
       [&](Context& c) { unpatchify(tokens(c), 2, 2, 2, order); },
       {"unpatchify: ", "x [1, 6, 8]", "expected [B, 4, C * 4]", "2 by 2"}},
      {"channels", [&](Context& c) { unpatchify(tokens(c), 2, 3, 3, order); }, {"unpatchify: ", "C * 9"}},
      {"unpatchify 0", [&](Context& c) { unpatchify(tokens(c), 2, 3, 0, order); }, {"unpatchify: "}},
      {"negative", [&](Context& c) { unpatchify(tokens(c), -2, -3, 2, order); }, {"unpatchify: "}},
      {"no image", [](Context&) { patchify(Tensor<float, 4>(), 2); }, {"patchify: x is empty"}},
      {"no tokens", [&](Context&) { unpatchify(Tensor<float, 3>(), 1, 1, 2, order); }, {"unpatchify: x is empty"}},
  });
}

}  // namespace
