#include "aulos/attention/differential_attention.hpp"

#include <gtest/gtest.h>

#include "attention/naive_mixers.hpp"

namespace {

using namespace aulos::attention;
using aulos::ConfigError;
using aulos::Context;
using aulos::Index;
using aulos::Shape;

// MultiheadDiffAttn(1024, num_heads=8): what multi-head attention with 16 heads has, and 384.
TEST(DifferentialAttention, HasTheParametersOfTheOfficialModule) {
  using Module = DifferentialAttention<float>;
  EXPECT_EQ(aulos::nn::parameter_count(Module({.channels = 1024, .heads = 8})), 4194688);
  EXPECT_EQ(aulos::nn::parameter_count(Module({.channels = 1024, .heads = 8, .groups = 4})), 3146112);
  std::vector<std::string> names;
  aulos::nn::for_each_parameter(Module({.channels = 48, .heads = 4, .groups = 2}),
                                [&](const auto& p) { names.push_back(p.name); });
  EXPECT_EQ(names, (std::vector<std::string>{"q_proj.weight", "k_proj.weight", "v_proj.weight", "out_proj.weight",
                                             "lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2", "subln.weight"}));
}

// Rotated and masked, against the formula. Its numbers beside the official code's are golden cases of `verify`.
TEST(DifferentialAttention, RotatesAndMasks) {
  Context context({.threads = 1});
  DifferentialAttention<double> m({.channels = 24, .heads = 3, .depth = 2});  // D = 4
  naive::randomise(m, 1);
  EXPECT_EQ(m.mixer.lambda_init, differential_lambda_init(2));
  const auto x = naive::random<double, 3>(context, Shape<3>{2, 5, 24}, 2);
  const auto table = aulos::rope_table<double>(context, 5, 4);
  const auto turned = [&](naive::Tokens t) {
    for (Index b = 0; b < 2; ++b)
      for (Index n = 0; n < 5; ++n)
        for (Index c = 0; c < 24; c += 2) {
          const double angle = static_cast<double>(n) * std::pow(10000.0, -static_cast<double>(c % 4) / 4);
          const double a = t.at(b, n, c), z = t.at(b, n, c + 1);
          t.at(b, n, c) = a * std::cos(angle) - z * std::sin(angle);
          t.at(b, n, c + 1) = z * std::cos(angle) + a * std::sin(angle);
        }
    return t;
  };
  const naive::Tokens t(x);
  const auto want =
      naive::linear(naive::differential_mixer(turned(naive::linear(t, m.qkv.to_q)),
                                              turned(naive::linear(t, m.qkv.to_k)), naive::linear(t, m.qkv.to_v), 6, 6,
                                              m.mixer, [](Index, Index i, Index j) { return j <= i; }),
                    m.out_proj);
  naive::expect_near(m(x, Rotated<double, 1>{{table}}, aulos::kernels::Causal{}), want, 1e-12);
}

TEST(DifferentialAttention, RefusesShapesWithoutPairs) {
  using Module = DifferentialAttention<float>;
  EXPECT_THROW(Module({.channels = 12, .heads = 4}), ConfigError);
  EXPECT_THROW(Module({.channels = 48, .heads = 4, .groups = 3}), ConfigError);
  EXPECT_THROW(Module({.channels = 48}), ConfigError);
}

}  // namespace
