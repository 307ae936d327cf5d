// compile: -O2
#include "aulos/simd/exp.hpp"

#include "lanes.hpp"

namespace {

namespace simd = aulos::simd;
using aulos::Index;
using namespace aulos_test;

template <class T>
class Exp : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Exp, Types);

TYPED_TEST(Exp, IsAsAccurateAsPromised) { expect_accuracy(measure_exp<TypeParam>(accuracy_points)); }

TYPED_TEST(Exp, IsTheSameInEveryLane) {
  expect_same_in_every_lane<TypeParam>([](auto x) { return simd::exp(x); });
}

TYPED_TEST(Exp, SpecialValuesAreExact) {
  using T = TypeParam;
  using L = std::numeric_limits<T>;
  EXPECT_EQ(simd::exp(T(0)), T(1));
  EXPECT_EQ(simd::exp(T(-0.0)), T(1));
  EXPECT_EQ(simd::exp(L::denorm_min()), T(1));
  EXPECT_EQ(simd::exp(L::infinity()), L::infinity());
  EXPECT_EQ(simd::exp(L::max()), L::infinity());
  EXPECT_TRUE(same_bits(simd::exp(-L::infinity()), T(0)));
  EXPECT_TRUE(same_bits(simd::exp(-L::max()), T(0)));
  EXPECT_TRUE(std::isnan(simd::exp(L::quiet_NaN())));
}

TYPED_TEST(Exp, WithoutClampingIsTheSameWhereTheResultIsNormal) {
  using T = TypeParam;
  const T low = sizeof(T) == 4 ? T(-87.3) : T(-708.3), high = sizeof(T) == 4 ? T(88.3) : T(709.4);
  for (int i = 0; i <= 1000; ++i) {
    const T x = low + (high - low) * T(i) / T(1000);
    ASSERT_TRUE(same_bits(simd::exp_normal(x), simd::exp(x))) << x;
  }
}

TYPED_TEST(Exp, ScaleRoundsOnceIntoTheSubnormals) {
  using T = TypeParam;
  const T x = T(1.9375);
  for (int n = -1100; n <= 1000; ++n) {
    if (sizeof(T) == 4 && (n < -200 || n > 130)) continue;
    ASSERT_TRUE(same_bits(simd::scale(x, T(n)), std::ldexp(x, n))) << n;
    ASSERT_TRUE(same_bits(simd::scale(simd::Batch<T>(x), simd::Batch<T>(T(n))).get(0), std::ldexp(x, n))) << n;
  }
}

TYPED_TEST(Exp, TwoProductIsExact) {
  using T = TypeParam;
  using W = typename Wider<T>::Type;
  for (int i = 1; i < 2000; ++i) {
    const T a = T(1) / T(i) * T(3.7), b = T(-1) / T(i + 7) + T(0.33);
    const auto p = simd::two_product(a, b);
    if (sizeof(T) == 4) {
      ASSERT_EQ(W(p.hi) + W(p.lo), W(a) * W(b)) << i;
    } else {
      // Without a fused multiply-add the product of the two low halves is rounded: 2^-107 of the whole.
      ASSERT_EQ(p.hi, a * b);
      ASSERT_NEAR(p.lo, std::fma(a, b, -p.hi), std::ldexp(std::fabs(p.hi), simd::has_fma ? -1000 : -104)) << i;
    }
  }
}

TYPED_TEST(Exp, HornerAndEstrinEvaluateThePolynomial) {
  using T = TypeParam;
  static constexpr T one[] = {T(3)};
  static constexpr T two[] = {T(3), T(-2)};
  static constexpr T seven[] = {T(3), T(-2), T(1), T(4), T(-5), T(6), T(7)};
  EXPECT_EQ(simd::horner(T(2), one), T(3));
  EXPECT_EQ(simd::estrin(T(2), one), T(3));
  EXPECT_EQ(simd::horner(T(2), two), T(-1));
  EXPECT_EQ(simd::estrin(T(2), two), T(-1));
  EXPECT_EQ(simd::horner(T(2), seven), T(3 - 4 + 4 + 32 - 80 + 192 + 448));
  EXPECT_EQ(simd::estrin(T(2), seven), T(3 - 4 + 4 + 32 - 80 + 192 + 448));
}

// 1 + r ln 2 is exact at integers; what it does between them is the caller's polynomial.
TYPED_TEST(Exp, ByAPolynomialOfTwoToTheFraction) {
  using T = TypeParam;
  using L = std::numeric_limits<T>;
  static constexpr T line[] = {T(1), T(0.6931471805599453)};
  const auto power = [](T x) { return simd::exp2_by(simd::Batch<T>(x), line).get(0); };
  for (int n = -100; n <= 100; ++n) EXPECT_EQ(power(T(n)), std::ldexp(T(1), n)) << n;
  EXPECT_NEAR(power(T(4.25)), T(16) * (T(1) + T(0.25) * line[1]), T(1e-5));
  for (const T x : {-L::infinity(), L::lowest(), T(-1200)}) EXPECT_TRUE(same_bits(power(x), T(0))) << x;
  EXPECT_TRUE(std::isnan(power(L::quiet_NaN())));
}

// 1 + r is exact at all integers, whichever of the two beside it n is.
TYPED_TEST(Exp, ByAPolynomialOfTwoToTheFractionAboveTheFloor) {
  using T = TypeParam;
  using L = std::numeric_limits<T>;
  static constexpr T line[] = {T(1), T(1)};
  const auto power = [](T x) { return simd::exp2_by_floor(simd::Batch<T>(x), line).get(0); };
  for (int n = -100; n <= 100; ++n) {
    EXPECT_EQ(power(T(n)), std::ldexp(T(1), n)) << n;
    for (const T r : {T(0.25), T(0.5), T(0.75)}) EXPECT_EQ(power(T(n) + r), std::ldexp(T(1) + r, n)) << n << ", " << r;
  }
  for (const T x : {-L::infinity(), L::lowest(), T(-1200)}) EXPECT_TRUE(same_bits(power(x), T(0))) << x;
  const T least = T(L::min_exponent - 1);  // 2^least is the smallest normal number
  EXPECT_EQ(power(least), L::min());
  EXPECT_LE(power(least - T(0.125)), L::min());
  EXPECT_GE(power(least - T(0.125)), T(0));
  EXPECT_TRUE(std::isnan(power(L::quiet_NaN())));
}

}  // namespace
