// The rules of attention_mask.hpp at work in the kernels.
#include <gtest/gtest.h>

#include "tests/kernels/attention_problem.hpp"

namespace attention_test {
namespace {

using namespace aulos::kernels;

// Keys with value v and query 0: every kept key has the same weight.
template <class T>
Problem<T> equal_scores(Index nq, const std::vector<double>& v) {
  Problem<T> p(shape_of(1, 1, 1, 1, 1), {{nq, static_cast<Index>(v.size())}});
  p.data[0].q.fill(T(0));
  for (std::size_t j = 0; j < v.size(); ++j) p.data[0].v.data[j] = static_cast<T>(v[j]);
  return p;
}

template <class T>
class AttentionRules : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(AttentionRules, Types);

TYPED_TEST(AttentionRules, CausalAlignment) {
  using T = TypeParam;
  auto wide = equal_scores<T>(2, {0, 1, 2, 3, 4});
  wide.run(causal(Causality::top_left, 2, 5));
  EXPECT_NEAR(wide.data[0].out.data[0], 0.0, 1e-6);
  EXPECT_NEAR(wide.data[0].out.data[1], 0.5, 1e-6);
  wide.run(causal(Causality::bottom_right, 2, 5));
  EXPECT_NEAR(wide.data[0].out.data[0], 1.5, 1e-6);
  EXPECT_NEAR(wide.data[0].out.data[1], 2.0, 1e-6);
  auto tall = equal_scores<T>(5, {0, 1});
  tall.run(causal(Causality::bottom_right, 5, 2));
  const double expected[] = {0, 0, 0, 0, 0.5};
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(tall.data[0].out.data[i], expected[i], 1e-6);
    EXPECT_EQ(tall.data[0].lse.data[i] == -std::numeric_limits<T>::infinity(), i < 3);
  }
}

TYPED_TEST(AttentionRules, ThreeKindsOfMask) {
  using T = TypeParam;
  constexpr T infinity = std::numeric_limits<T>::infinity();
  const std::uint8_t keep[] = {1, 1, 0}, drop[] = {0, 0, 1};
  auto p = equal_scores<T>(1, {1, 2, 4});
  auto answer = [&](const auto& mask, const auto& score) {
    p.run(mask, score);
    return static_cast<double>(p.data[0].out.data[0]);
  };
  auto added = [](const T* bias) { return AdditiveBias<T>{bias, 0, 0, 0, nullptr}; };
  const T two[] = {0, 0, -infinity}, three[] = {0, T(std::log(3.0)), 0}, last[] = {0, T(std::log(3.0)), 9};
  EXPECT_NEAR(answer(PairMask{keep, 0, 0, 0}, NoScore{}), 1.5, 1e-6);
  EXPECT_NEAR(answer(KeyMask{keep, 0, KeyFlag::keep}, NoScore{}), 1.5, 1e-6);
  EXPECT_NEAR(answer(KeyMask{drop, 0, KeyFlag::drop}, NoScore{}), 1.5, 1e-6);
  EXPECT_NEAR(answer(NoMask{}, added(two)), 1.5, 1e-6);
  EXPECT_NEAR(answer(NoMask{}, added(three)), 2.2, 1e-6);
  EXPECT_NEAR(answer(KeyMask{keep, 0, KeyFlag::keep}, added(last)), 1.75, 1e-6);
  constexpr T lowest = std::numeric_limits<T>::lowest();
  for (const T big : {T(-1e10), lowest}) {  // finite: the mean, even at the lowest number there is
    const T all[] = {big, big, big}, some[] = {0, 0, big};
    EXPECT_NEAR(answer(NoMask{}, added(all)), 7.0 / 3, 1e-6);
    EXPECT_NEAR(answer(NoMask{}, added(some)), 1.5, 1e-6);
  }
  const T none[] = {-infinity, -infinity, -infinity};
  EXPECT_EQ(answer(NoMask{}, added(none)), 0.0);
  EXPECT_EQ(p.data[0].lse.data[0], -infinity);
}

// Rows that see nothing: 0 and -inf, and the other rows as if those were not there.
TYPED_TEST(AttentionRules, EmptyRows) {
  using T = TypeParam;
  constexpr T infinity = std::numeric_limits<T>::infinity();
  for (const Index nk : {1, 4, 7, 64, 65, 256, 257, 600}) {
    Problem<T> p(shape_of(1, 1, 1, 8, 8), {{30, nk}});
    auto full = p;
    full.run();
    for (const Index from : {0, 1, 13, 29}) {  // rows from..from+1 are empty
      auto empty = [from](Index i) { return i == from || i == from + 1; };
      auto check = [&](Problem<T>& x) {
        for (Index i = 0; i < 30; ++i) {
          EXPECT_EQ(*x.data[0].lse.at(0, i, 0), empty(i) ? -infinity : *full.data[0].lse.at(0, i, 0));
          for (Index c = 0; c < 8; ++c) {
            ASSERT_EQ(x.data[0].out.at(0, i, 0)[c], empty(i) ? T(0) : full.data[0].out.at(0, i, 0)[c]);
          }
        }
      };
      p.run([&](Index, Index, Index i, auto j) { return j.below(empty(i) ? 0 : 1000); });
      check(p);
      std::vector<T> bias(static_cast<std::size_t>(30 * nk), T(0));
      full.run(NoMask{}, AdditiveBias<T>{bias.data(), 0, 0, nk, nullptr});
      for (Index i = from; i < std::min<Index>(30, from + 2); ++i) {
        std::fill_n(bias.begin() + i * nk, nk, -infinity);
      }
      p.run(NoMask{}, AdditiveBias<T>{bias.data(), 0, 0, nk, nullptr});
      check(p);
      full.run();
    }
  }
}

// Skipped blocks, unmasked blocks and masked ones give the same bits.
TEST(AttentionRulesSkipping, DoesNotChangeABit) {
  using T = float;
  for (const auto& window : {SlidingWindow{20, 0, 0}, SlidingWindow{300, 7, 200}, SlidingWindow{1000, 0, 490}}) {
    Problem<T> skipping(shape_of(1, 2, 1, 6, 4), {{100, 600}});
    skipping.with_dlse = true;
    auto walking = skipping;
    auto plain = [&](Index b, Index h, Index i, auto j) { return window(b, h, i, j); };
    skipping.run(window);
    walking.run(plain);
    EXPECT_TRUE(same_forward(skipping, walking));
    skipping.run_backward(window);
    walking.run_backward(plain);
    EXPECT_TRUE(same_backward(skipping, walking));
    auto keep = [&](Index, Index, Index i, Index j) {
      return j >= i + window.offset - window.left && j <= i + window.offset + window.right;
    };
    auto expected = skipping.expected(keep);
    EXPECT_LE(forward_distance(skipping, expected), tolerance<T>);
  }
}

TEST(AttentionRulesSkipping, PaddedTilesOfAKeyMask) {
  using T = float;
  Problem<T> p(shape_of(2, 2, 2, 6, 4), {{20, 300}, {15, 300}});
  std::vector<std::uint8_t> keep(2 * 600, 0);
  for (Index j = 0; j < 40; ++j) keep[static_cast<std::size_t>(j)] = 1;
  for (Index j = 290; j < 601; j += 2) keep[static_cast<std::size_t>(600 + j - 1)] = 1;
  p.run(KeyMask{keep.data(), 600, KeyFlag::keep});
  auto expected =
      p.expected([&](Index b, Index, Index, Index j) { return keep[static_cast<std::size_t>(b * 600 + j)] != 0; });
  EXPECT_LE(forward_distance(p, expected), tolerance<T>);
}

TYPED_TEST(AttentionRules, BiasAlibiSoftCap) {
  using T = TypeParam;
  Problem<T> p(shape_of(2, 2, 1, 5, 4), {{20, 50}, {3, 1}});
  std::vector<T> bias(2 * 2 * 23 * 51);
  std::mt19937 random(9);
  for (T& x : bias) x = static_cast<T>(std::uniform_real_distribution<double>(-3, 3)(random));
  auto at = [&](Index n) { return static_cast<double>(bias[static_cast<std::size_t>(n)]); };
  for (const bool shared : {false, true}) {
    const Index batch = shared ? 0 : 2 * 23 * 51;
    p.run(Causal{20}, AdditiveBias<T>{bias.data(), batch, 23 * 51, 51, nullptr});
    auto expected = p.expected(
        [](Index, Index, Index i, Index j) { return j <= i + 20; },
        [&](double s, Index b, Index h, Index i, Index j) { return s + at(b * batch + (h * 23 + i) * 51 + j); });
    EXPECT_LE(forward_distance(p, expected), tolerance<T>);
  }
  const T slopes[] = {T(0.25), T(0.0625)};
  p.run(NoMask{}, ScoreThen{SoftCap{1.5}, Alibi<T>{slopes, 28}});
  auto expected = p.expected(naive::KeepAll{}, [&](double s, Index, Index h, Index i, Index j) {
    return 1.5 * std::tanh(s / 1.5) - static_cast<double>(slopes[h]) * std::abs(static_cast<double>(i + 28 - j));
  });
  EXPECT_LE(forward_distance(p, expected), tolerance<T>);
}

}  // namespace
}  // namespace attention_test
