#include "aulos/stream/coupling.hpp"

#include <gtest/gtest.h>

#include "support/naive_tokens.hpp"

namespace {

using namespace aulos::stream;
using aulos::Context;
using aulos::Index;
using aulos::QueryKeyValue;
using aulos::Shape;
using aulos::Tensor;

static_assert(CouplingOf<Joint<>, float, 1> && CouplingOf<Joint<>, double, 3> && CouplingOf<SelfOnly<>, float, 4>);
static_assert(CouplingOf<CrossBothWays<>, float, 2> && !CouplingOf<CrossBothWays<>, float, 3>);
static_assert(!CouplingOf<Joint<int>, float, 1> && !CouplingOf<SelfOnly<int>, float, 1>);

constexpr Index heads = 2, width = 4;

template <std::size_t Sides>
SidesOf<float, Sides> random_sides(Context& context, const std::array<Index, Sides>& tokens) {
  SidesOf<float, Sides> sides;
  std::uint64_t seed = 0;
  for (std::size_t s = 0; s < Sides; ++s)
    for (Tensor<float, 4>* part : {&sides[s].q, &sides[s].k, &sides[s].v})
      *part = naive::random<float, 4>(context, Shape<4>{2, tokens[s], heads, width}, ++seed);
  return sides;
}

naive::Tokens flat(const Tensor<float, 4>& x) {
  return naive::Tokens(x.reshape(Shape<3>{x.extent(0), x.extent(1), heads * width}));
}

void expect_near(const Tensor<float, 4>& got, const naive::Tokens& want) {
  naive::expect_near(got.reshape(Shape<3>{got.extent(0), got.extent(1), heads * width}), want, 1e-6);
}

naive::Tokens attention(const QueryKeyValue<float>& queries, const naive::Tokens& k, const naive::Tokens& v) {
  return naive::attention(flat(queries.q), k, v, heads, heads);
}

TEST(Couplings, JointReadsAllSides) {
  Context context({.threads = 1});
  const auto sides = random_sides<3>(context, {3, 5, 2});
  naive::Tokens k, v;
  for (const auto& s : sides) {
    k = naive::joined(k, flat(s.k));
    v = naive::joined(v, flat(s.v));
  }
  const auto y = Joint<>()(sides);
  for (std::size_t s = 0; s < 3; ++s) expect_near(y[s], attention(sides[s], k, v));
}

TEST(Couplings, SelfOnlyReadsItsOwn) {
  Context context({.threads = 1});
  const auto sides = random_sides<3>(context, {3, 5, 2});
  const auto y = SelfOnly<>()(sides);
  for (std::size_t s = 0; s < 3; ++s) expect_near(y[s], attention(sides[s], flat(sides[s].k), flat(sides[s].v)));
}

TEST(Couplings, CrossBothWaysReadsTheOther) {
  Context context({.threads = 1});
  const auto sides = random_sides<2>(context, {3, 5});
  const auto y = CrossBothWays<>()(sides);
  for (std::size_t s = 0; s < 2; ++s)
    expect_near(y[s], attention(sides[s], flat(sides[1 - s].k), flat(sides[1 - s].v)));
}

// Permuting the sides permutes the results; for the couplings without a common softmax to the bit.
TEST(Couplings, PermutedSides) {
  Context context({.threads = 1});
  const auto sides = random_sides<2>(context, {3, 5});
  const SidesOf<float, 2> exchanged{sides[1], sides[0]};
  const auto check = [&](const auto& coupling, float tolerance) {
    const auto y = coupling(sides), z = coupling(exchanged);
    for (std::size_t s = 0; s < 2; ++s) {
      const auto a = naive::values(y[s]), b = naive::values(z[1 - s]);
      ASSERT_EQ(a.size(), b.size());
      for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], tolerance);
    }
  };
  check(Joint<>(), 1e-6f);
  check(SelfOnly<>(), 0);
  check(CrossBothWays<>(), 0);
}

// One side alone: joint attention is self-attention, to the bit.
TEST(Couplings, OneSide) {
  Context context({.threads = 1});
  const auto sides = random_sides<1>(context, {5});
  EXPECT_EQ(naive::values(Joint<>()(sides)[0]), naive::values(SelfOnly<>()(sides)[0]));
}

// A side without queries has no result and is read as before.
TEST(Couplings, SidesWithoutQueries) {
  Context context({.threads = 1});
  const auto sides = random_sides<2>(context, {3, 5});
  SidesOf<float, 2> static_text = sides;
  static_text[1].q = {};
  const auto check = [&](const auto& coupling) {
    const auto y = coupling(static_text);
    EXPECT_TRUE(y[1].empty());
    EXPECT_EQ(naive::values(y[0]), naive::values(coupling(sides)[0]));
  };
  check(Joint<>());
  check(SelfOnly<>());
  check(CrossBothWays<>());
}

TEST(Couplings, AnySideMayBeEmpty) {
  Context context({.threads = 1});
  const auto sides = random_sides<2>(context, {3, 0});
  const auto y = Joint<>()(sides);
  EXPECT_EQ(naive::values(y[0]), naive::values(SelfOnly<>()(sides)[0]));
  EXPECT_EQ(y[1].shape(), (Shape<4>{2, 0, heads, width}));
  for (const float v : naive::values(CrossBothWays<>()(sides)[0])) EXPECT_EQ(v, 0.0f);  // no key to read
}

// A mixer's parameters are the coupling's.
struct Scaled : aulos::attention::Softmax {
  using value_type = float;
  aulos::Parameter<float, 1> factor{Shape<1>{3}};
  void visit(auto&& v) { v("factor", factor); }
};
TEST(Couplings, NameTheirMixersParameters) {
  const auto check = [](const auto& coupling) {
    std::string names;
    aulos::nn::for_each_parameter(
        coupling, [&](const auto& p) { names += std::string(p.name) + " "; }, "attn");
    EXPECT_EQ(names, "attn.factor ");
  };
  check(Joint<Scaled>());
  check(SelfOnly<Scaled>());
  check(CrossBothWays<Scaled>());
  EXPECT_EQ(aulos::nn::parameter_count(Joint<>()), 0);
}

// The mixer is data of the coupling: its options reach it.
TEST(Couplings, MixersHaveOptions) {
  Context context({.threads = 1});
  const auto sides = random_sides<2>(context, {3, 5});
  const Joint<> flat_scores{{{.scale = 0.0}}};
  const auto y = flat_scores(sides);
  for (Index c = 0; c < width; ++c) {
    double mean = 0;
    for (Index j = 0; j < 3; ++j) mean += static_cast<double>(sides[0].v(0, j, 1, c)) / 8;
    for (Index j = 0; j < 5; ++j) mean += static_cast<double>(sides[1].v(0, j, 1, c)) / 8;
    EXPECT_NEAR(static_cast<double>(y[1](0, 4, 1, c)), mean, 1e-6);
  }
}

}  // namespace
