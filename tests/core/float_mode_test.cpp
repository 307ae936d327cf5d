#include "aulos/core/float_mode.hpp"

#include <gtest/gtest.h>

#include <cfenv>
#include <limits>
#include <stdexcept>

namespace {

using aulos::FloatMode;
using aulos::FloatModeScope;

// The sum is not known to the compiler, and denormal.
float tiny_sum() {
  volatile float x = std::numeric_limits<float>::min() / 4;
  return x + x;
}

TEST(FloatModeTest, FlushingLastsForTheScope) {
  const FloatMode before = FloatMode::current();
  EXPECT_FALSE(before.flushes_denormals());
  EXPECT_GT(tiny_sum(), 0.0F);
#if defined(__SSE__) || defined(__aarch64__)
  {
    const FloatModeScope scope(before.flushing_denormals());
    EXPECT_TRUE(FloatMode::current().flushes_denormals());
    EXPECT_EQ(tiny_sum(), 0.0F);
  }
#endif
  EXPECT_EQ(FloatMode::current(), before);
  EXPECT_GT(tiny_sum(), 0.0F);
}

TEST(FloatModeTest, AnExceptionRestoresTheMode) {
  const FloatMode before = FloatMode::current();
  try {
    const FloatModeScope scope(before.flushing_denormals());
    throw std::runtime_error("out");
  } catch (const std::runtime_error&) {
  }
  EXPECT_EQ(FloatMode::current(), before);
}

TEST(FloatModeTest, HoldsTheRoundingDirection) {
#if defined(__SSE__) || defined(__aarch64__)
  const FloatMode nearest = FloatMode::current();
  ASSERT_EQ(std::fesetround(FE_UPWARD), 0);
  const FloatMode upward = FloatMode::current();
  ASSERT_EQ(std::fesetround(FE_TONEAREST), 0);
  EXPECT_NE(nearest, upward);
  EXPECT_EQ(nearest, FloatMode::current());
  volatile float one = 1, small = 1e-10F;
  {
    const FloatModeScope scope(upward);
    EXPECT_GT(one + small, 1.0F);
  }
  EXPECT_EQ(one + small, 1.0F);
#endif
}

TEST(FloatModeTest, ExceptionFlagsRaisedInsideStay) {
#if defined(__SSE__)
  const FloatMode mode = FloatMode::current();
  std::feclearexcept(FE_ALL_EXCEPT);
  EXPECT_EQ(FloatMode::current(), mode) << "flags are no part of the mode";
  {
    const FloatModeScope scope(mode.flushing_denormals());
    volatile double zero = 0, quotient = 1 / zero;
    static_cast<void>(quotient);
  }
  EXPECT_NE(std::fetestexcept(FE_DIVBYZERO), 0);
  std::feclearexcept(FE_ALL_EXCEPT);
#endif
}

}  // namespace
