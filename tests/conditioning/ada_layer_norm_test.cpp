#include "aulos/conditioning/ada_layer_norm.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "support/naive_tokens.hpp"

namespace {

using namespace aulos::conditioning;
using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;
using aulos::nn::Affine;
using aulos::nn::LayerNorm;
using aulos::nn::RmsNorm;

constexpr Index width = 5, channels = 4;

static_assert(aulos::nn::Module<AdaLayerNorm<float>> && aulos::nn::Module<AdaLayerNormZero<float>> &&
              aulos::nn::Module<AdaLayerNormContinuous<float, RmsNorm<float>>>);

// Which part is which: with a weight of zero and the bias i in part i the rows say their place.
template <class M>
M numbered(Index parts) {
  M module(width, channels);
  module.linear.weight.rows().data();
  for (Index i = 0; i < parts * channels; ++i) module.linear.bias.data()[i] = static_cast<float>(i / channels);
  return module;
}

float place(const Tensor<float, 3>& row) {
  EXPECT_EQ(row.shape(), (Shape<3>{2, 1, channels}));
  for (Index i = 0; i < channels; ++i) EXPECT_EQ(row(1, 0, i), row(0, 0, 0));
  return row(0, 0, 0);
}

TEST(AdaLayerNorms, OrderOfTheParts) {
  Context context({.threads = 1});
  const auto c = naive::random<float, 2>(context, Shape<2>{2, width}, 1);
  const auto zero = numbered<AdaLayerNormZero<float>>(6)(c);
  EXPECT_EQ(place(zero.attention.shift), 0);
  EXPECT_EQ(place(zero.attention.scale), 1);
  EXPECT_EQ(place(zero.attention.gate), 2);
  EXPECT_EQ(place(zero.mlp.shift), 3);
  EXPECT_EQ(place(zero.mlp.scale), 4);
  EXPECT_EQ(place(zero.mlp.gate), 5);
  const auto plain = numbered<AdaLayerNorm<float>>(4)(c);
  EXPECT_EQ(place(plain.attention.shift), 0);
  EXPECT_EQ(place(plain.attention.scale), 1);
  EXPECT_EQ(place(plain.mlp.shift), 2);
  EXPECT_EQ(place(plain.mlp.scale), 3);
  EXPECT_TRUE(plain.attention.gate.empty() && plain.mlp.gate.empty());
}

// A modulation of zero is the plain norm, to the bit; with weight and bias of the norm up to the rounding of w (1 + 0).
TEST(AdaLayerNorms, ZeroLinearIsThePlainNorm) {
  Context context({.threads = 1});
  const auto c = naive::random<float, 2>(context, Shape<2>{2, width}, 1);
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, channels}, 2);
  AdaLayerNormZero<float> zero(width, channels);
  aulos::nn::for_each_parameter(zero, [](const auto& p) { p.data(); });
  const auto m = zero(c);
  const LayerNorm<float> layer(channels, 1e-6, Affine::no);
  EXPECT_EQ(naive::values(layer.modulated(x, m.attention.shift, m.attention.scale)), naive::values(layer(x)));
  RmsNorm<float> rms(channels, 1e-5);
  naive::randomise(rms, 3);
  EXPECT_EQ(naive::values(rms.modulated(x, m.mlp.shift, m.mlp.scale)), naive::values(rms(x)));
  for (const float g : naive::values(m.attention.gate)) EXPECT_EQ(g, 0.0f);

  LayerNorm<float> affine(channels, 1e-5);
  naive::randomise(affine, 4);
  AdaLayerNormContinuous<float> final(width, channels, affine);
  final.linear.weight.rows().data();
  final.linear.bias.data();
  naive::expect_near(final(x, c), naive::Tokens(affine(x)), 2e-7);
}

// The last adaLN with bias [2, 2, 3, 3] on [-1, 1]: shift first gives x (1 + 3) + 2, scale first x (1 + 2) + 3.
TEST(AdaLayerNormContinuous, OrderOfTheHalves) {
  Context context({.threads = 1});
  const float numbers[] = {-1, 1};
  const auto x = context.from(Shape<3>{1, 1, 2}, numbers);
  const auto c = naive::random<float, 2>(context, Shape<2>{1, width}, 1);
  for (const FinalOrder order : {FinalOrder::scale_shift, FinalOrder::shift_scale}) {
    AdaLayerNormContinuous<float> final(width, 2, LayerNorm<float>(2, 1e-6, Affine::no), order);
    final.linear.weight.rows().data();
    for (const Index i : {0, 1, 2, 3}) final.linear.bias.data()[i] = i < 2 ? 2 : 3;
    const auto y = final(x, c);
    EXPECT_NEAR(y(0, 0, 0), order == FinalOrder::shift_scale ? -2 : 0, 1e-5);
    EXPECT_NEAR(y(0, 0, 1), 6, 1e-5);
  }
}

// diffusers' final with its halves exchanged is DiT's, to the bit.
TEST(AdaLayerNormContinuous, ExchangedHalves) {
  Context context({.threads = 1});
  AdaLayerNormContinuous<float> scale_first(width, channels, LayerNorm<float>(channels, 1e-6, Affine::no));
  naive::randomise(scale_first, 1);
  AdaLayerNormContinuous<float> shift_first(width, channels, scale_first.norm, FinalOrder::shift_scale);
  const auto swap = [](const float* from, float* to, Index half) {
    std::copy_n(from + half, half, to);
    std::copy_n(from, half, to + half);
  };
  swap(scale_first.linear.weight.rows().data(), shift_first.linear.weight.rows().data(), channels * width);
  swap(scale_first.linear.bias.data(), shift_first.linear.bias.data(), channels);
  const auto c = naive::random<float, 2>(context, Shape<2>{2, width}, 2);
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, channels}, 3);
  EXPECT_EQ(naive::values(scale_first(x, c)), naive::values(shift_first(x, c)));
  shift_first.order = FinalOrder::scale_shift;
  EXPECT_NE(naive::values(scale_first(x, c)), naive::values(shift_first(x, c)));
}

TEST(AdaLayerNormContinuous, AgreesWithTheFormula) {
  Context context({.threads = 1});
  const auto c = naive::random<float, 2>(context, Shape<2>{2, width}, 2);
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, channels}, 3);
  const auto check = [&](auto norm) {
    AdaLayerNormContinuous<float, decltype(norm)> final(width, channels, norm);
    naive::randomise(final, 1);
    const auto rows = naive::linear(naive::Tokens(c.unsqueeze(1)), final.linear);
    naive::Tokens shift(2, 1, channels), scale(2, 1, channels);
    for (Index b = 0; b < 2; ++b)
      for (Index i = 0; i < channels; ++i) {
        scale.at(b, 0, i) = rows.at(b, 0, i);
        shift.at(b, 0, i) = rows.at(b, 0, channels + i);
      }
    naive::expect_near(final(x, c), naive::modulate(naive::norm(naive::Tokens(x), final.norm, channels), shift, scale),
                       2e-6);
  };
  check(LayerNorm<float>(channels, 1e-6, Affine::no));
  check(LayerNorm<float>(channels, 1e-5));
  check(RmsNorm<float>(channels, 1e-6));
}

// A vector per token that is the same for all tokens gives the bits of one per sample.
TEST(AdaLayerNorms, ConstantPerTokenIsPerSample) {
  Context context({.threads = 1});
  const auto c = naive::random<float, 2>(context, Shape<2>{2, width}, 2);
  auto by_token = context.empty<float, 3>(Shape<3>{2, 3, width});
  for (Index i = 0; i < by_token.count(); ++i) by_token.mutable_data()[i] = c(i / (3 * width), i % width);
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, channels}, 3);
  AdaLayerNormContinuous<float> final(width, channels, LayerNorm<float>(channels, 1e-6, Affine::no));
  naive::randomise(final, 1);
  EXPECT_EQ(naive::values(final(x, c)), naive::values(final(x, by_token)));
  AdaLayerNormZero<float> zero(width, channels);
  naive::randomise(zero, 1);
  const auto a = zero(c), b = zero(by_token);
  EXPECT_EQ(b.mlp.gate.shape(), (Shape<3>{2, 3, channels}));
  EXPECT_EQ(naive::values(aulos::modulate(x, a.mlp.shift, a.mlp.scale)),
            naive::values(aulos::modulate(x, b.mlp.shift, b.mlp.scale)));
}

}  // namespace
