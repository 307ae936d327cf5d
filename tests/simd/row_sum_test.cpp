#include "aulos/simd/row_sum.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace {

namespace simd = aulos::simd;
using aulos::Index;

template <class T>
class RowSumOf : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(RowSumOf, Types);

TYPED_TEST(RowSumOf, AddsEveryElementOnceInDouble) {
  using T = TypeParam;
  for (Index length = 0; length <= 150; ++length) {
    std::vector<T> x(static_cast<std::size_t>(length)), z(x.size());
    long double sum = 0, product = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = std::sin(T(i)) + T(40000);
      z[i] = std::cos(T(3) * T(i));
      sum += static_cast<long double>(x[i]);
      product += static_cast<long double>(x[i]) * static_cast<long double>(z[i]);
    }
    simd::RowSum<T> s, p;
    simd::for_lanes_in_turns<T>(length, [&](Index i, auto part, std::size_t turn) {
      const simd::Batch<T> a = part.load(x.data() + i), b = part.load(z.data() + i);
      s.add(turn, a);
      p.add_product(turn, a, b);
    });
    EXPECT_NEAR(s.total(), static_cast<double>(sum), 1e-15 * 40000.0 * static_cast<double>(length));
    EXPECT_NEAR(p.total(), static_cast<double>(product), 1e-15 * 40000.0 * static_cast<double>(length));
  }
}

}  // namespace
