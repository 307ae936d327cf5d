#include "aulos/diffusion/noise_schedule.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "diffusion/gaussian.hpp"

namespace {

using namespace diffusion_support;
using namespace aulos::diffusion;

// The reference implementation in PyTorch, in double: entries 0, 1, 500 and 999.
TEST(AlphasCumprod, ReferenceNumbers) {
  const double want[3][4] = {{0.9999, 0.999780092072, 0.077796658365, 4.03582976538e-05},
                             {0.9999, 0.9997973619, 0.331274579517, 0.000733412459581},
                             {0.999958715775, 0.999912575927, 0.492285172449, 2.42876690703e-09}};
  const BetaSchedule kinds[] = {BetaSchedule::linear, BetaSchedule::scaled_linear, BetaSchedule::squaredcos_cap_v2};
  for (std::size_t k = 0; k < 3; ++k) {
    const std::vector<double> a = alphas_cumprod({.betas = kinds[k]});
    ASSERT_EQ(a.size(), 1000u);
    const std::size_t at[] = {0, 1, 500, 999};
    for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(a[at[i]] / want[k][i], 1, 1e-10) << k << ' ' << i;
    for (std::size_t i = 1; i < 1000; ++i) ASSERT_LT(a[i], a[i - 1]);
  }
  EXPECT_EQ(alphas_cumprod({.train_steps = 1}), std::vector<double>{1 - 1e-4});
}

std::vector<Index> times(Index steps, TimestepSpacing spacing, Index offset = 0, Index train = 1000) {
  return timesteps({.steps = steps, .spacing = spacing, .offset = offset, .train_steps = train});
}

TEST(Timesteps, Spacings) {
  using V = std::vector<Index>;
  EXPECT_EQ(times(5, TimestepSpacing::leading), (V{800, 600, 400, 200, 0}));
  EXPECT_EQ(times(5, TimestepSpacing::leading, 1), (V{801, 601, 401, 201, 1}));
  EXPECT_EQ(times(6, TimestepSpacing::leading), (V{830, 664, 498, 332, 166, 0}));  // the ratio is cut: 166
  EXPECT_EQ(times(5, TimestepSpacing::trailing), (V{999, 799, 599, 399, 199}));
  EXPECT_EQ(times(5, TimestepSpacing::linspace), (V{999, 749, 500, 250, 0}));
  EXPECT_EQ(times(1, TimestepSpacing::leading), V{0});
  EXPECT_EQ(times(1, TimestepSpacing::trailing), V{999});
  EXPECT_EQ(times(1, TimestepSpacing::linspace), V{0});
}

// Half to even: 999 / 2 = 499.5 goes to 500, 62.5 k - 1 alternates. And grids as NumPy rounds them, where a tie is one
// only on paper: 13 * (999 / 26) is a little less than 499.5 (numpy 1.24: linspace(0, 999, 27).round()[13] is 499,
// (arange(1000, 0, -1000 / 48)).round()[3] - 1 is 936).
TEST(Timesteps, Ties) {
  EXPECT_EQ(times(3, TimestepSpacing::linspace)[1], 500);
  EXPECT_EQ(times(5, TimestepSpacing::linspace, 0, 11), (std::vector<Index>{10, 8, 5, 2, 0}));  // 7.5, 2.5
  EXPECT_EQ(times(16, TimestepSpacing::trailing),
            (std::vector<Index>{999, 937, 874, 811, 749, 687, 624, 561, 499, 437, 374, 311, 249, 187, 124, 61}));
  EXPECT_EQ(times(27, TimestepSpacing::linspace)[13], 499);
  EXPECT_EQ(times(48, TimestepSpacing::trailing)[3], 936);
}

TEST(Timesteps, FallAndStayInRange) {
  for (const TimestepSpacing spacing :
       {TimestepSpacing::leading, TimestepSpacing::trailing, TimestepSpacing::linspace}) {
    for (Index steps = 1; steps <= 1000; ++steps) {
      const std::vector<Index> t = times(steps, spacing);
      ASSERT_EQ(t.size(), static_cast<std::size_t>(steps));
      for (std::size_t i = 0; i < t.size(); ++i) {
        ASSERT_GE(t[i], 0);
        ASSERT_LT(t[i], 1000);
        if (i > 0) {
          ASSERT_LT(t[i], t[i - 1]) << steps;
        }
      }
    }
  }
}

// Whatever a model predicts, x is the mixture of the x0 and the noise that it means.
TEST(Denoise, PredictionsAgree) {
  Context context({.threads = 1});
  const Batch x0 = start(context), eps = noise(context, 1);
  for (const double a : {0.9, 0.5, 0.01}) {
    const double signal = std::sqrt(a), spread = std::sqrt(1 - a);
    const auto mix = [&](double p, double q) {
      Batch y = context.empty<double, 2>(x0.shape());
      for (Index i = 0; i < 6; ++i) y.mutable_data()[i] = p * x0.data()[i] + q * eps.data()[i];
      return y;
    };
    const Batch x = mix(signal, spread);
    const std::pair<Prediction, Batch> outputs[] = {
        {Prediction::epsilon, eps}, {Prediction::sample, x0}, {Prediction::v, mix(-spread, signal)}};
    for (const auto& [prediction, output] : outputs) {
      const auto d = denoise(x, output, a, {.prediction = prediction});
      expect_near(d.x0, values(x0), 1e-14);
      expect_near(d.eps, values(eps), 1e-14);
      const auto clipped = denoise(x, output, a, {.prediction = prediction, .clip = 0.5});
      for (Index i = 0; i < 6; ++i)
        EXPECT_NEAR(clipped.x0.data()[i], std::min(0.5, std::max(-0.5, x0.data()[i])), 1e-14);
      EXPECT_EQ(values(clipped.eps), values(d.eps));  // of the prediction, not of the clipped x0
    }
  }
}

TEST(NoiseScheduleErrors, NameTheField) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(config_error([] { alphas_cumprod({.train_steps = 0}); }),
            "alphas_cumprod: train_steps is 0, expected >= 1");
  for (const double wrong : {0.0, 1.0, -0.1, nan}) {
    EXPECT_EQ(config_error([&] { alphas_cumprod({.beta_start = wrong}); }).find("alphas_cumprod: beta_start is "), 0u);
    EXPECT_EQ(config_error([&] { alphas_cumprod({.beta_end = wrong}); }).find("alphas_cumprod: beta_end is "), 0u);
  }
  EXPECT_EQ(config_error([] { timesteps({.steps = 0}); }), "timesteps: steps is 0, expected 1 to 1000");
  EXPECT_EQ(config_error([] { timesteps({.steps = 11, .train_steps = 10}); }),
            "timesteps: steps is 11, expected 1 to 10");
  EXPECT_EQ(config_error([] { timesteps({.steps = 1000, .offset = 1}); }),
            "timesteps: time 1000 of 1000; is the offset right?");
  EXPECT_EQ(config_error([] { timesteps({.steps = 10, .offset = -1}); }),
            "timesteps: time -1 of 1000; is the offset right?");
}

}  // namespace
