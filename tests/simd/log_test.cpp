// compile: -O2
#include "aulos/simd/log.hpp"

#include "lanes.hpp"

namespace {

namespace simd = aulos::simd;
using namespace aulos_test;

template <class T>
class Log : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Log, Types);

TYPED_TEST(Log, IsAsAccurateAsPromised) { expect_accuracy(measure_log<TypeParam>(accuracy_points)); }

TYPED_TEST(Log, IsTheSameInEveryLane) {
  expect_same_in_every_lane<TypeParam>([](auto x) { return simd::log(x); });
}

TYPED_TEST(Log, SpecialValuesAreExact) {
  using T = TypeParam;
  using L = std::numeric_limits<T>;
  EXPECT_TRUE(same_bits(simd::log(T(1)), T(0)));
  EXPECT_EQ(simd::log(T(0)), -L::infinity());
  EXPECT_EQ(simd::log(T(-0.0)), -L::infinity());
  EXPECT_EQ(simd::log(L::infinity()), L::infinity());
  EXPECT_TRUE(std::isnan(simd::log(T(-1))));
  EXPECT_TRUE(std::isnan(simd::log(-L::denorm_min())));
  EXPECT_TRUE(std::isnan(simd::log(-L::infinity())));
  EXPECT_TRUE(std::isnan(simd::log(L::quiet_NaN())));
}

TYPED_TEST(Log, OnePlusKeepsSmallArguments) {
  using T = TypeParam;
  for (int i = 0; i <= 3000; ++i) {
    const T x = std::ldexp(T(1) - T(i % 7) / T(9), -i / 20);
    ASSERT_LE(ulp_error(simd::log1p_unit(x), std::log1p(static_cast<typename Wider<T>::Type>(x))), 4) << x;
  }
  EXPECT_TRUE(same_bits(simd::log1p_unit(T(0)), T(0)));
}

}  // namespace
