#include "aulos/diffusion/flow_samplers.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "diffusion/gaussian.hpp"

namespace {

using namespace diffusion_support;
using namespace aulos::diffusion;

enum class Method { euler, dpmpp_2m, sit_euler, sit_heun };

// From `x`, noise, to data.
template <class Velocity>
Batch sample(Context& context, Method method, Index steps, const Velocity& velocity, double shift = 1) {
  const Batch x = start(context);
  if (method == Method::sit_euler || method == Method::sit_heun) {
    const auto none = [](const Batch& z, double) { return z; };
    return sit_sample({.steps = steps, .method = method == Method::sit_heun ? SitMethod::heun : SitMethod::euler}, x,
                      velocity, none, [](Index) { return Batch(); });
  }
  const FlowSchedule s = flow_schedule({.steps = steps, .base = BaseSigmas::one_over_n, .shift = shift});
  const auto at = [&](const Batch& z, Index i) { return velocity(z, s.sigmas[static_cast<std::size_t>(i)]); };
  return method == Method::euler ? flow_euler(s, x, at) : flow_dpmpp_2m(s, x, at);
}

// The flow of Gaussian data is linear: noise maps to mean + sqrt(variance) noise.
std::vector<double> exact(Context& context) {
  return values(
      map(context, start(context), [](double x, std::size_t c) { return mean[c] + std::sqrt(variance[c]) * x; }));
}

TEST(FlowSamplers, OrderOfConvergence) {
  Context context({.threads = 1});
  const auto velocity = [&](const Batch& x, double t) { return flow_velocity(context, x, t); };
  const std::vector<double> want = exact(context);
  for (const auto& [method, order] :
       {std::pair{Method::euler, 1}, {Method::sit_euler, 1}, {Method::sit_heun, 2}, {Method::dpmpp_2m, 2}}) {
    const double coarse = distance(sample(context, method, 256, velocity), want);
    const double fine = distance(sample(context, method, 512, velocity), want);
    EXPECT_NEAR(std::log2(coarse / fine), order, 0.2) << static_cast<int>(method) << ' ' << coarse << ' ' << fine;
    EXPECT_LT(fine, order == 1 ? 0.02 : 1e-4);
  }
}

TEST(FlowSamplers, OneStepIsTheDataPrediction) {
  Context context({.threads = 1});
  const auto velocity = [&](const Batch& x, double t) {
    EXPECT_EQ(t, 1);
    return flow_velocity(context, x, t);
  };
  const Batch x = start(context), v = flow_velocity(context, x, 1);
  std::vector<double> want;
  for (Index i = 0; i < 6; ++i) want.push_back(x.data()[i] - v.data()[i]);
  for (const Method method : {Method::euler, Method::dpmpp_2m, Method::sit_euler, Method::sit_heun})
    expect_near(sample(context, method, 1, velocity), want, 1e-15);
}

// The exact answer for data that is one constant: nothing infinite on the way to level 0, whatever the steps.
TEST(FlowSamplers, ConstantDataComeOutExactly) {
  Context context({.threads = 1});
  const auto velocity = [&](const Batch& x, double t) {
    return map(context, x, [t](double v, std::size_t) { return (v - 0.7) / t; });
  };
  for (const Method method : {Method::euler, Method::dpmpp_2m, Method::sit_euler, Method::sit_heun})
    for (const Index steps : {1, 2, 3, 5, 11, 14, 20})
      for (const double shift : {1.0, 3.0, 7.0})
        expect_near(sample(context, method, steps, velocity, shift), std::vector<double>(6, 0.7), 1e-12);
}

TEST(FlowSamplers, ObserversSeeEveryState) {
  Context context({.threads = 1});
  const FlowSchedule s = flow_schedule({.steps = 3, .shift = 3});
  for (const bool second_order : {false, true}) {
    std::vector<Index> seen;
    std::vector<double> last;
    const auto observe = [&](Index i, const Batch& x) {
      seen.push_back(i);
      last = values(x);
    };
    Index calls = 0;
    const auto velocity = [&](const Batch& x, Index i) {
      EXPECT_EQ(i, calls++);
      return flow_velocity(context, x, s.sigmas[static_cast<std::size_t>(i)]);
    };
    const Batch y = second_order ? flow_dpmpp_2m(s, start(context), velocity, observe)
                                 : flow_euler(s, start(context), velocity, observe);
    EXPECT_EQ(calls, 3);
    EXPECT_EQ(seen, (std::vector<Index>{0, 1, 2, 3}));
    EXPECT_EQ(values(y), last);
  }
}

// The caller's tensor is not written to.
TEST(FlowSamplers, TheStartStays) {
  Context context({.threads = 1});
  const Batch x = start(context);
  const std::vector<double> before = values(x);
  const FlowSchedule s = flow_schedule({.steps = 4});
  const auto velocity = [&](const Batch& z, Index) { return flow_velocity(context, z, 0.5); };
  flow_euler(s, x, velocity);
  flow_dpmpp_2m(s, x, velocity);
  EXPECT_EQ(values(x), before);
}

// Four steps with shift 3, and the base that is shifted twice: the reference implementation in PyTorch, in double.
TEST(FlowSamplers, ReferenceNumbers) {
  Context context({.threads = 1});
  const FlowSchedule s = flow_schedule({.steps = 4, .shift = 3});
  const auto velocity = [&](const Batch& x, Index i) {
    return flow_velocity(context, x, s.sigmas[static_cast<std::size_t>(i)]);
  };
  expect_near(flow_euler(s, start(context), velocity),
              {0.55629567, -1.35238840, 3.04124088, 0.27481732, -0.79863520, 2.85192436}, 2e-8);
}

TEST(SitSampler, GuidanceOnlyInItsInterval) {
  Context context({.threads = 1});
  std::vector<double> conditional, unconditional;
  const auto run = [&](double guidance, double low, double high, SitMethod method) {
    conditional.clear();
    unconditional.clear();
    return sit_sample(
        {.steps = 4, .method = method, .guidance = guidance, .guidance_low = low, .guidance_high = high},
        start(context),
        [&](const Batch& x, double t) {
          conditional.push_back(t);
          return flow_velocity(context, x, std::max(t, 0.01));
        },
        [&](const Batch& x, double t) {
          unconditional.push_back(t);
          return x;
        },
        [&](Index i) { return noise(context, i); });
  };
  run(2, 0.3, 0.8, SitMethod::euler);  // levels 1, 0.75, 0.5, 0.25
  EXPECT_EQ(conditional, (std::vector<double>{1, 0.75, 0.5, 0.25}));
  EXPECT_EQ(unconditional, (std::vector<double>{0.75, 0.5}));
  run(2, 0.25, 0.75, SitMethod::euler);  // both ends belong to it
  EXPECT_EQ(unconditional, (std::vector<double>{0.75, 0.5, 0.25}));
  run(2, 0.3, 0.8, SitMethod::heun);  // the second evaluation follows the decision of the first
  EXPECT_EQ(conditional, (std::vector<double>{1, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25}));
  EXPECT_EQ(unconditional, (std::vector<double>{0.75, 0.5, 0.5, 0.25}));
  for (const SitMethod method : {SitMethod::euler, SitMethod::heun, SitMethod::euler_maruyama}) {
    const std::vector<double> plain = values(run(1, 0, 1, method));
    EXPECT_TRUE(unconditional.empty());
    EXPECT_EQ(values(run(0.5, 0, 1, method)), plain);  // only above 1
    EXPECT_EQ(values(run(2, 1.5, 2, method)), plain);  // no level inside
    EXPECT_NE(values(run(2, 0, 1, method)), plain);
  }
}

// One step of Euler-Maruyama written out, and the last one without noise.
TEST(SitSampler, EulerMaruyamaByHand) {
  Context context({.threads = 1});
  const auto velocity = [&](const Batch& x, double t) { return flow_velocity(context, x, t); };
  const auto none = [](const Batch& x, double) { return x; };
  std::vector<Index> noises;
  const Batch got =
      sit_sample({.steps = 2, .method = SitMethod::euler_maruyama}, start(context), velocity, none, [&](Index i) {
        noises.push_back(i);
        return noise(context, i);
      });
  EXPECT_EQ(noises, std::vector<Index>{0});
  Batch x = start(context);
  const double levels[] = {1, 0.04, 0};
  for (int i = 0; i < 2; ++i) {
    const double t = levels[i], step = levels[i + 1] - t;
    const Batch v = velocity(x, t), z = noise(context, i);
    Batch next = context.empty<double, 2>(x.shape());
    for (Index k = 0; k < 6; ++k) {
      const double r = -(1 - t), w = 2 * t;
      const double score = (r * v.data()[k] - x.data()[k]) / (t * t - r * t);
      const double drift = v.data()[k] - 0.5 * w * score;
      next.mutable_data()[k] =
          x.data()[k] + drift * step + (i == 0 ? std::sqrt(w) * std::sqrt(std::fabs(step)) * z.data()[k] : 0);
    }
    x = next;
  }
  expect_near(got, values(x), 1e-13);
}

TEST(SitSampler, RefusesNoSteps) {
  Context context({.threads = 1});
  const auto none = [](const Batch& x, double) { return x; };
  EXPECT_EQ(config_error([&] { sit_sample({.steps = 0}, start(context), none, none, [](Index) { return Batch(); }); }),
            "sit_sample: steps is 0, expected >= 1");
}

}  // namespace
