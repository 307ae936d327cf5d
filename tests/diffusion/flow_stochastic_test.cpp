#include "aulos/diffusion/flow_stochastic.hpp"

#include <gtest/gtest.h>

#include "diffusion/gaussian.hpp"

namespace {

using namespace aulos::diffusion;
using namespace diffusion_support;

FlowSchedule schedule(std::vector<double> sigmas) {
  FlowSchedule s;
  s.sigmas = std::move(sigmas);
  for (std::size_t i = 0; i + 1 < s.sigmas.size(); ++i) s.timesteps.push_back(1000 * s.sigmas[i]);
  return s;
}

// Every step written out in plain numbers.
TEST(FlowStochastic, WrittenOut) {
  Context context({.threads = 1});
  const FlowSchedule levels = schedule({1, 0.7, 0.3, 0});
  std::vector<double> want = values(start(context));
  std::vector<std::vector<double>> path{want};
  for (std::size_t i = 0; i < 3; ++i) {
    const double sigma = levels.sigmas[i], next = levels.sigmas[i + 1];
    const auto z = values(noise(context, static_cast<Index>(i)));
    for (std::size_t k = 0; k < 6; ++k) {
      const double x0 = expected(want[k], k % 3, 1 - sigma, sigma);
      want[k] = (1 - next) * x0 + next * z[k];
    }
    path.push_back(want);
  }
  Index drawn = 0;
  std::vector<std::vector<double>> seen;
  const auto x = flow_stochastic(
      levels, start(context),
      [&](const Batch& at, Index i) { return flow_velocity(context, at, levels.sigmas[static_cast<std::size_t>(i)]); },
      [&](Index i) {
        ++drawn;
        return noise(context, i);
      },
      [&](Index i, const Batch& at) {
        EXPECT_EQ(static_cast<std::size_t>(i), seen.size());
        seen.push_back(values(at));
      });
  expect_near(x, want, 1e-13);
  EXPECT_EQ(drawn, 2);  // none for the step to 0
  ASSERT_EQ(seen.size(), path.size());
  for (std::size_t i = 0; i < path.size(); ++i)
    for (std::size_t k = 0; k < 6; ++k) EXPECT_NEAR(seen[i][k], path[i][k], 1e-13);
}

// One step is x - v, as it is without noise.
TEST(FlowStochastic, OneStepIsEuler) {
  Context context({.threads = 1});
  const FlowSchedule levels = schedule({1, 0});
  const auto v = [&](const Batch& at, Index) { return flow_velocity(context, at, 1); };
  const auto none = [&](Index i) { return noise(context, i); };
  expect_near(flow_stochastic(levels, start(context), v, none), values(flow_euler(levels, start(context), v)), 1e-14);
}

// Noised anew at every level, the result forgets its start: with the exact denoiser of data of one point it is the
// point, and a level's state has the variance of that level.
TEST(FlowStochastic, LevelsHaveTheirVariance) {
  Context context({.threads = 1});
  const FlowSchedule levels = schedule({1, 0.6, 0});
  const double point = 2;
  const Index count = 4000;
  aulos::Tensor<double, 2> x = context.normal<double>(Shape<2>{count, 1});
  const auto velocity = [&](const Batch& at, Index i) {
    const double sigma = levels.sigmas[static_cast<std::size_t>(i)];
    return map(context, at, [=](double value, std::size_t) { return (value - point) / sigma; });
  };
  const auto z = [&](Index) { return context.normal<double>(Shape<2>{count, 1}); };
  const auto y = flow_stochastic(levels, x, velocity, z, [&](Index i, const Batch& at) {
    if (i != 1) return;
    double mean_of = 0, square = 0;
    for (Index k = 0; k < count; ++k) mean_of += at.data()[k] / static_cast<double>(count);
    for (Index k = 0; k < count; ++k) square += std::pow(at.data()[k] - mean_of, 2) / static_cast<double>(count);
    EXPECT_NEAR(mean_of, 0.4 * point, 5 * 0.6 / std::sqrt(static_cast<double>(count)));
    EXPECT_NEAR(square, 0.36, 5 * 0.36 * std::sqrt(2.0 / static_cast<double>(count)));
  });
  for (Index k = 0; k < count; ++k) ASSERT_NEAR(y.data()[k], point, 1e-12);
}

}  // namespace
