#include "aulos/kernels/attention_tile.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace {

using aulos::Index;
using namespace aulos::kernels;

template <class T>
class AttentionTile : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(AttentionTile, Types);

template <class T>
T exp2_of(T x) {
  return tile::exp2<T>(aulos::simd::Batch<T>(x)).get(0);
}

TYPED_TEST(AttentionTile, Exp2) {
  using T = TypeParam;
  const double bound = sizeof(T) == 4 ? 2.5e-7 : 1e-15;
  for (double x = -100; x <= 3; x += 0.00137) {
    const double exact = std::exp2(static_cast<double>(static_cast<T>(x)));
    ASSERT_NEAR(static_cast<double>(exp2_of(static_cast<T>(x))) / exact, 1.0, bound) << x;
  }
  for (int n = -126; n <= 3; ++n) EXPECT_EQ(exp2_of(static_cast<T>(n)), static_cast<T>(std::exp2(n))) << n;
  const double smallest = static_cast<double>(std::numeric_limits<T>::min());
  EXPECT_LE(static_cast<double>(exp2_of(sizeof(T) == 4 ? T(-127) : T(-1023))), smallest);
  for (const T x : {T(-1100), T(-1e30), std::numeric_limits<T>::lowest(), -std::numeric_limits<T>::infinity()}) {
    EXPECT_EQ(exp2_of(x), T(0));
  }
  EXPECT_TRUE(std::isnan(exp2_of(std::numeric_limits<T>::quiet_NaN())));
}

TEST(AttentionTileCoarse, Exp2) {
  for (double x = -100; x <= 3; x += 0.00137) {
    const double exact = std::exp2(static_cast<double>(static_cast<float>(x)));
    const auto coarse = tile::coarse_exp2(aulos::simd::Batch<float>(static_cast<float>(x)));
    ASSERT_NEAR(static_cast<double>(coarse.get(0)) / exact, 1.0, 0.9e-4) << x;
  }
  EXPECT_EQ(tile::coarse_exp2(aulos::simd::Batch<float>(0.0f)).get(0), 1.0f);
}

template <class T>
std::vector<T> numbers(Index n) {
  std::vector<T> x(static_cast<std::size_t>(n));
  std::mt19937 random(1);
  for (T& v : x) v = static_cast<T>(std::uniform_real_distribution<double>(-1, 1)(random));
  return x;
}

TYPED_TEST(AttentionTile, Packing) {
  using T = TypeParam;
  constexpr Index W = tile::panel<T>;
  for (const Index width : {Index{1}, Index{5}, W - 1, W, W + 3, 2 * W}) {
    for (const Index n : {Index{1}, W / 2 - 1, W / 2, W - 1, W}) {
      const Index stride = width + 2, capacity = W + 4, first = 3;
      const auto from = numbers<T>(n * stride);
      std::vector<T> rows(static_cast<std::size_t>(tile::round_up<T>(width) * capacity), T(77));
      tile::pack_rows(rows.data(), capacity, first, from.data(), stride, n, width, T(2));
      std::vector<T> columns(static_cast<std::size_t>(width * W), T(77));
      tile::pack_columns(columns.data(), Index{0}, from.data(), stride, n, width);
      for (Index r = 0; r < n; ++r) {
        for (Index c = 0; c < tile::round_up<T>(width); ++c) {
          const T x = c < width ? from[static_cast<std::size_t>(r * stride + c)] : T(0);
          ASSERT_EQ(rows[static_cast<std::size_t>(c / W * W * capacity + (first + r) * W + c % W)], 2 * x);
          if (c < width) {
            ASSERT_EQ(columns[static_cast<std::size_t>(c * W + r)], x) << width << " " << n;
          }
        }
      }
    }
  }
}

TYPED_TEST(AttentionTile, VisiblePanels) {
  using T = TypeParam;
  constexpr Index W = tile::panel<T>;
  const auto panels = tile::visible_panels<T>(Causal{0}, 0, 0, 10, 20, 0, 5 * W + 3);
  ASSERT_EQ(panels.size, (19 + W) / W);
  EXPECT_EQ(panels.entry[0].count, W);
  const auto all = tile::visible_panels<T>(NoMask{}, 0, 0, 10, 20, 256, 256 + 2 * W + 3);
  ASSERT_EQ(all.size, 3);
  EXPECT_EQ(all.entry[2].column, 2 * W);
  EXPECT_EQ(all.entry[2].count, 3);
  EXPECT_EQ(all.entry[2].visible, Visible::all);
  EXPECT_EQ(tile::visible_panels<T>(Causal{-30}, 0, 0, 10, 20, 0, 5).size, 0);
}

}  // namespace
