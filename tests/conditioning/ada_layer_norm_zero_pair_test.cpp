#include "aulos/conditioning/ada_layer_norm_zero_pair.hpp"

#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using aulos::conditioning::AdaLayerNormZeroPair;
using aulos::conditioning::PairOrder;
using aulos::conditioning::StreamModulation;

static_assert(aulos::nn::Module<AdaLayerNormZeroPair<float>>);

std::vector<float> places(const StreamModulation<float>& m) {
  std::vector<float> all;
  for (const auto& row : {m.attention.shift, m.attention.scale, m.attention.gate, m.mlp.shift, m.mlp.scale, m.mlp.gate})
    all.push_back(place(row));
  return all;
}

TEST(AdaLayerNormZeroPairs, OrdersOfTheTwelveParts) {
  Context context({.threads = 1});
  const auto c = naive::random<float, 2>(context, Shape<2>{2, 5}, 1);
  AdaLayerNormZeroPair<float> module(5, 4);
  number_parts(module.linear, 12);
  EXPECT_EQ(places(module(c)[0]), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(places(module(c)[1]), (std::vector<float>{6, 7, 8, 9, 10, 11}));
  module.order = PairOrder::interleaved;
  EXPECT_EQ(places(module(c)[0]), (std::vector<float>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(places(module(c)[1]), (std::vector<float>{1, 3, 5, 7, 9, 11}));
  EXPECT_EQ(names_of(module), "linear.weight linear.bias ");
  EXPECT_THROW(module(context.zeros<float>(Shape<2>{2, 4})), aulos::ShapeError);
}

TEST(AdaLayerNormZeroPairs, AgreesWithTheFormula) {
  Context context({.threads = 1});
  AdaLayerNormZeroPair<float> module(5, 4);
  naive::randomise(module, 1);
  const auto c = naive::random<float, 2>(context, Shape<2>{2, 5}, 2);
  const naive::Tokens want = naive::linear(vectors(c), module.linear);
  naive::expect_near(module(c)[0].mlp.gate, channels_of(want, 5, 12), 1e-6);
  naive::expect_near(module(c)[1].attention.scale, channels_of(want, 7, 12), 1e-6);
}

TEST(AdaLayerNormZeroPairs, Gradients) {
  Context context({.threads = 1});
  AdaLayerNormZeroPair<double> module(3, 2, PairOrder::interleaved);
  naive::randomise(module, 1);
  expect_gradients(
      context, module,
      [&](const Tensor<double, 2>& c) {
        const auto m = module(c);
        return std::tuple(m[0].attention.shift, m[0].mlp.gate, m[1].attention.scale, m[1].mlp.scale);
      },
      std::tuple(naive::random<double, 2>(context, Shape<2>{2, 3}, 3)));
}

}  // namespace
