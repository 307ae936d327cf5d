#include "aulos/core/box_muller.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <numbers>

namespace {

using aulos::BoxMuller;

TEST(MultiplyHighTest, IsTheUpperHalfOfTheProduct) {
  const std::uint64_t top = ~std::uint64_t{0};
  EXPECT_EQ(aulos::multiply_high(top, top), top - 1);
  EXPECT_EQ(aulos::multiply_high(top, 1), 0U);
  EXPECT_EQ(aulos::multiply_high(std::uint64_t{1} << 32, std::uint64_t{1} << 32), 1U);
  EXPECT_EQ(aulos::multiply_high(0x123456789ABCDEF0, 0xFEDCBA9876543210), 0x121FA00AD77D7422U);
  EXPECT_EQ(aulos::multiply_high(0, top), 0U);
}

// The same from the C library's long double (64 bits of mantissa on x86).
struct Point {
  long double x, y, radius;
};
Point reference(std::uint64_t u, std::uint64_t angle) {
  const long double p = std::ldexp(static_cast<long double>(u | 1), -64);
  const long double log = p > 0.5L ? std::log1p(-std::ldexp(static_cast<long double>(~(u | 1) + 1), -64)) : std::log(p);
  const long double radius = std::sqrt(-2 * log);
  const long double turn = std::ldexp(static_cast<long double>(angle), -64) - 0.125L;
  return {radius * std::cos(2 * std::numbers::pi_v<long double> * turn),
          radius * std::sin(2 * std::numbers::pi_v<long double> * turn), radius};
}

void expect_close(std::uint64_t u, std::uint64_t angle) {
  const auto got = BoxMuller::transform(u, angle);
  const Point expected = reference(u, angle);
  // In units of 2^-59; the reference itself is good to a few of them.
  const long double bound = sizeof(long double) > 8 ? 24 + 8 / std::max(expected.radius, 0x1p-28L) : 4096;
  EXPECT_NEAR(static_cast<double>(static_cast<long double>(got[0]) - std::ldexp(expected.x, 59)), 0,
              static_cast<double>(bound))
      << u << ' ' << angle;
  EXPECT_NEAR(static_cast<double>(static_cast<long double>(got[1]) - std::ldexp(expected.y, 59)), 0,
              static_cast<double>(bound))
      << u << ' ' << angle;
}

TEST(BoxMullerTest, AgreesWithLongDoubleOnRandomWords) {
  std::uint64_t state = 1;
  const auto next = [&state] {  // a linear congruential generator and a xorshift of its upper bits
    state = state * 6364136223846793005U + 1442695040888963407U;
    return state ^ (state >> 29);
  };
  for (int i = 0; i < 200000; ++i) expect_close(next(), next());
}

TEST(BoxMullerTest, AgreesAtTheEdgesOfEveryCellAndQuadrant) {
  for (int bit = 0; bit < 64; ++bit) {
    for (std::uint64_t cell = 0; cell < 64; ++cell) {
      const std::uint64_t edge = ((32 + cell / 2) << 58) >> bit;
      for (const std::uint64_t u : {edge - 2, edge - 1, edge, edge + 1, edge + 2}) expect_close(u, cell << 58);
    }
  }
  const std::uint64_t top = ~std::uint64_t{0};
  for (std::uint64_t octant = 0; octant < 8; ++octant) {
    for (const std::uint64_t u : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 63, top / 2, top - 3, top}) {
      for (const std::uint64_t angle : {octant << 61, (octant << 61) + 1, (octant << 61) - 1}) expect_close(u, angle);
    }
  }
}

TEST(BoxMullerTest, RangeIsKnown) {
  // u = 2^-64 gives the largest radius, sqrt(128 log 2); u = 1 - 2^-64 nearly none.
  const auto far = BoxMuller::transform(0, std::uint64_t{1} << 61);
  EXPECT_NEAR(std::ldexp(static_cast<double>(far[0]), -59), 9.41928, 1e-5);
  const auto near = BoxMuller::transform(~std::uint64_t{0}, 0);
  EXPECT_LT(std::ldexp(std::abs(static_cast<double>(near[0])), -59), 1e-7);
}

TEST(BoxMullerTest, IsAConstantExpression) { static_assert(BoxMuller::transform(std::uint64_t{1} << 63, 0)[0] > 0); }

}  // namespace
