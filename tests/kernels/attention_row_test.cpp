#include "aulos/kernels/attention_row.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "aulos/kernels/attention_product.hpp"
#include "tests/kernels/attention_problem.hpp"

namespace attention_test {
namespace {

using namespace aulos::kernels;

template <class T>
class AttentionRow : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(AttentionRow, Types);

constexpr double mark = -77.0;

template <class T>
std::vector<T> numbers(Index n, unsigned seed) {
  std::vector<T> x(static_cast<std::size_t>(n));
  std::mt19937 random(seed);
  for (T& v : x) v = static_cast<T>(std::uniform_real_distribution<double>(-1, 1)(random));
  return x;
}

// Strides of rows that lie densely, that end a cache line, and that share sets of a cache.
template <class T>
std::vector<Index> strides(Index width) {
  constexpr Index apart = 1024 / Index(sizeof(T));
  return {width, width + 3, (width + apart) / apart * apart};
}

TYPED_TEST(AttentionRow, ScoresAreThoseOfTheTiles) {
  using T = TypeParam;
  for (const Index width : {1, 5, 40, 64, 80}) {
    for (const Index stride : strides<T>(width)) {
      for (const Index n : {0, 1, 7, 16, 31, 32, 33, 100, 256}) {
        const auto a = numbers<T>(width, 1), k = numbers<T>(n * stride, 2);
        std::vector<T> s(static_cast<std::size_t>(n + 1), T(mark));
        tile::row_scores<T>(s.data(), a.data(), {k.data(), stride, n, 0, 0}, width);
        for (Index j = 0; j < n; ++j) {
          T sum = 0;
          for (Index c = 0; c < width; ++c) {
            sum = aulos::simd::fma(a[static_cast<std::size_t>(c)], k[static_cast<std::size_t>(j * stride + c)], sum);
          }
          ASSERT_EQ(s[static_cast<std::size_t>(j)], sum) << j << " of " << n << ", width " << width;
        }
        EXPECT_EQ(s.back(), T(mark));
      }
    }
  }
}

TYPED_TEST(AttentionRow, WeightedRowsAddUpInOrder) {
  using T = TypeParam;
  for (const Index width : {1, 5, 16, 40, 64, 80, 130}) {
    for (const Index stride : strides<T>(width + 200)) {
      for (const Index n : {0, 1, 15, 16, 17, 256}) {
        const auto w = numbers<T>(n, 1), v = numbers<T>(n * stride, 2);
        auto sum = numbers<T>(width + 1, 3);
        auto expected = sum;
        for (Index j = 0; j < n; ++j) {
          for (Index c = 0; c < width; ++c) {
            T& x = expected[static_cast<std::size_t>(c)];
            x = aulos::simd::fma(w[static_cast<std::size_t>(j)], v[static_cast<std::size_t>(j * stride + c)], x);
          }
        }
        tile::add_weighted_rows<T>(sum.data(), w.data(), {v.data(), stride, n, 0, 0}, width);
        ASSERT_EQ(sum, expected) << n << " rows of " << width;
      }
    }
  }
}

// What is prefetched is of no consequence, and nothing beside the rows is read.
TYPED_TEST(AttentionRow, RowsBehindARunAreOnlyAskedFor) {
  using T = TypeParam;
  constexpr Index width = 40, all = 90;
  const auto a = numbers<T>(width, 1), k = numbers<T>(all * width, 2);
  std::vector<T> whole(static_cast<std::size_t>(all));
  tile::row_scores<T>(whole.data(), a.data(), {k.data(), width, all, 0, 0}, width);
  for (const Index n : {1, 32, 50, 64}) {
    std::vector<T> s(static_cast<std::size_t>(n));
    tile::row_scores<T>(s.data(), a.data(), {k.data(), width, n, 0, all - n}, width);
    EXPECT_TRUE(std::equal(s.begin(), s.end(), whole.begin())) << n;
  }
}

// A row alone, read in place, has the bits of the same row in a tile: any mask, rule, sides, layout and group.
template <class T, class Mask = NoMask, class Score = NoScore>
void expect_bits_of_the_tile(const AttentionShape& shape, Index nk, const Mask& mask, const Score& score = {}) {
  for (const Layout layout : {Layout::tokens, Layout::heads, Layout::gaps}) {
    Problem<T> many(shape, {{30, nk / 3}, {0, nk - nk / 3}}, layout);
    Problem<T> one(shape, {{1, nk / 3}, {0, nk - nk / 3}}, layout);
    for (Index b = 0; b < shape.batch; ++b) {
      for (Index h = 0; h < shape.heads; ++h) {
        std::copy_n(many.data[0].q.at(b, 0, h), shape.width, one.data[0].q.at(b, 0, h));
      }
    }
    for (std::size_t s = 0; s < 2; ++s) one.data[s].k = many.data[s].k, one.data[s].v = many.data[s].v;
    ASSERT_LE(shape.heads_per_bundle(), tile::rows_in_place);
    many.run(mask, score);
    one.run(mask, score);
    for (Index b = 0; b < shape.batch; ++b) {
      for (Index h = 0; h < shape.heads; ++h) {
        ASSERT_EQ(std::memcmp(many.data[0].out.at(b, 0, h), one.data[0].out.at(b, 0, h),
                              static_cast<std::size_t>(shape.value_width) * sizeof(T)),
                  0)
            << h;
        ASSERT_EQ(*many.data[0].lse.at(b, 0, h), *one.data[0].lse.at(b, 0, h));
      }
    }
  }
}

TYPED_TEST(AttentionRow, HasTheBitsOfATile) {
  using T = TypeParam;
  for (const Index nk : {1, 5, 33, 256, 257, 700}) {
    expect_bits_of_the_tile<T>(shape_of(2, 3, 3, 64, 64), nk, NoMask{});
    expect_bits_of_the_tile<T>(shape_of(1, 4, 2, 9, 70), nk, NoMask{});
    expect_bits_of_the_tile<T>(shape_of(1, 2, 2, 40, 5), nk, Causal{400});
    expect_bits_of_the_tile<T>(shape_of(1, 2, 2, 72, 72), nk, SlidingWindow{.left = 40, .right = 3, .offset = 300});
    expect_bits_of_the_tile<T>(shape_of(1, 2, 2, 16, 16), nk, NoMask{}, SoftCap{2.0});
    const T slopes[] = {T(0.02), T(0.5)};
    expect_bits_of_the_tile<T>(shape_of(1, 2, 1, 16, 16), nk, Causal{300}, Alibi<T>{slopes, 300});
  }
}

// The keys and values of one head are 16 MiB and more: the next ones are asked for beside these.
TYPED_TEST(AttentionRow, HasTheBitsOfATileFromMemory) {
  using T = TypeParam;
  const Index nk = (Index{16} << 20) / (2 * 64 * Index(sizeof(T))) + 77;
  expect_bits_of_the_tile<T>(shape_of(1, 1, 1, 64, 64), nk, NoMask{});
}

TYPED_TEST(AttentionRow, AsksForEveryLineOfRowsOnce) {
  using T = TypeParam;
  constexpr Index line = 64 / Index(sizeof(T)), width = 2 * line + 1, rows = 5;
  const auto x = numbers<T>(rows * width, 1);
  for (const auto by : {tile::Ask::read, tile::Ask::first_level, tile::Ask::second_level}) {
    tile::RowsAhead<T> ahead({x.data(), width, rows, 0, 0}, width, by, 4);
    int calls = 0;
    for (; !ahead.empty(); ++calls) ahead();
    EXPECT_EQ(calls, (3 * rows + 3) / 4);
    ahead();  // nothing is left: reads nothing
  }
  EXPECT_TRUE(tile::RowsAhead<T>().empty());
}

}  // namespace
}  // namespace attention_test
