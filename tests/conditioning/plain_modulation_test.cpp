#include "aulos/conditioning/plain_modulation.hpp"

#include "aulos/nn/initialise.hpp"
#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using namespace aulos::conditioning;

static_assert(aulos::nn::Module<PlainModulation<float>> && aulos::nn::Module<PlainGate<float>> &&
              aulos::nn::Module<PlainFinal<float>>);

// x scale + shift, written out.
naive::Tokens scaled(naive::Tokens x, const naive::Tokens& scale, const naive::Tokens& shift) {
  for (Index b = 0; b < x.batch; ++b)
    for (Index n = 0; n < x.count; ++n)
      for (Index c = 0; c < x.channels; ++c)
        x.at(b, n, c) = x.at(b, n, c) * scale.shared(b, n, c) + shift.shared(b, n, c);
  return x;
}

TEST(PlainModulations, AgreesWithTheFormula) {
  Context context({.threads = 1});
  PlainModulation<float> module(5, 4);
  naive::randomise(module, 1);
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, 4}, 2);
  const auto c = naive::random<float, 2>(context, Shape<2>{2, 5}, 3);
  naive::expect_near(
      module(x, c),
      scaled(naive::Tokens(x), naive::linear(vectors(c), module.scale), naive::linear(vectors(c), module.shift)), 1e-6);
  EXPECT_EQ(names_of(module), "scale.weight scale.bias shift.weight shift.bias ");
}

// Without "1 +" zero weights give zero, not the identity.
TEST(PlainModulations, ZeroLinearsGiveZero) {
  Context context({.threads = 1});
  PlainModulation<float> module(5, 4);
  aulos::nn::zero(module);
  PlainFinal<float> final(5, 4);
  aulos::nn::zero(final);
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, 4}, 2);
  const auto c = naive::random<float, 2>(context, Shape<2>{2, 5}, 3);
  for (const auto& y : {module(x, c), final(x, c)})
    for (const float v : naive::values(y)) EXPECT_EQ(v, 0.0f);
}

TEST(PlainGates, ZeroIsTheIdentity) {
  Context context({.threads = 1});
  PlainGate<float> gate(5, 4);
  aulos::nn::zero(gate);
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, 4}, 2);
  const auto f = naive::random<float, 3>(context, Shape<3>{2, 3, 4}, 3);
  const auto c = naive::random<float, 2>(context, Shape<2>{2, 5}, 4);
  EXPECT_EQ(naive::values(aulos::gated_residual(Tensor<float, 3>(x), gate(c), f)), naive::values(x));
  naive::randomise(gate, 1);
  naive::expect_near(aulos::gated_residual(Tensor<float, 3>(x), gate(c), f),
                     naive::gated(naive::Tokens(x), naive::linear(vectors(c), gate.scale), naive::Tokens(f)), 1e-6);
  EXPECT_EQ(names_of(gate), "scale.weight scale.bias ");
}

TEST(PlainFinals, ShiftFirst) {
  Context context({.threads = 1});
  PlainFinal<float> final(5, 4);
  naive::randomise(final, 1);
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, 4}, 2);
  const auto c = naive::random<float, 2>(context, Shape<2>{2, 5}, 3);
  const naive::Tokens rows = naive::linear(vectors(c), final.linear);
  naive::expect_near(final(x, c), scaled(naive::Tokens(x), channels_of(rows, 1, 2), channels_of(rows, 0, 2)), 1e-6);
  EXPECT_EQ(names_of(final), "weight bias ");
  EXPECT_THROW(final(context.zeros<float>(Shape<3>{2, 3, 5}), c), aulos::ShapeError);
}

TEST(PlainModulations, Gradients) {
  Context context({.threads = 1});
  const auto inputs = std::tuple(naive::random<double, 3>(context, Shape<3>{2, 3, 4}, 2),
                                 naive::random<double, 2>(context, Shape<2>{2, 3}, 3));
  PlainModulation<double> module(3, 4);
  naive::randomise(module, 1);
  expect_gradients(
      context, module, [&](const Tensor<double, 3>& x, const Tensor<double, 2>& c) { return module(x, c); }, inputs);
  PlainFinal<double> final(3, 4);
  naive::randomise(final, 1);
  expect_gradients(
      context, final, [&](const Tensor<double, 3>& x, const Tensor<double, 2>& c) { return final(x, c); }, inputs);
}

}  // namespace
