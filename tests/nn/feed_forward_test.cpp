#include "aulos/nn/feed_forward.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "aulos/nn/initialise.hpp"

namespace {

using aulos::Activation;
using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;
using aulos::nn::Mlp;
using aulos::nn::SwiGlu;

static_assert(aulos::nn::TokenMap<Mlp<float>> && aulos::nn::TokenMap<SwiGlu<double>> &&
              aulos::nn::TokenMap<aulos::nn::Linear<float>>);

template <class M>
M initialised(M module) {
  aulos::Random random(5);
  aulos::nn::initialise_normal(module, random, 0.5);
  return module;
}

// Row n of x through a linear.
std::vector<double> product(const aulos::nn::Linear<double>& layer, const std::vector<double>& x) {
  std::vector<double> y;
  for (Index o = 0; o < layer.weight.out(); ++o) {
    double sum = layer.bias.empty() ? 0 : layer.bias.data()[o];
    for (std::size_t i = 0; i < x.size(); ++i)
      sum += x[i] * layer.weight.rows().data()[o * layer.weight.in() + static_cast<Index>(i)];
    y.push_back(sum);
  }
  return y;
}

double gelu_tanh(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }
double gelu_erf(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }
double silu(double x) { return x / (1 + std::exp(-x)); }

TEST(FeedForward, AnMlpIsTwoLinearsAroundItsActivation) {
  Context context({.threads = 1});
  const auto x = context.normal<double>(Shape<3>{2, 3, 5});
  const auto check = [&](const auto& mlp, double (*function)(double)) {
    const auto y = mlp(x);
    for (Index r = 0; r < 6; ++r) {
      auto h = product(mlp.fc1, {x.data() + r * 5, x.data() + r * 5 + 5});
      for (double& each : h) each = function(each);
      const auto expected = product(mlp.fc2, h);
      for (Index c = 0; c < 5; ++c) EXPECT_NEAR(y.data()[r * 5 + c], expected[static_cast<std::size_t>(c)], 1e-12);
    }
  };
  check(initialised(Mlp<double>(5, 11)), gelu_tanh);  // the tanh form is the default
  check(initialised(Mlp<double, Activation::gelu>(5, 11)), gelu_erf);
  check(initialised(Mlp<double, Activation::silu>(5, 7, aulos::nn::Bias::no)), silu);
}

TEST(FeedForward, ASwiGluGatesItsHiddenUnits) {
  Context context({.threads = 1});
  const auto x = context.normal<double>(Shape<3>{1, 2, 4});
  const auto glu = initialised(SwiGlu<double>(4, 6));
  EXPECT_TRUE(glu.gate.bias.empty());
  const auto y = glu(x);
  for (Index r = 0; r < 2; ++r) {
    const std::vector<double> row(x.data() + r * 4, x.data() + r * 4 + 4);
    auto h = product(glu.gate, row);
    const auto up = product(glu.up, row);
    for (std::size_t i = 0; i < h.size(); ++i) h[i] = silu(h[i]) * up[i];
    const auto expected = product(glu.fc2, h);
    for (Index c = 0; c < 4; ++c) EXPECT_NEAR(y(0, r, c), expected[static_cast<std::size_t>(c)], 1e-12);
  }
}

TEST(FeedForward, AddsToAGatedResidual) {
  Context context({.threads = 1});
  const auto x = context.normal<double>(Shape<3>{2, 3, 4});
  const auto gate = context.normal<double>(Shape<3>{2, 1, 4});
  const auto base = context.normal<double>(Shape<3>{2, 3, 4});
  const auto check = [&](const auto& f) {
    const auto y = f(x), z = f.add_to(x, gate, Tensor<double, 3>(base));
    for (Index b = 0; b < 2; ++b)
      for (Index n = 0; n < 3; ++n)
        for (Index c = 0; c < 4; ++c) EXPECT_NEAR(z(b, n, c), base(b, n, c) + gate(b, 0, c) * y(b, n, c), 1e-13);
  };
  check(initialised(Mlp<double>(4, 9)));
  check(initialised(SwiGlu<double>(4, 9)));
}

TEST(FeedForward, IsARegularTypeWithNames) {
  std::vector<std::string> names;
  const auto collect = [&](const auto& p) { names.push_back(p.name); };
  const auto mlp = initialised(Mlp<float>(3, 4));
  const auto glu = initialised(SwiGlu<float>(3, 4));
  aulos::nn::for_each_parameter(mlp, collect);
  aulos::nn::for_each_parameter(glu, collect);
  EXPECT_EQ(names, (std::vector<std::string>{"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "gate.weight",
                                             "up.weight", "fc2.weight"}));
  auto copy = mlp;
  EXPECT_EQ(copy, mlp);
  copy.fc2.bias.data()[0] += 1;
  EXPECT_NE(copy, mlp);
  EXPECT_TRUE(Mlp<float>().empty());
  EXPECT_FALSE(glu.empty());
}

}  // namespace
