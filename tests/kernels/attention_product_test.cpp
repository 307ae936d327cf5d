#include "aulos/kernels/attention_product.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace {

using aulos::Index;
using namespace aulos::kernels;

template <class T>
class AttentionProduct : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(AttentionProduct, Types);

template <class T>
std::vector<T> numbers(Index n) {
  std::vector<T> x(static_cast<std::size_t>(n));
  std::mt19937 random(1);
  for (T& v : x) v = static_cast<T>(std::uniform_real_distribution<double>(-1, 1)(random));
  return x;
}

TYPED_TEST(AttentionProduct, StripsCoverEveryRowOnce) {
  using T = TypeParam;
  for (Index rows = 0; rows <= 60; ++rows) {
    for (const Index columns : {Index{1}, tile::lanes<T>, tile::lanes<T> + 1, tile::panel<T>}) {
      Index next = 0;
      tile::for_each_strip<T>(rows, columns, [&](auto n, auto vecs, Index r) {
        EXPECT_EQ(r, next);
        EXPECT_GE(vecs() * tile::lanes<T>, std::min(columns, tile::panel<T>));
        next += n();
      });
      EXPECT_EQ(next, rows);
    }
  }
}

// Few columns are multiplied as half a batch where a format can do that: the same bits, and nothing behind the half.
TEST(AttentionProductPairs, HalfABatchGivesTheBitsOfAWholeOne) {
  using Format = tile::PairFormat;
  constexpr Index L = tile::lanes<float>, W = tile::panel<float>, rows = 17, keys = tile::key_rows;
  const auto panels = tile::visible_panels<float>(NoMask{}, 0, 0, 0, rows, 0, keys);
  const auto values = numbers<float>(keys * W), weights = numbers<float>(rows * keys), factor = numbers<float>(rows);
  std::vector<float> w(static_cast<std::size_t>(rows * tile::score_stride<float>));
  for (Index r = 0; r < rows; ++r) {
    for (Index j = 0; j < keys; j += W) {
      const float* const row = weights.data() + r * keys + j;
      Format::store_weights(w.data() + r * tile::score_stride<float>, j, aulos::simd::load(row),
                            aulos::simd::load(row + L));
    }
  }
  const auto product = [&](Index width) {
    std::vector<float> from(static_cast<std::size_t>(Format::elements(keys) * W));
    Format::pack_values(from.data(), 0, values.data(), W, keys, width, tile::NothingAhead{});
    std::vector<float> to(static_cast<std::size_t>(tile::query_rows * W));
    for (Index r = 0; r < rows; ++r) std::fill_n(to.data() + r * W, width, 3.0f);
    tile::key_product<Format>(to.data(), w.data(), rows, from.data(), width, panels, factor.data());
    return to;
  };
  const auto whole = product(W);
  for (const Index width : {Index{1}, L / 2, L / 2 + 1, L}) {
    const auto part = product(width);
    for (Index r = 0; r < rows; ++r) {
      for (Index c = 0; c < L; ++c) {
        const auto at = static_cast<std::size_t>(r * W + c);
        ASSERT_EQ(part[at], c < width ? whole[at] : 0.0f) << width << ", " << r << ", " << c;
      }
    }
  }
  EXPECT_NE(whole[0], 0.0f);
}

// The order of the terms does not depend on how many rows a strip has.
TYPED_TEST(AttentionProduct, EveryStripGivesTheSameBits) {
  using T = TypeParam;
  constexpr Index W = tile::panel<T>, steps = 70, capacity = 20;
  const auto a = numbers<T>(tile::round_up<T>(steps) * capacity), b = numbers<T>(steps * W);
  std::vector<T> all(static_cast<std::size_t>(capacity * W)), one(all);
  for (const Index rows : {Index{1}, capacity}) {
    auto& out = rows == 1 ? one : all;
    for (Index r0 = 0; r0 < capacity; r0 += rows) {
      tile::for_each_strip<T>(rows, W, [&](auto n, auto vecs, Index r) {
        tile::Product<tile::ExactFormat<T>, n(), vecs()> product;
        product.add_rows(steps, a.data() + (r0 + r) * W, capacity, b.data());
        product.store(out.data() + (r0 + r) * W, W);
      });
    }
  }
  for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], one[i]);
  constexpr Index column = W - 1;
  double exact = 0;
  for (Index p = 0; p < steps; ++p) {
    exact += static_cast<double>(a[static_cast<std::size_t>(p / W * W * capacity + 13 * W + p % W)]) *
             static_cast<double>(b[static_cast<std::size_t>(p * W + column)]);
  }
  EXPECT_NEAR(static_cast<double>(all[static_cast<std::size_t>(13 * W + column)]), exact, 1e-5);
}

}  // namespace
