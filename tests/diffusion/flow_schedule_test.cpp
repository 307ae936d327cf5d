#include "aulos/diffusion/flow_schedule.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

namespace {

using namespace aulos::diffusion;
using aulos::Index;

void expect_sigmas(const FlowScheduleOptions& options, const std::vector<double>& want, double tolerance) {
  const FlowSchedule schedule = flow_schedule(options);
  ASSERT_EQ(schedule.sigmas.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(schedule.sigmas[i], want[i], tolerance) << i;
}

TEST(StaticShift, FixedPointsAndComposition) {
  for (const double s : {0.5, 1.0, 3.0, 7.0}) {
    EXPECT_EQ(static_shift(s, 1), 1);
    EXPECT_EQ(static_shift(s, 0), 0);
    for (const double t : {0.01, 0.3, 0.5, 0.9}) {
      EXPECT_DOUBLE_EQ(static_shift(3, static_shift(s, t)), static_shift(3 * s, t));
      EXPECT_DOUBLE_EQ(static_shift(1 / s, static_shift(s, t)), t);
    }
  }
  EXPECT_DOUBLE_EQ(static_shift(3, 0.5), 0.75);
  EXPECT_DOUBLE_EQ(static_shift(1, 0.3), 0.3);
}

TEST(DynamicShift, IsLinearInTheTokens) {
  EXPECT_DOUBLE_EQ(dynamic_shift_of(256, 256, 0.5, 4096, 1.15), 0.5);
  EXPECT_DOUBLE_EQ(dynamic_shift_of(4096, 256, 0.5, 4096, 1.15), 1.15);
  EXPECT_DOUBLE_EQ(dynamic_shift_of(2176, 256, 0.5, 4096, 1.15), 0.825);
  EXPECT_DOUBLE_EQ(dynamic_shift_of(1024, 1024, 0.95, 4096, 2.05), 0.95);
}

// The end point is shifted once with the training levels and once with all others: FlowMatchEulerDiscreteScheduler of
// diffusers with shift 3 and 4 or 8 steps.
TEST(FlowSchedules, StableDiffusion3) {
  expect_sigmas({.steps = 4, .shift = 3}, {1, 0.857692307692, 0.602150537634, 0.00892857142857, 0}, 1e-12);
  const FlowSchedule eight = flow_schedule({.steps = 8, .shift = 3});
  EXPECT_NEAR(eight.sigmas[7], static_shift(9, 0.001), 1e-15);
}

// Plain end points: linspace(1, 1/n, n), then the shift.
TEST(FlowSchedules, OneOverN) {
  expect_sigmas({.steps = 4, .base = BaseSigmas::one_over_n}, {1, 0.75, 0.5, 0.25, 0}, 1e-15);
  expect_sigmas({.steps = 4, .base = BaseSigmas::one_over_n, .shift = 3}, {1, 0.9, 0.75, 0.5, 0}, 1e-15);
}

TEST(FlowSchedules, DynamicIsStaticOfTheExponential) {
  for (const BaseSigmas base : {BaseSigmas::one_over_n, BaseSigmas::shifted_minimum}) {
    const FlowSchedule plain = flow_schedule({.steps = 9, .base = base});
    const FlowSchedule dynamic = flow_schedule({.steps = 9, .base = base, .dynamic_shift = std::log(3.0)});
    for (std::size_t i = 0; i < 9; ++i) EXPECT_NEAR(dynamic.sigmas[i], static_shift(3, plain.sigmas[i]), 1e-14);
    // With a dynamic shift the static one plays no part.
    const FlowSchedule both = flow_schedule({.steps = 9, .base = base, .shift = 5, .dynamic_shift = std::log(3.0)});
    EXPECT_EQ(both.sigmas, dynamic.sigmas);
  }
}

TEST(FlowSchedules, TerminalIsTheLastLevel) {
  for (const Index steps : {2, 7, 30}) {
    const FlowScheduleOptions options{
        .steps = steps, .base = BaseSigmas::one_over_n, .dynamic_shift = 2.05, .terminal = 0.1};
    const FlowSchedule stretched = flow_schedule(options);
    FlowScheduleOptions without = options;
    without.terminal.reset();
    const FlowSchedule plain = flow_schedule(without);
    const std::size_t last = static_cast<std::size_t>(steps) - 1;
    EXPECT_EQ(stretched.sigmas[0], 1);
    EXPECT_NEAR(stretched.sigmas[last], 0.1, 1e-15);
    for (std::size_t i = 0; i <= last; ++i)
      EXPECT_NEAR(1 - stretched.sigmas[i], (1 - plain.sigmas[i]) * 0.9 / (1 - plain.sigmas[last]), 1e-14);
  }
}

// Always: from 1 strictly down to 0, and the times that models are given are 1000 times the levels.
TEST(FlowSchedules, FallFromOneToZero) {
  for (Index steps = 1; steps <= 60; ++steps) {
    for (const BaseSigmas base : {BaseSigmas::one_over_n, BaseSigmas::shifted_minimum}) {
      for (const double shift : {1.0, 3.0, 7.0}) {
        for (const bool terminal : {false, true}) {
          FlowScheduleOptions options{.steps = steps, .base = base, .shift = shift};
          if (terminal) options.terminal = 0.1;
          const FlowSchedule s = flow_schedule(options);
          ASSERT_EQ(s.steps(), steps);
          ASSERT_EQ(s.sigmas.size(), static_cast<std::size_t>(steps) + 1);
          ASSERT_EQ(s.sigmas.front(), 1);
          ASSERT_EQ(s.sigmas.back(), 0);
          for (std::size_t i = 0; i < s.timesteps.size(); ++i) {
            ASSERT_EQ(s.timesteps[i], 1000 * s.sigmas[i]);
            ASSERT_GT(s.sigmas[i], s.sigmas[i + 1]) << steps;
          }
        }
      }
    }
  }
  EXPECT_EQ(flow_schedule({.steps = 2, .train_steps = 10}).timesteps[0], 10);
}

TEST(FlowScheduleErrors, NameTheField) {
  const auto text = [](const FlowScheduleOptions& options) -> std::string {
    try {
      flow_schedule(options);
    } catch (const aulos::ConfigError& error) {
      return error.what();
    }
    return "no error";
  };
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(text({.steps = 0}), "flow_schedule: steps is 0, expected >= 1");
  EXPECT_EQ(text({.train_steps = 0}), "flow_schedule: train_steps is 0, expected >= 1");
  for (const double wrong : {0.0, -1.0, nan})
    EXPECT_EQ(text({.shift = wrong}).find("flow_schedule: shift is "), 0u) << wrong;
  for (const double wrong : {nan, 1000.0, -1000.0})
    EXPECT_EQ(text({.dynamic_shift = wrong}).find("flow_schedule: dynamic_shift is "), 0u) << wrong;
  for (const double wrong : {0.0, 1.0, -0.5, nan})
    EXPECT_EQ(text({.terminal = wrong}).find("flow_schedule: terminal is "), 0u) << wrong;
}

}  // namespace
