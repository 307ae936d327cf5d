#include "aulos/ops/pixel_shuffle.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::pixel_shuffle;
using aulos::pixel_unshuffle;

// torch.nn.functional.pixel_shuffle: channel (c, i, j) is pixel (i, j).
TEST(PixelShuffleOps, OrderOfChannels) {
  Context context;
  const auto x = of<float>(context, Shape<4>{1, 8, 1, 2}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15});
  const auto y = pixel_shuffle(x, 2);
  EXPECT_EQ(y.shape(), (Shape<4>{1, 2, 2, 4}));
  expect_values(y, {0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15});
  const auto pixels = of<float>(context, Shape<4>{1, 2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  expect_values(pixel_unshuffle(pixels, 2), {1, 2, 3, 4, 5, 6, 7, 8});
}

TEST(PixelShuffleOps, AreInverses) {
  Context context;
  for (const Shape<4>& shape : {Shape<4>{2, 9, 2, 3}, {1, 18, 1, 1}, {0, 9, 2, 2}}) {
    const auto x = context.normal<float>(shape);
    EXPECT_EQ(values(pixel_unshuffle(pixel_shuffle(x, 3), 3)), values(x));
  }
}

template <class T>
std::vector<AnyTensor<T>> all_of(Case<T>& c, Index batch, Index side) {
  return results(pixel_shuffle(c.template in<4>(Shape<4>{batch, 8, side, 3}, 1), 2),
                 pixel_unshuffle(c.template in<4>(Shape<4>{batch, 2, 2 * side, 4}, 2), 2));
}

TEST(PixelShuffleOps, GradientsLayoutsAndThreads) {
  expect_gradients([](Case<double>& c) { return all_of(c, 2, 3); });
  expect_gradients([](Case<double>& c) { return all_of(c, 1, 1); });
  expect_layouts_agree<float>([](Case<float>& c) { return all_of(c, 2, 3); });
  expect_threads_agree<float>([](Case<float>& c) { return all_of(c, 9, 200); });
}

TEST(PixelShuffleOps, Records) {
  expect_records<float>("pixel_shuffle", {"x"}, [](Case<float>& c) {
    return results(pixel_shuffle(c.in<4>(Shape<4>{2, 8, 3, 4}, 1), 2));
  });
  expect_records<float>("pixel_unshuffle", {"x"}, [](Case<float>& c) {
    return results(pixel_unshuffle(c.in<4>(Shape<4>{2, 2, 4, 6}, 1), 2));
  });
}

TEST(PixelShuffleOps, SayWhatIsWrong) {
  expect_errors({
      {"channels",
       [](Context& c) {
         pixel_shuffle(c.zeros<float>(Shape<4>{1, 6, 2, 2}), 2);
       },
       {"pixel_shuffle: x [1, 6, 2, 2] has 6 channels", "factor 2"}},
      {"factor",
       [](Context& c) {
         pixel_shuffle(c.zeros<float>(Shape<4>{1, 6, 2, 2}), 0);
       },
       {"factor 0"}},
      {"width",
       [](Context& c) {
         pixel_unshuffle(c.zeros<float>(Shape<4>{1, 6, 2, 3}), 2);
       },
       {"pixel_unshuffle: x [1, 6, 2, 3]", "factor 2"}},
      {"no x", [](Context&) { pixel_shuffle(Tensor<float, 4>(), 2); }, {"pixel_shuffle: x is empty"}},
  });
}

}  // namespace
