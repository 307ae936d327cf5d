// Samplers of rectified flow. A model is a callable velocity(x, i) for level i of the schedule; an observer is called
// with (i, x) before the first step and after each.
#pragma once

#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/diffusion/flow_schedule.hpp"
#include "aulos/ops/arithmetic.hpp"

namespace aulos::inline AULOS_ISA::diffusion {

struct NoObserver {
  template <class X>
  void operator()(Index, const X&) const noexcept {}
};

// x <- x + (sigma_{i+1} - sigma_i) v(x, sigma_i).
template <Real T, int Rank, class Velocity, class Observer = NoObserver>
Tensor<T, Rank> flow_euler(const FlowSchedule& schedule, Tensor<T, Rank> x, const Velocity& velocity,
                           const Observer& observe = {}) {
  observe(0, x);
  for (Index i = 0; i < schedule.steps(); ++i) {
    const std::size_t at = static_cast<std::size_t>(i);
    const T step = static_cast<T>(schedule.sigmas[at + 1] - schedule.sigmas[at]);
    const Tensor<T, Rank> v = velocity(std::as_const(x), i);
    x = linear_combination(std::array{x, v}, {T{1}, step});
    observe(i + 1, x);
  }
  return x;
}

// DPM-Solver++(2M) on flow levels: alpha = 1 - sigma, lambda = log(alpha / sigma). The first and the last step are of
// first order.
template <Real T, int Rank, class Velocity, class Observer = NoObserver>
Tensor<T, Rank> flow_dpmpp_2m(const FlowSchedule& schedule, Tensor<T, Rank> x, const Velocity& velocity,
                              const Observer& observe = {}) {
  const auto lambda = [&](std::size_t i) {
    const double sigma = schedule.sigmas[i];
    return std::log((1 - sigma) / sigma);  // -inf at sigma = 1, inf at 0
  };
  observe(0, x);
  Tensor<T, Rank> before;
  for (Index i = 0; i < schedule.steps(); ++i) {
    const std::size_t at = static_cast<std::size_t>(i);
    const double sigma = schedule.sigmas[at];
    const double next = schedule.sigmas[at + 1];
    const Tensor<T, Rank> v = velocity(std::as_const(x), i);
    const Tensor<T, Rank> x0 = linear_combination(std::array{x, v}, {T{1}, static_cast<T>(-sigma)});
    // e^{-h} = (alpha sigma') / (sigma alpha'), written so that sigma = 1 and sigma' = 0 need no limits.
    const double decay = (1 - sigma) * next / (sigma * (1 - next));
    const double keep = next / sigma;
    const double move = (1 - next) * (1 - decay);
    if (i == 0 || i + 1 == schedule.steps() || !(sigma < 1) || schedule.sigmas[at - 1] >= 1) {
      x = linear_combination(std::array{x, x0}, {static_cast<T>(keep), static_cast<T>(move)});
    } else {
      const double r = (lambda(at) - lambda(at - 1)) / (lambda(at + 1) - lambda(at));
      const double half = 0.5 / r;
      x = linear_combination(std::array{x, x0, before},
                             {static_cast<T>(keep), static_cast<T>(move * (1 + half)), static_cast<T>(-move * half)});
    }
    before = x0;
    observe(i + 1, x);
  }
  return x;
}

enum class SitMethod { euler, heun, euler_maruyama };

struct SitOptions {
  Index steps = 250;
  SitMethod method = SitMethod::euler;
  double guidance = 1;  // applied above 1, to levels in [guidance_low, guidance_high]
  double guidance_low = 0;
  double guidance_high = 1;
};

// The samplers of SiT and REPA. conditional(x, t) and unconditional(x, t) give velocities; noise(i) gives step i its
// noise (Euler-Maruyama only: diffusion 2 t down to t = 0.04, then one step without noise).
template <Real T, int Rank, class Conditional, class Unconditional, class Noise>
Tensor<T, Rank> sit_sample(const SitOptions& o, Tensor<T, Rank> x, const Conditional& conditional,
                           const Unconditional& unconditional, const Noise& noise) {
  if (o.steps < 1) throw ConfigError("sit_sample: steps is " + std::to_string(o.steps) + ", expected >= 1");
  const bool stochastic = o.method == SitMethod::euler_maruyama;
  const double last = stochastic ? 0.04 : 0;
  const Index levels = stochastic ? o.steps - 1 : o.steps;  // from 1 to `last`
  const auto level = [&](Index i) {
    if (i == o.steps) return 0.0;
    return levels == 0 ? 1.0 : 1 + static_cast<double>(i) / static_cast<double>(levels) * (last - 1);
  };
  // v, less half the diffusion times the score s = (-(1 - t) v - x) / t.
  const auto drift = [&](const auto& velocity, const Tensor<T, Rank>& at, double t) {
    const Tensor<T, Rank> v = velocity(at, t);
    if (!stochastic) return v;
    return linear_combination(std::array{v, at}, {static_cast<T>(2 - t), T{1}});
  };
  const auto guided = [&](const Tensor<T, Rank>& at, double t, bool guide) {
    const Tensor<T, Rank> c = drift(conditional, at, t);
    if (!guide) return c;
    const Tensor<T, Rank> u = drift(unconditional, at, t);
    return linear_combination(std::array{u, c}, {static_cast<T>(1 - o.guidance), static_cast<T>(o.guidance)});
  };
  for (Index i = 0; i < o.steps; ++i) {
    const double t = level(i);
    const double next = level(i + 1);
    const T step = static_cast<T>(next - t);
    const bool guide = o.guidance > 1 && o.guidance_low <= t && t <= o.guidance_high;
    const Tensor<T, Rank> d = guided(x, t, guide);
    Tensor<T, Rank> y = linear_combination(std::array{x, d}, {T{1}, step});
    if (stochastic && i + 1 < o.steps) {
      const T spread = static_cast<T>(std::sqrt(2 * t) * std::sqrt(std::fabs(next - t)));
      y = linear_combination(std::array{y, noise(i)}, {T{1}, spread});
    }
    if (o.method == SitMethod::heun && i + 1 < o.steps) {
      const Tensor<T, Rank> d2 = guided(y, next, guide);
      y = linear_combination(std::array{x, d, d2}, {T{1}, step / 2, step / 2});
    }
    x = y;
  }
  return x;
}

}  // namespace aulos::inline AULOS_ISA::diffusion
