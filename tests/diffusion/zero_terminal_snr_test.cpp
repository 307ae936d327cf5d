#include "aulos/diffusion/zero_terminal_snr.hpp"

#include <gtest/gtest.h>

#include "aulos/diffusion/diffusion_samplers.hpp"
#include "diffusion/gaussian.hpp"

namespace {

using namespace aulos::diffusion;
using namespace diffusion_support;

TEST(ZeroTerminalSnr, ByHand) {
  // sqrt(A) = 0.9, 0.5, 0.1: less 0.1, times 0.9 / 0.8.
  const double alphas[] = {0.81, 0.25, 0.01};
  const auto rescaled = rescale_zero_terminal_snr(alphas);
  ASSERT_EQ(rescaled.size(), 3u);
  EXPECT_EQ(rescaled[0], 0.81);
  EXPECT_NEAR(rescaled[1], 0.45 * 0.45, 1e-15);
  EXPECT_EQ(rescaled[2], 0.0);
  EXPECT_EQ(rescale_zero_terminal_snr(alphas, 0x1p-24)[2], 0x1p-24);
}

// On betas, as the reference states it: cumulative products, their roots shifted and scaled, quotients of neighbours.
TEST(ZeroTerminalSnr, ReferenceOnBetas) {
  for (const BetaSchedule schedule : {BetaSchedule::linear, BetaSchedule::scaled_linear}) {
    const NoiseScheduleOptions options{.betas = schedule, .beta_start = 0.00085, .beta_end = 0.012};
    std::vector<double> betas(1000), roots(1000);
    double product = 1;
    for (std::size_t i = 0; i < 1000; ++i) {
      const double u = static_cast<double>(i) / 999;
      betas[i] = schedule == BetaSchedule::linear
                     ? 0.00085 + u * (0.012 - 0.00085)
                     : std::pow(std::sqrt(0.00085) + u * (std::sqrt(0.012) - std::sqrt(0.00085)), 2);
      roots[i] = std::sqrt(product *= 1 - betas[i]);
    }
    const double first = roots[0], last = roots[999];
    for (double& root : roots) root = (root - last) * (first / (first - last));
    const auto got = betas_of(rescale_zero_terminal_snr(alphas_cumprod(options)));
    ASSERT_EQ(got.size(), 1000u);
    EXPECT_NEAR(got[0], betas[0], 1e-12);
    for (std::size_t i = 1; i < 1000; ++i)
      EXPECT_NEAR(got[i], 1 - roots[i] * roots[i] / (roots[i - 1] * roots[i - 1]), 1e-9) << i;
    EXPECT_EQ(got[999], 1.0);
  }
}

TEST(ZeroTerminalSnr, BetasGiveTheirProductsBack) {
  const auto alphas = alphas_cumprod({});
  const auto betas = betas_of(alphas);
  EXPECT_NEAR(betas[0], 1e-4, 1e-15);
  EXPECT_NEAR(betas[999], 0.02, 1e-12);
  EXPECT_TRUE(betas_of({}).empty());
}

// From pure noise a v model samples on: at the last time v = -x0, so that one DDIM step from it gives the data.
TEST(ZeroTerminalSnr, SamplesFromPureNoise) {
  Context context({.threads = 1});
  const auto alphas = rescale_zero_terminal_snr(alphas_cumprod({}));
  const auto v = [&](const Batch& x, Index t) {
    const double a = std::sqrt(alphas[static_cast<std::size_t>(t)]);
    const double s = std::sqrt(1 - a * a);
    return map(context, x, [=](double at, std::size_t c) {
      const double x0 = expected(at, c, a, s);
      return a * (at - a * x0) / s - s * x0;
    });
  };
  const DdimOptions one{.timesteps = {.steps = 1, .spacing = TimestepSpacing::trailing},
                        .denoise = {.prediction = Prediction::v}};
  const auto none = [&](Index i) { return noise(context, i); };
  expect_near(ddim(one, std::span<const double>(alphas), start(context), v, none),
              {mean[0], mean[1], mean[2], mean[0], mean[1], mean[2]}, 1e-12);
  const DdimOptions many{.timesteps = {.steps = 500, .spacing = TimestepSpacing::trailing},
                         .denoise = {.prediction = Prediction::v}};
  const auto x = ddim(many, std::span<const double>(alphas), start(context), v, none);
  std::vector<double> want;  // the flow of a Gaussian is linear: mean + sd x
  for (Index i = 0; i < 6; ++i) want.push_back(mean[i % 3] + std::sqrt(variance[i % 3]) * start(context).data()[i]);
  expect_near(x, want, 0.01);
}

// At A = 0 the noise tells nothing about the data: samplers say so before they call the model.
TEST(ZeroTerminalSnrErrors, NoisePredictionsAtPureNoise) {
  Context context({.threads = 1});
  const auto alphas = rescale_zero_terminal_snr(alphas_cumprod({}));
  int calls = 0;
  const auto model = [&](const Batch& x, Index) {
    ++calls;
    return x;
  };
  const auto z = [&](Index i) { return noise(context, i); };
  const TimestepOptions to_the_end{.steps = 5, .spacing = TimestepSpacing::trailing};
  const std::string expected =
      ": alphas is 0.000000 at time 999, where x is all noise; expected a model that predicts v or the sample, or "
      "alphas > 0";
  EXPECT_EQ(config_error([&] { ddim<double, 2>({.timesteps = to_the_end}, alphas, start(context), model, z); }),
            "ddim" + expected);
  EXPECT_EQ(config_error([&] { ddpm<double, 2>({.timesteps = to_the_end}, alphas, start(context), model, z); }),
            "ddpm" + expected);
  EXPECT_EQ(config_error([&] { dpmpp_2m<double, 2>({.timesteps = to_the_end}, alphas, start(context), model); }),
            "dpm_sigmas: alphas is 0.000000 at time 999, where x is all noise; expected alphas > 0 "
            "(rescale_zero_terminal_snr takes the last)");
  EXPECT_EQ(calls, 0);

  const auto finite = [](const Batch& x) {
    for (const double v : values(x))
      if (!std::isfinite(v)) return false;
    return true;
  };
  for (const Prediction prediction : {Prediction::v, Prediction::sample}) {
    const DenoiseOptions denoise{.prediction = prediction};
    EXPECT_TRUE(finite(
        ddim<double, 2>({.timesteps = to_the_end, .denoise = denoise, .eta = 1}, alphas, start(context), model, z)));
    EXPECT_TRUE(
        finite(ddpm<double, 2>({.timesteps = to_the_end, .denoise = denoise}, alphas, start(context), model, z)));
  }
  // Times that leave it out, or a last A above 0, take the noise.
  EXPECT_TRUE(finite(ddim<double, 2>({.timesteps = {.steps = 5}}, alphas, start(context), model, z)));
  const auto above = rescale_zero_terminal_snr(alphas_cumprod({}), 0x1p-24);
  EXPECT_TRUE(finite(ddim<double, 2>({.timesteps = to_the_end}, above, start(context), model, z)));
  EXPECT_TRUE(finite(dpmpp_2m<double, 2>({.timesteps = to_the_end}, above, start(context), model)));
}

TEST(ZeroTerminalSnrErrors, SchedulesThatDoNotFall) {
  const double one[] = {0.5};
  EXPECT_EQ(config_error([&] { rescale_zero_terminal_snr(one); }),
            "rescale_zero_terminal_snr: 1 times, expected 2 or more");
  const double rising[] = {0.5, 0.5};
  EXPECT_NE(config_error([&] { rescale_zero_terminal_snr(rising); }).find("expected a falling one"), std::string::npos);
}

}  // namespace
