#include "aulos/simd/piecewise.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "lanes.hpp"

namespace {

namespace simd = aulos::simd;
using aulos::Index;
using simd::detail::has_lookup;

// The largest error of the table on [0, last], in 2^-24 of max(f, floor), and whether a number and a lane agree.
// Templates, so that nothing of this is compiled where there are no lookups.
template <class V, class Table, class F>
void expect_table(const Table& table, F f, double floor, double limit, V end) {
  if constexpr (has_lookup<V>) {
    constexpr Index width = simd::lanes<V>;
    double worst = 0;
    const V step = table.last() / V(200000);
    for (Index i = 0; i < 200000; i += width) {
      const simd::Batch<V> t = simd::raw_min(simd::Batch<V>(table.last()), simd::iota<V>(static_cast<V>(i)) * step);
      const simd::Batch<V> y = simd::detail::piecewise(t, table);
      for (Index lane = 0; lane < width; ++lane) {
        const V x = t.get(lane);
        const double want = f(static_cast<double>(x)), got = static_cast<double>(y.get(lane));
        worst = std::max(worst, std::fabs(got - want) / std::max(want, floor));
        ASSERT_TRUE(aulos_test::same_bits(simd::detail::piecewise(x, table), y.get(lane))) << x;
      }
    }
    EXPECT_LE(worst * 0x1p24, limit);
    EXPECT_EQ(simd::detail::piecewise(table.last(), table), end);
    EXPECT_TRUE(std::isnan(simd::detail::piecewise(std::numeric_limits<V>::quiet_NaN(), table)));
  } else {
    GTEST_SKIP() << "no lookup in this instruction set";
  }
}

// The error of the table and of the operations: a few roundings, relative to the value as far as promised. The last
// drops to 0 from 2^-42.
TEST(Piecewise, Tanh) {
  expect_table<float>(
      simd::detail::tanh_table, [](double t) { return std::tanh(t); }, 1e-30, 2, 1.0f);
}
TEST(Piecewise, Erf) {
  expect_table<float>(
      simd::detail::erf_table, [](double t) { return std::erf(t); }, 1e-30, 3, 1.0f);
}
TEST(Piecewise, NormalTail) {
  expect_table<float>(
      simd::detail::normal_tail_table, [](double t) { return std::erfc(t * 0.70710678118654752) / 2; }, 0x1p-21, 4,
      0.0f);
}
TEST(Piecewise, TanhGateTail) {
  expect_table<float>(
      simd::detail::tanh_gate_tail_table,
      [](double t) { return 1 / (1 + std::exp(1.5957691216057308 * (t + 0.044715 * t * t * t))); }, 0x1p-21, 8, 0.0f);
}

}  // namespace
