#include "aulos/attention/softmax.hpp"

#include <gtest/gtest.h>

#include "support/naive_tokens.hpp"

namespace {

using aulos::AttentionOptions;
using aulos::Context;
using aulos::Index;
using aulos::QueryKeyValue;
using aulos::Shape;
using aulos::Tensor;
using aulos::attention::Mixer;
using aulos::attention::Softmax;

static_assert(Mixer<Softmax, float, 1> && Mixer<Softmax, float, 2> && Mixer<Softmax, double, 4>);
static_assert(!Mixer<int, float, 1>);

constexpr Index heads = 2, width = 5;

QueryKeyValue<float> side(Context& context, Index tokens, std::uint64_t seed) {
  const auto make = [&](std::uint64_t of) {
    return naive::random<float, 4>(context, Shape<4>{2, tokens, heads, width}, seed + of);
  };
  return {make(0), make(1), make(2)};
}

naive::Tokens flat(const Tensor<float, 4>& x) {
  return naive::Tokens(x.reshape(Shape<3>{x.extent(0), x.extent(1), heads * width}));
}

TEST(SoftmaxMixer, OneSideIsAttention) {
  Context context({.threads = 1});
  const std::array<QueryKeyValue<float>, 1> one{side(context, 7, 1)};
  const auto y = Softmax()(one)[0];
  naive::expect_near(y.reshape(Shape<3>{2, 7, heads * width}),
                     naive::attention(flat(one[0].q), flat(one[0].k), flat(one[0].v), heads, heads), 1e-6);
}

TEST(SoftmaxMixer, SidesAreOneSequence) {
  Context context({.threads = 1});
  const std::array<QueryKeyValue<float>, 3> sides{side(context, 3, 1), side(context, 1, 4), side(context, 6, 7)};
  naive::Tokens q, k, v;
  for (const auto& s : sides) {
    q = naive::joined(q, flat(s.q));
    k = naive::joined(k, flat(s.k));
    v = naive::joined(v, flat(s.v));
  }
  const naive::Tokens want = naive::attention(q, k, v, heads, heads);
  const auto y = Softmax()(sides);
  Index first = 0;
  for (std::size_t s = 0; s < 3; ++s) {
    const Index n = sides[s].q.extent(1);
    naive::expect_near(y[s].reshape(Shape<3>{2, n, heads * width}), naive::part(want, first, first + n), 1e-6);
    first += n;
  }
}

// Rules count over the joint sequence: a causal mask lets the second side see all of the first.
TEST(SoftmaxMixer, MasksAndScoresOfTheCall) {
  Context context({.threads = 1});
  const std::array<QueryKeyValue<float>, 2> sides{side(context, 3, 1), side(context, 4, 4)};
  const auto y = Softmax()(sides, aulos::kernels::causal(aulos::kernels::Causality::top_left, 7, 7));
  const naive::Tokens want = naive::attention(
      naive::joined(flat(sides[0].q), flat(sides[1].q)), naive::joined(flat(sides[0].k), flat(sides[1].k)),
      naive::joined(flat(sides[0].v), flat(sides[1].v)), heads, heads, [](Index, Index i, Index j) { return j <= i; });
  naive::expect_near(y[0].reshape(Shape<3>{2, 3, heads * width}), naive::part(want, 0, 3), 1e-6);
  naive::expect_near(y[1].reshape(Shape<3>{2, 4, heads * width}), naive::part(want, 3, 7), 1e-6);

  const auto capped = Softmax()(sides, aulos::kernels::NoMask(), aulos::kernels::SoftCap{1e-9});  // all scores 0
  for (Index c = 0; c < width; ++c) {
    double mean = 0;
    for (Index j = 0; j < 3; ++j) mean += static_cast<double>(sides[0].v(1, j, 1, c)) / 7;
    for (Index j = 0; j < 4; ++j) mean += static_cast<double>(sides[1].v(1, j, 1, c)) / 7;
    EXPECT_NEAR(static_cast<double>(capped[0](1, 2, 1, c)), mean, 1e-6);
  }
}

TEST(SoftmaxMixer, ScaleIsAnOption) {
  Context context({.threads = 1});
  std::array<QueryKeyValue<float>, 1> one{side(context, 5, 1)};
  const auto doubled = Softmax{{.scale = 2 / std::sqrt(5.0)}}(one)[0];
  auto twice = context.empty<float, 4>(one[0].q.shape());
  for (Index i = 0; i < twice.count(); ++i) twice.mutable_data()[i] = 2 * one[0].q.data()[i];
  one[0].q = twice;
  EXPECT_EQ(naive::values(doubled), naive::values(Softmax()(one)[0]));
}

TEST(SoftmaxMixer, ASideWithoutQueriesIsReadOnly) {
  Context context({.threads = 1});
  const std::array<QueryKeyValue<float>, 2> sides{side(context, 3, 1), side(context, 4, 4)};
  std::array<QueryKeyValue<float>, 2> keys_only = sides;
  keys_only[1].q = {};
  const auto y = Softmax()(keys_only);
  EXPECT_TRUE(y[1].empty());
  EXPECT_EQ(naive::values(y[0]), naive::values(Softmax()(sides)[0]));
}

}  // namespace
