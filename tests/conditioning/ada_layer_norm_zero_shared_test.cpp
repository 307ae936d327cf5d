#include "aulos/conditioning/ada_layer_norm_zero_shared.hpp"

#include "aulos/nn/initialise.hpp"
#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using aulos::conditioning::AdaLayerNormZeroShared;

static_assert(aulos::nn::Module<AdaLayerNormZeroShared<float>>);

TEST(AdaLayerNormZeroShareds, AgreesWithTheFormula) {
  Context context({.threads = 1});
  AdaLayerNormZeroShared<float> module(5, 4);
  naive::randomise(module, 1);
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, 4}, 2);
  const auto y = naive::random<float, 3>(context, Shape<3>{2, 6, 4}, 3);
  const auto c = naive::random<float, 2>(context, Shape<2>{2, 5}, 4);
  const naive::Tokens rows = naive::linear(vectors(c), module.linear);
  const auto part = [&](Index i) { return channels_of(rows, i, 6); };
  const auto out = module(x, y, c);
  const auto normed = [&](const Tensor<float, 3>& of) { return naive::norm(naive::Tokens(of), module.norm, 4); };
  naive::expect_near(out.x[0], naive::modulate(normed(x), part(0), part(1)), 2e-6);
  naive::expect_near(out.x[1], naive::modulate(normed(y), part(3), part(4)), 2e-6);
  naive::expect_near(out.gate[0], part(2), 1e-6);
  naive::expect_near(out.gate[1], part(5), 1e-6);
}

// With a linear of zero both streams come out as their norm alone, up to the rounding of w (1 + 0).
TEST(AdaLayerNormZeroShareds, ZeroLinearIsThePlainNorm) {
  Context context({.threads = 1});
  AdaLayerNormZeroShared<float> module(5, 4);
  naive::randomise(module, 1);
  aulos::nn::zero(module.linear);
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, 4}, 2);
  const auto out = module(x, x, naive::random<float, 2>(context, Shape<2>{2, 5}, 4));
  naive::expect_near(out.x[0], naive::Tokens(module.norm(x)), 2e-7);
  EXPECT_EQ(naive::values(out.x[0]), naive::values(out.x[1]));
  for (const float g : naive::values(out.gate[1])) EXPECT_EQ(g, 0.0f);
}

TEST(AdaLayerNormZeroShareds, NamesDefaultsAndErrors) {
  Context context({.threads = 1});
  AdaLayerNormZeroShared<float> module(5, 4);
  EXPECT_EQ(names_of(module), "linear.weight linear.bias norm.weight norm.bias ");
  EXPECT_EQ(module.norm.eps, 1e-5);
  naive::randomise(module, 1);
  const auto x = context.zeros<float>(Shape<3>{2, 3, 4});
  EXPECT_THROW(module(x, context.zeros<float>(Shape<3>{2, 3, 5}), context.zeros<float>(Shape<2>{2, 5})),
               aulos::ShapeError);
  EXPECT_THROW(module(x, x, context.zeros<float>(Shape<2>{3, 5})), aulos::ShapeError);
}

TEST(AdaLayerNormZeroShareds, Gradients) {
  Context context({.threads = 1});
  AdaLayerNormZeroShared<double> module(3, 4);
  naive::randomise(module, 1);
  expect_gradients(
      context, module,
      [&](const Tensor<double, 3>& x, const Tensor<double, 3>& y, const Tensor<double, 2>& c) {
        const auto out = module(x, y, c);
        return std::tuple(out.x[0], out.x[1], out.gate[0], out.gate[1]);
      },
      std::tuple(naive::random<double, 3>(context, Shape<3>{2, 3, 4}, 2),
                 naive::random<double, 3>(context, Shape<3>{2, 1, 4}, 3),
                 naive::random<double, 2>(context, Shape<2>{2, 3}, 4)));
}

}  // namespace
