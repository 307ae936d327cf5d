#include "aulos/simd/batch.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace {

namespace simd = aulos::simd;
using aulos::Index;
using simd::Batch;

template <class T>
class BatchOf : public ::testing::Test {
 protected:
  static constexpr Index width = simd::lanes<T>;
  using Lanes = std::array<T, static_cast<std::size_t>(width)>;

  static Lanes lanes_of(Batch<T> x) {
    Lanes lane;
    simd::store(lane.data(), x);
    return lane;
  }
  // The value of a in lane i is a(i).
  template <class F>
  static Batch<T> make(F f) {
    Lanes lane;
    for (Index i = 0; i < width; ++i) lane[static_cast<std::size_t>(i)] = f(static_cast<T>(i));
    return simd::load(lane.data());
  }
  template <class F>
  static void expect_lanes(Batch<T> x, F want) {
    for (Index i = 0; i < width; ++i) {
      EXPECT_EQ(std::bit_cast<simd::Bits<T>>(x.get(i)), std::bit_cast<simd::Bits<T>>(want(static_cast<T>(i)))) << i;
    }
  }
  static void expect_mask(simd::BatchMask<T> mask, auto want) {
    expect_lanes(simd::select(mask, Batch<T>(T(1)), Batch<T>(T(0))), [&](T i) { return T(want(i) ? 1 : 0); });
  }
};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(BatchOf, Types);

TYPED_TEST(BatchOf, ArithmeticIsThatOfEveryLane) {
  using T = TypeParam;
  const Batch<T> a = this->make([](T i) { return i + T(0.7); }), b = this->make([](T i) { return T(3) - i; });
  this->expect_lanes(a + b, [](T i) { return (i + T(0.7)) + (T(3) - i); });
  this->expect_lanes(a - b, [](T i) { return (i + T(0.7)) - (T(3) - i); });
  this->expect_lanes(a * b, [](T i) { return (i + T(0.7)) * (T(3) - i); });
  this->expect_lanes(b / a, [](T i) { return (T(3) - i) / (i + T(0.7)); });
  this->expect_lanes(-b, [](T i) { return -(T(3) - i); });
  this->expect_lanes(simd::sqrt(a), [](T i) { return std::sqrt(i + T(0.7)); });
  this->expect_lanes(simd::abs(b), [](T i) { return std::fabs(T(3) - i); });
  this->expect_lanes(simd::copysign(a, b), [](T i) { return std::copysign(i + T(0.7), T(3) - i); });
  Batch<T> c = a;
  c += b;
  c -= Batch<T>(T(1));
  c *= b;
  c /= a;
  this->expect_lanes(c, [](T i) {
    const T x = i + T(0.7), y = T(3) - i;
    return ((x + y) - T(1)) * y / x;
  });
}

TYPED_TEST(BatchOf, ComparisonsFollowIeee) {
  using T = TypeParam;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const Batch<T> a = simd::iota<T>(), one(T(1));
  this->expect_mask(a < one, [](T i) { return i < 1; });
  this->expect_mask(a <= one, [](T i) { return i <= 1; });
  this->expect_mask(a > one, [](T i) { return i > 1; });
  this->expect_mask(a >= one, [](T i) { return i >= 1; });
  this->expect_mask(a == one, [](T i) { return i == 1; });
  this->expect_mask(a != one, [](T i) { return i != 1; });
  this->expect_mask((a < one) | (a > one), [](T i) { return i != 1; });
  this->expect_mask((a <= one) & (a >= one), [](T i) { return i == 1; });
  this->expect_mask(!(a == one), [](T i) { return i != 1; });
  const Batch<T> x(nan);
  EXPECT_FALSE(simd::any(x < one) || simd::any(x > one) || simd::any(x == x));
  EXPECT_TRUE(simd::all(x != x));
  EXPECT_TRUE(simd::all(simd::is_nan(x)));
  EXPECT_FALSE(simd::any(simd::is_nan(Batch<T>(std::numeric_limits<T>::infinity()))));
  EXPECT_TRUE(simd::any(a == one));
  EXPECT_FALSE(simd::all(a == one));
}

TYPED_TEST(BatchOf, FmaRoundsOnceWhereTheInstructionSetCan) {
  using T = TypeParam;
  const T tiny = std::numeric_limits<T>::epsilon();
  // (1 + e)^2 - (1 + 2 e) is e^2 exactly, and 0 when the product is rounded first.
  volatile T at_run_time = 1 + tiny;  // a compiler may fold constants with one rounding
  const T a = at_run_time, c = -(1 + 2 * tiny);
  const T want = simd::has_fma ? tiny * tiny : T(0);
  EXPECT_EQ(simd::fma(a, a, c), want);
  EXPECT_EQ(simd::fma(Batch<T>(a), Batch<T>(a), Batch<T>(c)).get(0), want);
  EXPECT_EQ(simd::fnma(Batch<T>(-a), Batch<T>(a), Batch<T>(c)).get(0), want);
  EXPECT_EQ(simd::fnma(-a, a, c), want);
}

TYPED_TEST(BatchOf, MaximumAndMinimumKeepNanFromEitherSide) {
  using T = TypeParam;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const auto check = [&](auto wrap) {
    const auto first = [](auto x) {
      if constexpr (std::is_same_v<decltype(x), T>) {
        return x;
      } else {
        return x.get(0);
      }
    };
    for (const T other : {T(0), T(-2), std::numeric_limits<T>::infinity(), nan}) {
      EXPECT_TRUE(std::isnan(first(simd::max(wrap(nan), wrap(other)))));
      EXPECT_TRUE(std::isnan(first(simd::max(wrap(other), wrap(nan)))));
      EXPECT_TRUE(std::isnan(first(simd::min(wrap(nan), wrap(other)))));
      EXPECT_TRUE(std::isnan(first(simd::min(wrap(other), wrap(nan)))));
      // one instruction: the second operand
      EXPECT_TRUE(std::isnan(first(simd::raw_max(wrap(other), wrap(nan)))));
      EXPECT_TRUE(std::isnan(first(simd::raw_min(wrap(other), wrap(nan)))));
    }
    EXPECT_EQ(first(simd::max(wrap(T(2)), wrap(T(-3)))), T(2));
    EXPECT_EQ(first(simd::min(wrap(T(2)), wrap(T(-3)))), T(-3));
    EXPECT_EQ(first(simd::raw_max(wrap(T(-3)), wrap(T(2)))), T(2));
    EXPECT_EQ(first(simd::raw_min(wrap(T(-3)), wrap(T(2)))), T(-3));
  };
  check([](T x) { return x; });
  check([](T x) { return Batch<T>(x); });
}

TYPED_TEST(BatchOf, RoundGoesToTheEvenNeighbour) {
  using T = TypeParam;
  for (const T x : {T(0.5), T(1.5), T(2.5), T(-0.5), T(-78.5), T(-77.5), T(0.49), T(1000000.5), T(1e9), T(-7)}) {
    const T want = std::nearbyint(x);
    EXPECT_EQ(simd::round(x), want) << x;
    EXPECT_EQ(simd::round(Batch<T>(x)).get(this->width - 1), want) << x;
  }
}

TYPED_TEST(BatchOf, PartialLoadsAndStoresTouchOnlyTheirElements) {
  using T = TypeParam;
  for (Index misalignment = 0; misalignment < 3; ++misalignment) {
    for (Index n = 0; n <= this->width; ++n) {
      // The vector ends where the row ends: an address sanitizer sees every read beyond it.
      std::vector<T> x(static_cast<std::size_t>(misalignment + n));
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i + 1);
      const Batch<T> y = simd::load_partial(x.data() + misalignment, n);
      this->expect_lanes(y, [&](T i) { return i < T(n) ? T(misalignment) + i + T(1) : T(0); });
      std::vector<T> z(static_cast<std::size_t>(misalignment + n), T(-1));
      simd::store_partial(z.data() + misalignment, y, n);
      for (Index i = 0; i < misalignment + n; ++i) {
        EXPECT_EQ(z[static_cast<std::size_t>(i)], i < misalignment ? T(-1) : T(i + 1));
      }
      std::vector<T> wide(static_cast<std::size_t>(2 * this->width), T(-1));
      simd::store_partial(wide.data(), y, n);
      for (Index i = n; i < 2 * this->width; ++i) EXPECT_EQ(wide[static_cast<std::size_t>(i)], T(-1));
      this->expect_mask(simd::first_lanes<T>(n), [&](T i) { return i < T(n); });
    }
  }
}

TYPED_TEST(BatchOf, IotaCounts) {
  using T = TypeParam;
  this->expect_lanes(simd::iota<T>(T(-3)), [](T i) { return i - T(3); });
}

TYPED_TEST(BatchOf, BitsAreThoseOfTheLanes) {
  using T = TypeParam;
  this->expect_lanes(simd::from_bits<Batch<T>>(simd::to_bits(simd::iota<T>(T(0.25)))), [](T i) { return i + T(0.25); });
  EXPECT_EQ(simd::from_bits<T>(simd::to_bits(T(1.5))), T(1.5));
}

// An unqualified call must not reach the functions of the same names that the wrapped library has.
template <class V>
concept ReachesForeignNames = requires(V x) {
  tan(x);
};
static_assert(!ReachesForeignNames<Batch<float>>);

}  // namespace
