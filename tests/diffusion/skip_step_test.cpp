#include "aulos/diffusion/skip_step.hpp"

#include <gtest/gtest.h>

#include "aulos/diffusion/flow_samplers.hpp"
#include "diffusion/gaussian.hpp"

namespace {

using namespace aulos::diffusion;
using namespace diffusion_support;

TEST(SkipSteps, WhenGuidanceIsEvaluated) {
  Context context({.threads = 1});
  for (const Index skip : {0, 1, 2, 5}) {
    SkipStep<double, 2> reuse(skip);
    std::vector<Index> evaluated;
    for (Index step = 0; step < 12; ++step) {
      const Batch y = reuse(step, [&] {
        evaluated.push_back(step);
        return context.full<double>(Shape<2>{1, 1}, static_cast<double>(step));
      });
      EXPECT_EQ(y(0, 0), static_cast<double>(step / (skip + 1) * (skip + 1)));
    }
    std::vector<Index> want;
    for (Index step = 0; step < 12; step += skip + 1) want.push_back(step);
    EXPECT_EQ(evaluated, want);
  }
  SkipStep<double, 2> late(3);  // begun in the middle there is nothing to use again
  EXPECT_EQ(late(2, [&] { return context.full<double>(Shape<2>{1, 1}, 7); })(0, 0), 7);
  EXPECT_EQ(late(3, [&] { return context.full<double>(Shape<2>{1, 1}, 8); })(0, 0), 7);
  EXPECT_EQ(late(4, [&] { return context.full<double>(Shape<2>{1, 1}, 9); })(0, 0), 9);
}

// In a sampler: x0 of the last evaluation, the velocity from where x is now.
TEST(SkipSteps, InFlowEuler) {
  Context context({.threads = 1});
  const std::vector<double> sigmas = {1, 0.8, 0.5, 0.3, 0};
  for (const Index skip : {0, 1, 2}) {
    std::vector<double> want = values(start(context)), x0(6);
    for (std::size_t i = 0; i < 4; ++i)
      for (std::size_t k = 0; k < 6; ++k) {
        if (static_cast<Index>(i) % (skip + 1) == 0) x0[k] = expected(want[k], k % 3, 1 - sigmas[i], sigmas[i]);
        want[k] += (sigmas[i + 1] - sigmas[i]) * (want[k] - x0[k]) / sigmas[i];
      }
    SkipStep<double, 2> reuse(skip);
    FlowSchedule levels;
    levels.sigmas = sigmas;
    levels.timesteps.resize(4);
    const auto x = flow_euler(levels, start(context), [&](const Batch& at, Index i) {
      const double sigma = sigmas[static_cast<std::size_t>(i)];
      const Batch guided = reuse(i, [&] {
        return map(context, at, [=](double v, std::size_t c) { return expected(v, c, 1 - sigma, sigma); });
      });
      return velocity_to(at, guided, sigma);
    });
    expect_near(x, want, 1e-13);
  }
}

TEST(SkipStepErrors, Values) {
  EXPECT_EQ(config_error([] { SkipStep<double, 2>(-1); }), "skip_step: skip is -1, expected 0 or more");
  Context context({.threads = 1});
  EXPECT_NE(config_error([&] { velocity_to(start(context), start(context), 0); }).find("expected above 0"),
            std::string::npos);
}

}  // namespace
