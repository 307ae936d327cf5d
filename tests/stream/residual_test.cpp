#include "aulos/stream/residual.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "aulos/nn/feed_forward.hpp"
#include "support/naive_tokens.hpp"

namespace {

using namespace aulos::stream;
using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;
using aulos::nn::LayerNorm;
using aulos::nn::Linear;
using aulos::nn::RmsNorm;

static_assert(Residual<Gated> && Residual<SandwichTanh<RmsNorm<float>>> && Residual<FromInput> &&
              Residual<LayerScale<float>> && !Residual<int>);

constexpr Index channels = 6;
const Shape<3> shape{2, 3, channels};

struct Problem {
  Context context{{.threads = 1}};
  Linear<float> f{channels, channels};
  Tensor<float, 3> h = naive::random<float, 3>(context, shape, 1), x = naive::random<float, 3>(context, shape, 2),
                   input = naive::random<float, 3>(context, shape, 3);
  naive::Tokens f_of_h;

  Problem() {
    naive::randomise(f, 4);
    f_of_h = naive::linear(naive::Tokens(h), f);
  }
  Tensor<float, 3> copy() { return context.from(shape, x.data()); }
  // Absent, one row per sample, one per token.
  std::vector<Tensor<float, 3>> gates() {
    return {Tensor<float, 3>(), naive::random<float, 3>(context, Shape<3>{2, 1, channels}, 5),
            naive::random<float, 3>(context, shape, 6)};
  }
};

TEST(Residuals, GatedAddsToTheStream) {
  Problem p;
  for (const Tensor<float, 3>& gate : p.gates())
    naive::expect_near(Gated()(p.f, p.h, gate, p.copy(), p.input),
                       naive::gated(naive::Tokens(p.x), naive::Tokens(gate), p.f_of_h), 1e-6);
}

TEST(Residuals, LayerScaleMultipliesEachChannel) {
  Problem p;
  LayerScale<float> rule(channels);
  naive::randomise(rule, 9);
  for (const Tensor<float, 3>& gate : p.gates()) {
    naive::Tokens factor = gate.empty() ? naive::Tokens(2, 1, channels) : naive::Tokens(gate);
    for (Index b = 0; b < 2; ++b)
      for (Index n = 0; n < factor.count; ++n)
        for (Index c = 0; c < channels; ++c) {
          const double gamma = static_cast<double>(rule.gamma.data()[c]);
          factor.at(b, n, c) = gate.empty() ? gamma : gamma * factor.at(b, n, c);
        }
    naive::expect_near(rule(p.f, p.h, gate, p.copy(), p.input), naive::gated(naive::Tokens(p.x), factor, p.f_of_h),
                       1e-6);
    EXPECT_EQ(naive::values(LayerScale<float>()(p.f, p.h, gate, p.copy(), p.input)),
              naive::values(Gated()(p.f, p.h, gate, p.copy(), p.input)));
  }
}

TEST(Residuals, FromInputAddsToWhatTheBlockReceived) {
  Problem p;
  const auto before = naive::values(p.input);
  for (const Tensor<float, 3>& gate : p.gates())
    naive::expect_near(FromInput()(p.f, p.h, gate, p.copy(), p.input),
                       naive::gated(naive::Tokens(p.input), naive::Tokens(gate), p.f_of_h), 1e-6);
  EXPECT_EQ(naive::values(p.input), before);
}

template <class Norm>
void check_sandwich(const Norm& norm) {
  Problem p;
  SandwichTanh<Norm> rule{norm};
  naive::randomise(rule.norm, 7);
  for (const Tensor<float, 3>& gate : p.gates()) {
    const naive::Tokens bounded = naive::Tokens(gate).map([](double g) { return std::tanh(g); });
    naive::expect_near(rule(p.f, p.h, gate, p.copy(), p.input),
                       naive::gated(naive::Tokens(p.x), bounded, naive::norm(p.f_of_h, rule.norm, channels)), 2e-6);
  }
}

TEST(Residuals, SandwichNormsAndBounds) {
  check_sandwich(RmsNorm<float>(channels, 1e-6, aulos::nn::Affine::no));
  check_sandwich(RmsNorm<float>(channels, 1e-5));
  check_sandwich(LayerNorm<float>(channels, 1e-5));
}

// A gate of zero is the identity, to the bit.
TEST(Residuals, ZeroGateIsTheIdentity) {
  Problem p;
  const auto zero = p.context.zeros<float>(Shape<3>{2, 1, channels});
  const auto x = naive::values(p.x), input = naive::values(p.input);
  EXPECT_EQ(naive::values(Gated()(p.f, p.h, zero, p.copy(), p.input)), x);
  EXPECT_EQ(naive::values(FromInput()(p.f, p.h, zero, p.copy(), p.input)), input);
  const SandwichTanh<RmsNorm<float>> sandwich{RmsNorm<float>(channels, 1e-6, aulos::nn::Affine::no)};
  EXPECT_EQ(naive::values(sandwich(p.f, p.h, zero, p.copy(), p.input)), x);
}

// The stream's memory is used again where nobody else holds it, and left alone where somebody does.
TEST(Residuals, WriteInPlaceOnlyWhenAlone) {
  Problem p;
  const auto gate = p.gates()[1];
  Tensor<float, 3> alone = p.copy();
  const float* memory = alone.data();
  EXPECT_EQ(Gated()(p.f, p.h, gate, std::move(alone), p.input).data(), memory);
  Tensor<float, 3> shared = p.copy();
  const Tensor<float, 3> other = shared;
  const auto y = Gated()(p.f, p.h, gate, std::move(shared), p.input);
  EXPECT_NE(y.data(), other.data());
  EXPECT_EQ(naive::values(other), naive::values(p.x));
}

TEST(Residuals, NamesOfTheSandwich) {
  SandwichTanh<RmsNorm<float>> sandwich{RmsNorm<float>(channels, 1e-6)};
  std::string names;
  aulos::nn::for_each_parameter(sandwich, [&](const auto& p) { names += p.name + " "; });
  EXPECT_EQ(names, "weight ");
  Gated gated;
  EXPECT_EQ(aulos::nn::parameter_count(gated), 0);
}

}  // namespace
