#include <gtest/gtest.h>

#include "attention/attention_support.hpp"

namespace {

using namespace attention_support;

TEST(MultiHeadAttentionMasks, CausalAndKeys) {
  Context context({.threads = 1});
  const auto m = make<float>(12, 12, {.heads = 2, .width = 6});
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 6, 12}, 2);
  const naive::Tokens tokens(x);
  naive::expect_near(m(x, aulos::kernels::causal(aulos::kernels::Causality::top_left, 6, 6)),
                     written_out(m, tokens, tokens, [](Index, Index i, Index j) { return j <= i; }), 2e-6);

  // The second sample keeps two keys, the first none: its attention is 0, and to_out gives its bias.
  auto keep = context.zeros<std::uint8_t>(Shape<2>{2, 6});
  keep.mutable_data()[6 + 1] = keep.mutable_data()[6 + 4] = 1;
  const auto kept = [](Index b, Index, Index j) { return b == 1 && (j == 1 || j == 4); };
  const auto masked = m(x, KeepKeys{keep});
  naive::expect_near(masked, written_out(m, tokens, tokens, kept), 2e-6);
  for (Index c = 0; c < 12; ++c) EXPECT_EQ(masked(0, 3, c), m.to_out.bias.data()[c]);

  // Dropped keys are as if they were not there.
  auto rest = context.empty<float, 3>(Shape<3>{1, 2, 12});
  for (Index c = 0; c < 12; ++c) {
    rest.mutable_data()[c] = x(1, 1, c);
    rest.mutable_data()[12 + c] = x(1, 4, c);
  }
  const auto shorter = m.cross(x.slice(0, 1, 2), rest);
  for (Index n = 0; n < 6; ++n)
    for (Index c = 0; c < 12; ++c) EXPECT_NEAR(masked(1, n, c), shorter(0, n, c), 1e-6f);
}

}  // namespace
