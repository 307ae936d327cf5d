#include "aulos/simd/row_sum.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace {

namespace simd = aulos::simd;
using aulos::Index;

template <class T>
class SumRow : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(SumRow, Types);

TYPED_TEST(SumRow, AddsEveryElementOnce) {
  using T = TypeParam;
  std::vector<Index> lengths;
  for (Index n = 0; n <= 400; ++n) lengths.push_back(n);
  lengths.push_back(10007);
  for (const Index length : lengths) {
    std::vector<T> x(static_cast<std::size_t>(length)), z(x.size());
    double sum = 0, product = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<T>((i * 7) % 11) - T(3);  // small integers: exact in any order
      z[i] = static_cast<T>((i * 5) % 13);
      sum += static_cast<double>(x[i]);
      product += static_cast<double>(x[i]) * static_cast<double>(z[i]);
    }
    const auto got = simd::sum_row<T, 3>(length, [&](Index i, auto part, auto& sums) {
      const simd::Batch<T> a = part.load(x.data() + i), b = part.load(z.data() + i);
      sums[0] += a;
      sums[1] = simd::fma(a, b, sums[1]);
      sums[2] += part.keep(simd::Batch<T>(T(1)), T(0));
    });
    EXPECT_EQ(got[0], sum) << length;
    EXPECT_EQ(got[1], product) << length;
    EXPECT_EQ(got[2], static_cast<double>(length));
  }
}

TYPED_TEST(SumRow, KeepsTheErrorOfAFewRoundingsAtAnyLength) {
  using T = TypeParam;
  for (const Index length : {100, 3000, 1000003}) {
    std::vector<T> x(static_cast<std::size_t>(length));
    long double want = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = T(1) + std::sin(static_cast<T>(i));
      want += static_cast<long double>(x[i]);
    }
    const double got =
        simd::sum_row<T, 1>(length, [&](Index i, auto part, auto& sums) { sums[0] += part.load(x.data() + i); })[0];
    EXPECT_NEAR(got, static_cast<double>(want),
                (sizeof(T) == 4 ? 1 : 20) * std::numeric_limits<T>::epsilon() * static_cast<double>(want));
  }
}

}  // namespace
