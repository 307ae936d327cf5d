// compile: -O2
#include "aulos/simd/tanh.hpp"

#include "lanes.hpp"

namespace {

namespace simd = aulos::simd;
using namespace aulos_test;

template <class T>
class Tanh : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Tanh, Types);

TYPED_TEST(Tanh, IsAsAccurateAsPromised) { expect_accuracy(measure_tanh<TypeParam>(accuracy_points)); }

TYPED_TEST(Tanh, IsTheSameInEveryLane) {
  expect_same_in_every_lane<TypeParam>([](auto x) { return simd::tanh(x); });
}

TYPED_TEST(Tanh, SpecialValuesAreExact) {
  using T = TypeParam;
  using L = std::numeric_limits<T>;
  EXPECT_TRUE(same_bits(simd::tanh(T(0)), T(0)));
  EXPECT_TRUE(same_bits(simd::tanh(T(-0.0)), T(-0.0)));
  EXPECT_EQ(simd::tanh(L::denorm_min()), L::denorm_min());
  EXPECT_EQ(simd::tanh(-L::denorm_min()), -L::denorm_min());
  for (const T x : {T(25), T(88), T(1e4), L::max(), L::infinity()}) {
    EXPECT_EQ(simd::tanh(x), T(1)) << x;
    EXPECT_EQ(simd::tanh(-x), T(-1)) << x;
  }
  EXPECT_TRUE(std::isnan(simd::tanh(L::quiet_NaN())));
}

}  // namespace
