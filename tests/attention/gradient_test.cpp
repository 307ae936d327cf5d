#include <gtest/gtest.h>

#include "attention/attention_support.hpp"

namespace {

using namespace attention_support;

// Gradients through the views of the fused product.
TEST(AttentionGradients, OfFusedProjections) {
  Context context({.threads = 1});
  FusedQkv<double, aulos::nn::AcrossHeads<RmsNorm<double>>> fused(3, {2, 4}, aulos::nn::Bias::yes,
                                                                  {RmsNorm<double>(8, 1e-5)});
  naive::randomise(fused, 6);
  const auto f = [&](const Tensor<double, 3>& x) {
    const auto y = fused(x);
    return std::tuple(y.q, y.k, y.v);
  };
  const auto result = gradcheck(context, f, std::tuple(naive::random<double, 3>(context, Shape<3>{2, 3, 3}, 2)),
                                naive::parameters_of(fused));
  EXPECT_TRUE(result) << to_string(result);
}

TEST(AttentionGradients, OfCrossAttention) {
  Context context({.threads = 1});
  auto m =
      make<double, PerHead<RmsNorm<double>>>(5, 3, {.heads = 2, .width = 4, .groups = 1}, {RmsNorm<double>(4, 1e-6)});
  const auto result = gradcheck(
      context, [&](const Tensor<double, 3>& x, const Tensor<double, 3>& y) { return m.cross(x, y); },
      std::tuple(naive::random<double, 3>(context, Shape<3>{2, 3, 5}, 2),
                 naive::random<double, 3>(context, Shape<3>{2, 4, 3}, 3)),
      naive::parameters_of(m));
  EXPECT_TRUE(result) << to_string(result);
}

}  // namespace
