#include "aulos/conditioning/ada_layer_norm_zero_single.hpp"

#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using aulos::conditioning::AdaLayerNormZeroSingle;

static_assert(aulos::nn::Module<AdaLayerNormZeroSingle<float>>);

TEST(AdaLayerNormZeroSingles, ShiftScaleGate) {
  Context context({.threads = 1});
  AdaLayerNormZeroSingle<float> module(5, 4);
  number_parts(module.linear, 3);
  const auto m = module(naive::random<float, 2>(context, Shape<2>{2, 5}, 1));
  EXPECT_EQ(m.shift.shape(), (Shape<3>{2, 1, 4}));
  EXPECT_EQ(place(m.shift), 0);
  EXPECT_EQ(place(m.scale), 1);
  EXPECT_EQ(place(m.gate), 2);
  EXPECT_EQ(names_of(module), "linear.weight linear.bias ");
  EXPECT_EQ(aulos::nn::parameter_count(module), 12 * 5 + 12);
}

TEST(AdaLayerNormZeroSingles, AgreesWithTheFormula) {
  Context context({.threads = 1});
  AdaLayerNormZeroSingle<float> module(5, 4);
  naive::randomise(module, 1);
  for (const Index tokens : {1, 3}) {  // a vector per sample, or per token
    const auto c = naive::random<float, 3>(context, Shape<3>{2, tokens, 5}, 2);
    const auto m = tokens == 1 ? module(c.reshape(Shape<2>{2, 5})) : module(c);
    const naive::Tokens want = naive::linear(naive::Tokens(c), module.linear);
    naive::expect_near(m.shift, channels_of(want, 0, 3), 1e-6);
    naive::expect_near(m.scale, channels_of(want, 1, 3), 1e-6);
    naive::expect_near(m.gate, channels_of(want, 2, 3), 1e-6);
  }
  EXPECT_THROW(module(context.zeros<float>(Shape<2>{2, 6})), aulos::ShapeError);
}

TEST(AdaLayerNormZeroSingles, Gradients) {
  Context context({.threads = 1});
  AdaLayerNormZeroSingle<double> module(3, 4);
  naive::randomise(module, 1);
  const aulos::nn::LayerNorm<double> norm(4, 1e-6, aulos::nn::Affine::no);
  expect_gradients(
      context, module,
      [&](const Tensor<double, 3>& x, const Tensor<double, 2>& c) {
        const auto m = module(c);
        return aulos::gated_residual(Tensor<double, 3>(x), m.gate, norm.modulated(x, m.shift, m.scale));
      },
      std::tuple(naive::random<double, 3>(context, Shape<3>{2, 3, 4}, 2),
                 naive::random<double, 2>(context, Shape<2>{2, 3}, 3)));
}

}  // namespace
