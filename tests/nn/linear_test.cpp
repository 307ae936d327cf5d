#include "aulos/nn/linear.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "aulos/core/random.hpp"
#include "aulos/nn/initialise.hpp"

namespace {

using aulos::Activation;
using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;
using aulos::nn::Bias;
using aulos::nn::Linear;

static_assert(std::is_same_v<Linear<double>::value_type, double>);

template <class T>
Linear<T> random_linear(Index in, Index out, Bias bias = Bias::yes) {
  Linear<T> layer(in, out, bias);
  aulos::Random random(3);
  aulos::nn::initialise_normal(layer, random, 0.5);
  return layer;
}

// y[r][o] = sum_i x[r][i] w[o][i] + b[o], in double.
template <class T>
double expected(const Linear<T>& layer, const T* x, Index o) {
  double sum = layer.bias.empty() ? 0.0 : static_cast<double>(layer.bias.data()[o]);
  const Index in = layer.weight.in();
  for (Index i = 0; i < in; ++i)
    sum += static_cast<double>(x[i]) * static_cast<double>(layer.weight.rows().data()[o * in + i]);
  return sum;
}

template <class T, int Rank>
void check(Context& context, const Linear<T>& layer, const Shape<Rank>& shape, double tolerance) {
  const Tensor<T, Rank> x = context.normal<T>(shape);
  const Tensor<T, Rank> y = layer(x);
  ASSERT_EQ(y.extent(Rank - 1), layer.weight.out());
  const Index rows = x.count() / layer.weight.in();
  for (Index r = 0; r < rows; ++r)
    for (Index o = 0; o < layer.weight.out(); ++o)
      ASSERT_NEAR(static_cast<double>(y.data()[r * layer.weight.out() + o]),
                  expected(layer, x.data() + r * layer.weight.in(), o), tolerance);
}

TEST(Linear, IsTheProductThatPyTorchDefines) {
  Context context({.threads = 2});
  check(context, random_linear<float>(7, 5), Shape<2>{3, 7}, 1e-5);
  check(context, random_linear<float>(33, 17, Bias::no), Shape<3>{2, 19, 33}, 1e-4);
  check(context, random_linear<float>(64, 130), Shape<4>{1, 2, 3, 64}, 1e-4);
  check(context, random_linear<float>(1, 1), Shape<1>{1}, 1e-6);
  check(context, random_linear<double>(31, 9), Shape<2>{4, 31}, 1e-13);
}

TEST(Linear, AppliesAnActivationInOnePass) {
  Context context({.threads = 1});
  const Linear<float> layer = random_linear<float>(6, 4);
  const auto x = context.normal<float>(Shape<2>{3, 6});
  const auto y = layer(x), z = layer(x, Activation::relu);
  for (Index i = 0; i < y.count(); ++i) EXPECT_EQ(z.data()[i], y.data()[i] > 0 ? y.data()[i] : 0.0f);
}

TEST(Linear, AddsToAGatedResidual) {
  Context context({.threads = 1});
  const Linear<double> layer = random_linear<double>(6, 4);
  const auto x = context.normal<double>(Shape<3>{2, 3, 6});
  const auto gate = context.normal<double>(Shape<3>{2, 1, 4});
  const auto residual = context.normal<double>(Shape<3>{2, 3, 4});
  const auto y = layer(x);
  const auto z = layer.add_to(x, gate, Tensor<double, 3>(residual));
  const auto ungated = layer.add_to(x, {}, Tensor<double, 3>(residual));
  for (Index b = 0; b < 2; ++b) {
    for (Index n = 0; n < 3; ++n) {
      for (Index c = 0; c < 4; ++c) {
        EXPECT_NEAR(z(b, n, c), residual(b, n, c) + gate(b, 0, c) * y(b, n, c), 1e-14);
        EXPECT_NEAR(ungated(b, n, c), residual(b, n, c) + y(b, n, c), 1e-14);
      }
    }
  }
}

TEST(Linear, APackedWeightGivesTheSame) {
  Context context({.threads = 2});
  const Linear<float> layer = random_linear<float>(37, 21);
  Linear<float> packed = layer, half = layer;
  packed.weight.pack();
  half.weight.pack(aulos::Numeric::bf16);
  const auto x = context.normal<float>(Shape<2>{9, 37});
  const auto y = layer(x), z = packed(x), w = half(x);
  double error = 0, size = 0;
  for (Index i = 0; i < y.count(); ++i) {
    EXPECT_NEAR(z.data()[i], y.data()[i], 1e-5);
    error += (w.data()[i] - y.data()[i]) * (w.data()[i] - y.data()[i]);
    size += y.data()[i] * y.data()[i];
  }
  EXPECT_GT(error, 0);  // bf16 rounds by 2^-9 at most
  EXPECT_LT(error, size * 0x1p-9 * 0x1p-9);
}

TEST(Linear, ADefaultOneIsAbsent) {
  EXPECT_TRUE(Linear<float>().empty());
  EXPECT_FALSE((Linear<float>(2, 3).empty()));
  EXPECT_TRUE((Linear<float>(2, 3, Bias::no).bias.empty()));
  EXPECT_EQ(Linear<float>(), Linear<float>());
}

TEST(Linear, SaysWhatDoesNotFit) {
  Context context({.threads = 1});
  const auto x = context.zeros<float>(Shape<2>{3, 6});
  const auto expect = [](const std::string& text, auto&& f) {
    try {
      f();
      ADD_FAILURE() << text;
    } catch (const aulos::Error& error) {
      EXPECT_EQ(error.what(), text);
    }
  };
  const aulos::Scope scope(context.scopes(), "blocks", 2);
  expect("blocks.2: linear: weight [5, 6] has no values yet: load or initialise the model first",
         [&] { Linear<float>(6, 5)(x); });
  expect("blocks.2: linear: weight is absent", [&] { Linear<float>()(x); });
  expect("blocks.2: linear: x [3, 6] has 6 channels, the weight [4, 7] takes 7",
         [&] { random_linear<float>(7, 4)(x); });
  Linear<float> torn = random_linear<float>(6, 4);
  torn.bias = aulos::Parameter<float, 1>(Shape<1>{3});
  torn.bias.data();
  expect("blocks.2: linear: bias [3] of a weight [4, 6], expected [4]", [&] { torn(x); });
  expect("linear: x is empty (moved from?)", [&] { random_linear<float>(6, 4)(Tensor<float, 2>{}); });
}

}  // namespace
