#include "aulos/train/schedule.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

namespace {

using aulos::Index;
using aulos::train::cooldown;
using aulos::train::CooldownShape;
using aulos::train::cosine_schedule;
using aulos::train::ScheduleOptions;
using aulos::train::warmup_stable_decay;

constexpr CooldownShape shapes[] = {CooldownShape::linear, CooldownShape::cosine, CooldownShape::mirror_cosine,
                                    CooldownShape::square, CooldownShape::sqrt,   CooldownShape::lowered_linear};

TEST(CooldownShapes, EndPointsAndAverages) {
  const double average[] = {0.5, 0.5, 0.5, 2.0 / 3, 1.0 / 3, 0.35};
  for (std::size_t s = 0; s < 6; ++s) {
    EXPECT_DOUBLE_EQ(cooldown(shapes[s], 0), shapes[s] == CooldownShape::lowered_linear ? 0.7 : 1.0) << s;
    EXPECT_NEAR(cooldown(shapes[s], 1), 0, 1e-15) << s;
    double sum = 0;  // midpoint rule
    constexpr int n = 100000;
    for (int i = 0; i < n; ++i) sum += cooldown(shapes[s], (i + 0.5) / n);
    EXPECT_NEAR(sum / n, average[s], 1e-6) << s;
    for (int i = 0; i < 100; ++i)  // downwards throughout
      EXPECT_GE(cooldown(shapes[s], i / 100.0), cooldown(shapes[s], (i + 1) / 100.0) - 1e-15) << s;
  }
}

TEST(CooldownShapes, ValuesAtAQuarter) {
  const double cosine = (1 + std::sqrt(0.5)) / 2;
  const double want[] = {0.75, cosine, 1.5 - cosine, 0.9375, 0.5, 0.525};
  for (std::size_t s = 0; s < 6; ++s) EXPECT_NEAR(cooldown(shapes[s], 0.25), want[s], 1e-15) << s;
}

TEST(WarmupStableDecay, Stages) {
  const ScheduleOptions o{.peak = 2, .warmup = 4, .total = 20, .final = 0.1};
  for (const CooldownShape shape : shapes) {
    for (Index t = 0; t < 4; ++t)
      EXPECT_DOUBLE_EQ(warmup_stable_decay(o, 5, shape, t), 2 * static_cast<double>(t + 1) / 4);
    for (Index t = 4; t < 15; ++t) EXPECT_EQ(warmup_stable_decay(o, 5, shape, t), 2);
    for (Index t = 15; t < 20; ++t) {
      const double p = static_cast<double>(t - 14) / 5;
      EXPECT_DOUBLE_EQ(warmup_stable_decay(o, 5, shape, t), 2 * (0.1 + 0.9 * cooldown(shape, p)));
    }
    EXPECT_NEAR(warmup_stable_decay(o, 5, shape, 19), 0.2, 1e-15);  // `final` at the last update
    EXPECT_NEAR(warmup_stable_decay(o, 5, shape, 1000), 0.2, 1e-15);
  }
}

// With a long cooldown the first update of it is next to the peak, for all shapes but the lowered one (and the root,
// which starts steeply).
TEST(WarmupStableDecay, ContinuousWhereTheCooldownStarts) {
  const ScheduleOptions o{.peak = 1, .warmup = 0, .total = 2000000, .final = 0};
  for (const CooldownShape shape : shapes) {
    const double drop = 1 - warmup_stable_decay(o, 1000000, shape, 1000000);
    if (shape == CooldownShape::lowered_linear) {
      EXPECT_NEAR(drop, 0.3, 1e-5);
    } else {
      EXPECT_LE(drop, 1.1e-3);
      EXPECT_GE(drop, 0);
    }
  }
}

TEST(WarmupStableDecay, WithoutStages) {
  const ScheduleOptions o{.peak = 1, .warmup = 0, .total = 3, .final = 0};
  for (Index t = 0; t < 3; ++t) EXPECT_EQ(warmup_stable_decay(o, 0, CooldownShape::linear, t), 1);
  EXPECT_DOUBLE_EQ(warmup_stable_decay(o, 3, CooldownShape::linear, 0), 2.0 / 3);  // all of it
  EXPECT_EQ(warmup_stable_decay(o, 3, CooldownShape::linear, 2), 0);
  const ScheduleOptions warm{.peak = 1, .warmup = 3, .total = 3, .final = 0};
  EXPECT_EQ(warmup_stable_decay(warm, 0, CooldownShape::linear, 2), 1);
}

TEST(CosineSchedule, Values) {
  const ScheduleOptions o{.peak = 4, .warmup = 2, .total = 10, .final = 0.25};
  EXPECT_EQ(cosine_schedule(o, 0), 2);
  EXPECT_EQ(cosine_schedule(o, 1), 4);
  EXPECT_NEAR(cosine_schedule(o, 5), 4 * (0.25 + 0.75 * 0.5), 1e-15);  // halfway: p = 4 / 8
  EXPECT_NEAR(cosine_schedule(o, 3), 4 * (0.25 + 0.75 * (1 + std::cos(std::acos(-1.0) / 4)) / 2), 1e-15);
  EXPECT_NEAR(cosine_schedule(o, 9), 1, 1e-15);
  EXPECT_NEAR(cosine_schedule(o, 99), 1, 1e-15);
  EXPECT_EQ(cosine_schedule({.peak = 4, .warmup = 3, .total = 3, .final = 0}, 2), 4);  // warm-up alone
  EXPECT_EQ(cosine_schedule({.peak = 4, .warmup = 3, .total = 3, .final = 0}, 3), 0);
}

// The formulas of the paper evaluated in Python, for updates 28, 33 and 38 of every shape.
TEST(WarmupStableDecay, FixedNumbers) {
  const ScheduleOptions o{.peak = 1e-3, .warmup = 6, .total = 40, .final = 0};
  const double want[6][3] = {{9.166666666666666e-04, 5.000000000000000e-04, 8.333333333333337e-05},
                             {9.829629131445341e-04, 5.000000000000000e-04, 1.703708685546590e-05},
                             {8.503704201887992e-04, 5.000000000000000e-04, 1.496295798112008e-04},
                             {9.930555555555556e-04, 7.500000000000000e-04, 1.597222222222223e-04},
                             {7.113248654051871e-04, 2.928932188134525e-04, 4.257289224366190e-05},
                             {6.416666666666666e-04, 3.500000000000000e-04, 5.833333333333335e-05}};
  const Index at[3] = {28, 33, 38};
  for (std::size_t s = 0; s < 6; ++s)
    for (std::size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(warmup_stable_decay(o, 12, shapes[s], at[i]), want[s][i], 1e-16) << s << ' ' << i;
}

TEST(ScheduleErrors, NameTheSchedule) {
  const auto text = [](auto f) -> std::string {
    try {
      f();
    } catch (const aulos::ConfigError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(text([] { warmup_stable_decay({.warmup = 6, .total = 10}, 5, CooldownShape::linear, 0); }),
            "warmup_stable_decay: warmup 6 and cooldown 5 do not fit into total 10");
  EXPECT_EQ(text([] { cosine_schedule({.warmup = 11, .total = 10}, 0); }),
            "cosine_schedule: warmup 11 and cooldown 0 do not fit into total 10");
  EXPECT_EQ(text([] { cosine_schedule({.total = 0}, 0); }),
            "cosine_schedule: warmup 0 and cooldown 0 do not fit into total 0");
  EXPECT_EQ(text([] { warmup_stable_decay({.total = 10}, -1, CooldownShape::linear, 0); }),
            "warmup_stable_decay: warmup 0 and cooldown -1 do not fit into total 10");
  EXPECT_EQ(text([] { cosine_schedule({.total = 10}, -1); }), "cosine_schedule: update -1, expected 0 or later");
}

}  // namespace
