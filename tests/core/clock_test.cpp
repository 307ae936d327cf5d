#include "aulos/core/clock.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace {

TEST(Clock, CountsSecondsForward) {
  const auto outer = std::chrono::steady_clock::now();
  const double start = aulos::seconds_now();
  double last = start;
  for (int i = 0; i < 1000; ++i) {
    const double now = aulos::seconds_now();
    ASSERT_GE(now, last);
    last = now;
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double elapsed = aulos::seconds_now() - start;
  const std::chrono::duration<double> bound = std::chrono::steady_clock::now() - outer;
  EXPECT_GE(elapsed, 0.0199);  // a sleep is never shorter than asked for
  EXPECT_LE(elapsed, bound.count() + 1e-6);
}

}  // namespace
