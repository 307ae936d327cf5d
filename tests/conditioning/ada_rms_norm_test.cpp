#include "aulos/conditioning/ada_rms_norm.hpp"

#include "aulos/nn/initialise.hpp"
#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using aulos::conditioning::AdaRmsNormZero;
using aulos::nn::Affine;
using aulos::nn::RmsNorm;

static_assert(aulos::nn::Module<AdaRmsNormZero<float>>);

TEST(AdaRmsNorms, OrderOfTheParts) {
  Context context({.threads = 1});
  AdaRmsNormZero<float> module(5, 4, RmsNorm<float>(4, 1e-5));
  number_parts(module.linear, 4);
  const auto m = module.rows(naive::random<float, 2>(context, Shape<2>{2, 5}, 1));
  EXPECT_EQ(place(m.attention.scale), 0);
  EXPECT_EQ(place(m.attention.gate), 1);
  EXPECT_EQ(place(m.mlp.scale), 2);
  EXPECT_EQ(place(m.mlp.gate), 3);
  EXPECT_TRUE(m.attention.shift.empty() && m.mlp.shift.empty());
}

TEST(AdaRmsNorms, AgreesWithTheFormula) {
  Context context({.threads = 1});
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, 4}, 2);
  const auto c = naive::random<float, 2>(context, Shape<2>{2, 5}, 3);
  for (const Affine affine : {Affine::no, Affine::yes}) {
    AdaRmsNormZero<float> module(5, 4, RmsNorm<float>(4, 1e-5, affine));
    naive::randomise(module, 1);
    const naive::Tokens rows = naive::linear(vectors(c), module.linear);
    const naive::Tokens want =
        naive::modulate(naive::norm(naive::Tokens(x), module.norm, 4), {}, channels_of(rows, 0, 4));
    naive::expect_near(module(x, module.rows(c)), want, 2e-6);
    aulos::nn::zero(module.linear);
    naive::expect_near(module(x, module.rows(c)), naive::Tokens(module.norm(x)), 2e-7);
    EXPECT_EQ(names_of(module),
              affine == Affine::yes ? "linear.weight linear.bias norm.weight " : "linear.weight linear.bias ");
  }
}

TEST(AdaRmsNorms, Gradients) {
  Context context({.threads = 1});
  AdaRmsNormZero<double> module(3, 4, RmsNorm<double>(4, 1e-5));
  naive::randomise(module, 1);
  expect_gradients(
      context, module,
      [&](const Tensor<double, 3>& x, const Tensor<double, 2>& c) {
        const auto m = module.rows(c);
        return std::tuple(module(x, m), m.attention.gate, m.mlp.scale, m.mlp.gate);
      },
      std::tuple(naive::random<double, 3>(context, Shape<3>{2, 3, 4}, 2),
                 naive::random<double, 2>(context, Shape<2>{2, 3}, 3)));
  EXPECT_THROW(module(context.zeros<double>(Shape<3>{2, 3, 5}), module.rows(context.zeros<double>(Shape<2>{2, 3}))),
               aulos::ShapeError);
}

}  // namespace
