#include "aulos/ops/modulate.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

TEST(ModulateOp, RowPerSampleOrPerToken) {
  Context context;
  const auto x = of<float>(context, Shape<3>{2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  const auto shift = of<float>(context, Shape<2>{2, 2}, {10, 20, 30, 40}),
             scale = of<float>(context, Shape<2>{2, 2}, {0, 1, -1, 2});
  const std::vector<double> expected = {11, 24, 13, 28, 30, 58, 30, 64};
  expect_values(modulate(x, shift, scale), expected);
  expect_values(modulate(x, shift.unsqueeze(1), scale.unsqueeze(1)), expected);
  expect_values(
      modulate(x, shift.unsqueeze(1).broadcast(Shape<3>{2, 2, 2}), scale.unsqueeze(1).broadcast(Shape<3>{2, 2, 2})),
      expected);
  expect_values(modulate(x, shift, {}), {11, 22, 13, 24, 35, 46, 37, 48});
  expect_values(modulate(x, Tensor<float, 2>(), scale), {1, 4, 3, 8, 0, 18, 0, 24});
  EXPECT_EQ(values(modulate(x, Tensor<float, 2>(), {})), values(x));
}

TEST(GatedResidualOp, AddsTheGatedBranch) {
  Context context;
  const auto r = of<float>(context, Shape<3>{2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8}),
             f = of<float>(context, Shape<3>{2, 2, 2}, {1, 1, 2, 2, 3, 3, 4, 4});
  const auto gate = of<float>(context, Shape<2>{2, 2}, {0, 1, -1, 2});
  expect_values(gated_residual(Tensor<float, 3>(r), gate, f), {1, 3, 3, 6, 2, 12, 3, 16});
  expect_values(gated_residual(Tensor<float, 3>(r), Tensor<float, 2>(), f), {2, 3, 5, 6, 8, 9, 11, 12});
}

TEST(GatedResidualOp, WritesIntoAResidualThatItHoldsAlone) {
  Context context;
  auto r = context.full<float>(Shape<3>{1, 2, 5}, 1);
  const float* memory = r.data();
  const auto f = context.full<float>(Shape<3>{1, 2, 5}, 2);
  auto y = gated_residual(std::move(r), Tensor<float, 2>(), f);
  EXPECT_EQ(y.data(), memory);
  const auto kept = y;
  const auto z = gated_residual(std::move(y), Tensor<float, 2>(), f);
  EXPECT_NE(z.data(), memory);
  EXPECT_EQ(values(kept), std::vector<float>(10, 3));
  EXPECT_EQ(values(z), std::vector<float>(10, 5));
}

// Both ops with parts of every shape.
template <class T>
std::vector<AnyTensor<T>> all_of(Case<T>& c, const Shape<3>& shape) {
  const auto x = c.template in<3>(shape, 1), f = c.template in<3>(shape, 2);
  const auto a = c.template in<2>(Shape<2>{shape[0], shape[2]}, 3),
             b = c.template in<2>(Shape<2>{shape[0], shape[2]}, 4);
  const auto a1 = c.template in<3>(Shape<3>{shape[0], 1, shape[2]}, 5),
             b1 = c.template in<3>(Shape<3>{shape[0], 1, shape[2]}, 6);
  const auto an = c.template in<3>(shape, 7), bn = c.template in<3>(shape, 8);
  return results(modulate(x, a, b), modulate(x, a1, b1), modulate(x, an, bn), modulate(x, a, {}),
                 modulate(x, Tensor<T, 2>(), b), gated_residual(Tensor<T, 3>(x), a, f),
                 gated_residual(Tensor<T, 3>(x), a1, f), gated_residual(Tensor<T, 3>(x), an, f),
                 gated_residual(Tensor<T, 3>(x), Tensor<T, 2>(), f));
}

TEST(ModulateOps, Gradients) {
  for (const Shape<3>& shape : {Shape<3>{2, 3, 7}, {1, 1, 17}, {1, 2, 1}, {2, 1, 5}}) {
    SCOPED_TRACE(to_string(shape));
    expect_gradients([&](Case<double>& c) { return all_of(c, shape); });
  }
  expect_gradients([](Case<double>& c) {  // four axes: one row for all tokens of a sample
    const auto x = c.in<4>(Shape<4>{2, 2, 3, 5}, 1);
    const auto a = c.in<2>(Shape<2>{2, 5}, 2), b = c.in<2>(Shape<2>{2, 5}, 3);
    return results(modulate(x, a, b));
  });
}

TEST(ModulateOps, LayoutsAndThreadsAgree) {
  expect_layouts_agree<float>([](Case<float>& c) { return all_of(c, Shape<3>{3, 4, 19}); });
  expect_threads_agree<float>([](Case<float>& c) { return all_of(c, Shape<3>{3, 64, 257}); });
}

TEST(ModulateOps, WithoutTokensOrSamples) {
  const Outcome<float> no_tokens = forward_backward<float>([](Case<float>& c) { return all_of(c, Shape<3>{2, 0, 5}); });
  EXPECT_EQ(no_tokens.gradients[2], std::vector<float>(10, 0));
  EXPECT_EQ(no_tokens.gradients[3], std::vector<float>(10, 0));
  EXPECT_EQ(no_tokens.gradients[4], std::vector<float>(10, 0));
  const Outcome<float> no_samples = forward_backward<float>([](Case<float>& c) {
    return all_of(c, Shape<3>{0, 3, 5});
  });
  for (const auto& g : no_samples.gradients) EXPECT_TRUE(g.empty());
}

TEST(ModulateOps, KeepNaN) {
  for (Index width = 1; width <= 35; ++width) {
    Context context;
    auto x = context.zeros<float>(Shape<2>{1, width});
    x.mutable_data()[width - 1] = nan_value;
    const auto zero = context.zeros<float>(Shape<2>{1, width});
    EXPECT_TRUE(std::isnan(modulate(x, zero, zero)(0, width - 1)));
    EXPECT_TRUE(std::isnan(gated_residual(Tensor<float, 2>(zero), zero, x)(0, width - 1)));  // 0 * NaN
  }
}

TEST(ModulateOps, Records) {
  const Shape<3> shape{2, 3, 7};
  const Shape<2> row{2, 7};
  expect_records<float>("modulate", {"x", "shift", "scale"}, [&](Case<float>& c) {
    const auto x = c.in<3>(shape, 1);
    const auto a = c.in<2>(row, 2), b = c.in<2>(row, 3);
    return results(modulate(x, a, b));
  });
  expect_records<float>("gated_residual", {"residual", "gate", "f"}, [&](Case<float>& c) {
    auto r = c.in<3>(shape, 1);
    const auto f = c.in<3>(shape, 2);
    const auto gate = c.in<2>(row, 3);
    return results(gated_residual(Tensor<float, 3>(r), gate, f));
  });
}

TEST(ModulateOps, SayWhatIsWrong) {
  const auto x = [](Context& c) { return c.zeros<float>(Shape<3>{2, 3, 5}); };
  const auto row = [](Context& c, const Shape<2>& shape) { return c.zeros<float>(shape); };
  const auto part = [](Context& c, const Shape<3>& shape) { return c.zeros<float>(shape); };
  expect_errors({
      {"shift width",
       [&](Context& c) {
         modulate(x(c), row(c, {2, 4}), {});
       },
       {"modulate: ", "shift [2, 4]", "x [2, 3, 5]", "expected"}},
      {"shift batch",
       [&](Context& c) {
         modulate(x(c), row(c, {1, 5}), {});
       },
       {"modulate: ", "shift [1, 5]"}},
      {"scale tokens",
       [&](Context& c) {
         modulate(x(c), part(c, {2, 1, 5}), part(c, {2, 2, 5}));
       },
       {"modulate: ", "scale [2, 2, 5]"}},
      {"no x",
       [&](Context& c) {
         modulate(Tensor<float, 3>(), row(c, {2, 5}), {});
       },
       {"modulate: x is empty"}},
      {"f shape",
       [&](Context& c) {
         gated_residual(x(c), row(c, {2, 5}), c.zeros<float>(Shape<3>{2, 4, 5}));
       },
       {"gated_residual: ", "residual [2, 3, 5]", "f [2, 4, 5]"}},
      {"gate",
       [&](Context& c) {
         gated_residual(x(c), row(c, {2, 3}), x(c));
       },
       {"gated_residual: ", "gate [2, 3]", "x [2, 3, 5]"}},
      {"no residual",
       [&](Context& c) {
         gated_residual({}, row(c, {2, 5}), x(c));
       },
       {"gated_residual: residual is empty"}},
      {"no f",
       [&](Context& c) {
         gated_residual(x(c), row(c, {2, 5}), Tensor<float, 3>());
       },
       {"gated_residual: f is empty"}},
  });
}

}  // namespace
