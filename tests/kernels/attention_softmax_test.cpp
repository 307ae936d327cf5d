#include "aulos/kernels/attention_softmax.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "aulos/kernels/attention_format.hpp"

namespace {

using namespace aulos::kernels;
using aulos::Index;

template <class T>
class AttentionSoftmax : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(AttentionSoftmax, Types);

// A strip of scores against one key tile after another, as a kernel gives it them.
template <class T, class Mask = NoMask, class Score = NoScore>
struct Strip {
  using Softmax = tile::Softmax<tile::ExactFormat<T>, Mask, Score>;
  Index count, keys;
  Mask mask;
  Score score;
  Softmax softmax;
  std::vector<T> max, total, factor, shift, s;

  Strip(Index rows, Index nk, double scale, const Mask& m = {}, const Score& x = {})
      : count(rows),
        keys(nk),
        mask(m),
        score(x),
        softmax(scale, mask, score),
        max(Softmax::rows, tile::dropped<T>),
        total(Softmax::rows, T(0)),
        factor(Softmax::rows),
        shift(Softmax::rows),
        s(static_cast<std::size_t>(rows * tile::score_stride<T>)) {}
  Strip(const Strip&) = delete;
  Strip& operator=(const Strip&) = delete;

  T& at(Index r, Index j) { return s[static_cast<std::size_t>(r * tile::score_stride<T> + j)]; }

  // q . k of row r and key j: q takes the factor of the kernel. Large enough that maxima move from tile to tile.
  static double product(Index r, Index j) {
    return std::sin(static_cast<double>(7 * r + 3 * j)) * 4 + 0.01 * static_cast<double>(j);
  }

  void tile(Index j0) {
    const Index j1 = std::min(keys, j0 + tile::key_rows);
    const auto panels = tile::visible_panels<T>(mask, 0, 0, 0, count, j0, j1);
    typename Softmax::Rows top;
    top.fill(aulos::simd::Batch<T>(tile::dropped<T>));
    for (Index r = 0; r < count; ++r) {
      for (Index j = 0; j < tile::key_rows; ++j) {
        at(r, j) = static_cast<T>(j0 + j < keys ? product(r, j0 + j) * static_cast<double>(softmax.query_factor()) : 0);
      }
      for (const auto& p : panels) {
        for (Index c = 0; Softmax::plain && p.whole() && c < p.count; c += tile::lanes<T>) {
          auto& x = top[static_cast<std::size_t>(r)];
          x = aulos::simd::raw_max(aulos::simd::load(&at(r, p.column + c)), x);
        }
      }
    }
    softmax.rule(s.data(), top, count, 0, 0, 0, j0, panels);
    softmax.raise(top, count, max.data(), factor.data(), shift.data());
    softmax.weigh(s.data(), count, panels, shift.data(), factor.data(), total.data());
  }
  double lse(Index r) const {
    const auto i = static_cast<std::size_t>(r);
    return static_cast<double>(max[i] * softmax.natural_unit()) + std::log(static_cast<double>(total[i]));
  }
};

template <class T>
constexpr double tolerance = sizeof(T) == 4 ? 2e-6 : 1e-13;

TYPED_TEST(AttentionSoftmax, SumsOfExponentials) {
  using T = TypeParam;
  for (const Index most : {1, 5, 12}) {
    const Index rows = std::min(most, tile::ExactFormat<T>::strip);
    for (const Index nk : {1, 16, 255, 700}) {
      Strip<T> strip(rows, nk, 0.5);
      for (Index j0 = 0; j0 < nk; j0 += tile::key_rows) strip.tile(j0);
      for (Index r = 0; r < rows; ++r) {
        double sum = 0;
        for (Index j = 0; j < nk; ++j) sum += std::exp(0.5 * strip.product(r, j));
        EXPECT_NEAR(strip.lse(r), std::log(sum), 10 * tolerance<T>) << r << " of " << rows << ", " << nk;
        // The weights of the last tile are relative to the largest score of all.
        const Index last = nk - 1;
        const double weight = std::exp(0.5 * strip.product(r, last) - std::log(sum)) *
                              static_cast<double>(strip.total[static_cast<std::size_t>(r)]);
        EXPECT_NEAR(static_cast<double>(strip.at(r, last % tile::key_rows)), weight, 20 * tolerance<T>);
      }
    }
  }
}

TYPED_TEST(AttentionSoftmax, RulesAndMasks) {
  using T = TypeParam;
  constexpr Index nk = 300;
  Strip<T, Causal, SoftCap> strip(3, nk, 0.5, Causal{100}, SoftCap{1.5});
  for (Index j0 = 0; j0 < nk; j0 += tile::key_rows) {
    if (j0 <= 102) strip.tile(j0);
  }
  for (Index r = 0; r < 3; ++r) {
    double sum = 0;
    for (Index j = 0; j <= r + 100; ++j) sum += std::exp(1.5 * std::tanh(0.5 * strip.product(r, j) / 1.5));
    EXPECT_NEAR(strip.lse(r), std::log(sum), 10 * tolerance<T>) << r;
  }
}

TYPED_TEST(AttentionSoftmax, FactorsRescaleWhatWasSummed) {
  using T = TypeParam;
  Strip<T> strip(1, 512, 1.0);
  strip.tile(0);
  const double first = strip.lse(0), before = static_cast<double>(strip.total[0]);
  EXPECT_EQ(strip.factor[0], T(0));  // nothing was kept before
  strip.tile(256);
  EXPECT_NEAR(std::log(before * static_cast<double>(strip.factor[0])) +
                  static_cast<double>(strip.max[0] * strip.softmax.natural_unit()),
              first, 10 * tolerance<T>);
}

TYPED_TEST(AttentionSoftmax, ARowWithoutKeysHasNoWeight) {
  using T = TypeParam;
  Strip<T, Causal> strip(2, 40, 1.0, Causal{-1});  // row 0 sees none, row 1 sees key 0
  strip.tile(0);
  EXPECT_EQ(strip.total[0], T(0));
  EXPECT_EQ(strip.max[0], tile::dropped<T>);
  EXPECT_EQ(strip.total[1], T(1));
  for (Index j = 0; j < tile::lanes<T>; ++j) EXPECT_EQ(strip.at(0, j), T(0));
}

TYPED_TEST(AttentionSoftmax, AResultIsItsSumOverItsTotal) {
  using T = TypeParam;
  constexpr Index width = tile::panel<T> + 3, distance = 2 * tile::panel<T>;
  std::vector<T> sum(static_cast<std::size_t>(distance + tile::panel<T>)), out(static_cast<std::size_t>(width), T(7));
  for (Index e = 0; e < width; ++e) {
    sum[static_cast<std::size_t>(e / tile::panel<T> * distance + e % tile::panel<T>)] = static_cast<T>(e);
  }
  T lse = 0;
  const AttentionSide<T> side{.nq = 1, .out = tokens_major(out.data(), 1, 1, width), .lse = heads_major(&lse, 1, 1, 1)};
  tile::store_result<T>(side, 0, 0, 0, sum.data(), distance, width, T(3), T(4));
  for (Index e = 0; e < width; ++e) EXPECT_EQ(out[static_cast<std::size_t>(e)], static_cast<T>(e) / T(4));
  EXPECT_NEAR(static_cast<double>(lse), 3 + std::log(4.0), tolerance<T>);
  tile::store_result<T>(side, 0, 0, 0, sum.data(), distance, width, T(3), T(0));
  for (const T x : out) EXPECT_EQ(x, T(0));
  EXPECT_EQ(lse, -std::numeric_limits<T>::infinity());
}

}  // namespace
