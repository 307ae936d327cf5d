// compile: -O2
#include "aulos/simd/erf.hpp"

#include "lanes.hpp"

namespace {

namespace simd = aulos::simd;
using namespace aulos_test;

template <class T>
class Erf : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Erf, Types);

TYPED_TEST(Erf, IsAsAccurateAsPromised) { expect_accuracy(measure_erf<TypeParam>(accuracy_points)); }

TYPED_TEST(Erf, IsTheSameInEveryLane) {
  expect_same_in_every_lane<TypeParam>([](auto x) { return simd::erf(x); });
}

TYPED_TEST(Erf, SpecialValuesAreExact) {
  using T = TypeParam;
  using L = std::numeric_limits<T>;
  EXPECT_TRUE(same_bits(simd::erf(T(0)), T(0)));
  EXPECT_TRUE(same_bits(simd::erf(T(-0.0)), T(-0.0)));
  for (const T x : {T(7), T(88), T(1e4), L::max(), L::infinity()}) {
    EXPECT_EQ(simd::erf(x), T(1)) << x;
    EXPECT_EQ(simd::erf(-x), T(-1)) << x;
  }
  EXPECT_TRUE(std::isnan(simd::erf(L::quiet_NaN())));
}

}  // namespace
