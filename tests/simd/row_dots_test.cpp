#include "aulos/simd/row_dots.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace {

using aulos::Index;
namespace simd = aulos::simd;

template <class T>
class RowDots : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(RowDots, Types);

constexpr double mark = -77.0;

// Rows of `width` numbers, `ld` apart, between numbers that are none: what must not be read.
template <class T>
struct Numbers {
  std::vector<T> a, rows;

  Numbers(Index n, Index ld, Index width)
      : rows(static_cast<std::size_t>(n * ld), std::numeric_limits<T>::quiet_NaN()) {
    std::mt19937 random(5);
    std::uniform_real_distribution<double> uniform(-1, 1);
    for (Index c = 0; c < width; ++c) a.push_back(static_cast<T>(uniform(random)));
    for (Index r = 0; r < n; ++r) {
      for (Index c = 0; c < width; ++c) rows[static_cast<std::size_t>(r * ld + c)] = static_cast<T>(uniform(random));
    }
    a.shrink_to_fit();
  }
  // In the order of the terms, rounded as fma() rounds.
  T dot(Index r, Index ld) const {
    T sum = 0;
    for (std::size_t c = 0; c < a.size(); ++c) {
      sum = simd::fma(a[c], rows[static_cast<std::size_t>(r * ld) + c], sum);
    }
    return sum;
  }
};

template <class T, Index pairs>
void expect_whole(Index ld, Index width) {
  const Index n = pairs * simd::dot_rows<T>;
  Numbers<T> x(n, ld, width);
  x.rows.resize(static_cast<std::size_t>((n - 1) * ld + width));  // the last row ends the array
  x.rows.shrink_to_fit();
  std::vector<T> s(static_cast<std::size_t>(n), T(mark));
  Index steps = 0;
  simd::row_dots<T, pairs>(s.data(), x.a.data(), x.rows.data(), ld, width, [&] { ++steps; });
  for (Index r = 0; r < n; ++r) EXPECT_EQ(s[static_cast<std::size_t>(r)], x.dot(r, ld)) << r << ", width " << width;
  EXPECT_EQ(steps, simd::row_dots_steps<T>(pairs, width));
}

TYPED_TEST(RowDots, SumsInTheOrderOfTheTerms) {
  for (const Index width : {0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 40, 64, 72, 130}) {
    for (const Index gap : {0, 1, 6}) {
      expect_whole<TypeParam, 1>(width + gap, width);
      expect_whole<TypeParam, 2>(width + gap, width);
    }
  }
}

TYPED_TEST(RowDots, APartHasTheSameBits) {
  using T = TypeParam;
  for (const Index width : {0, 1, 3, 4, 9, 64, 70}) {
    for (Index n = 0; n <= simd::dot_rows<T>; ++n) {
      const Index ld = width + 3;
      Numbers<T> x(n + 1, ld, width);
      x.rows.resize(static_cast<std::size_t>(n * ld));
      x.rows.shrink_to_fit();
      std::vector<T> s(static_cast<std::size_t>(n + 1), T(mark));
      simd::row_dots_part<T>(s.data(), x.a.data(), x.rows.data(), ld, n, width);
      for (Index r = 0; r < n; ++r) EXPECT_EQ(s[static_cast<std::size_t>(r)], x.dot(r, ld)) << r << " of " << n;
      EXPECT_EQ(s.back(), T(mark));  // nothing behind the last row is written
    }
  }
}

TYPED_TEST(RowDots, NotANumberStaysInItsRow) {
  using T = TypeParam;
  constexpr Index n = simd::dot_rows<T>, width = 6;
  Numbers<T> x(n, width, width);
  x.rows[3 * width + 5] = std::numeric_limits<T>::infinity();
  x.rows[4 * width + 5] = std::numeric_limits<T>::quiet_NaN();
  T s[static_cast<std::size_t>(n)];
  simd::row_dots<T, 1>(s, x.a.data(), x.rows.data(), width, width, [] {});
  for (Index r = 0; r < n; ++r) {
    EXPECT_EQ(std::isnan(s[r]), r == 4) << r;
    EXPECT_EQ(std::isinf(s[r]), r == 3) << r;
  }
}

}  // namespace
