// The stochastic sampler of rectified flow.
#pragma once

#include <array>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/diffusion/flow_samplers.hpp"
#include "aulos/diffusion/flow_schedule.hpp"
#include "aulos/ops/arithmetic.hpp"

namespace aulos::inline AULOS_ISA::diffusion {

// x0 = x - sigma v, noised anew to the next level: x <- (1 - sigma') x0 + sigma' noise(i). A last step to level 0 draws
// no noise. FlowMatchEulerDiscreteScheduler of diffusers with stochastic_sampling.
template <Real T, int Rank, class Velocity, class Noise, class Observer = NoObserver>
Tensor<T, Rank> flow_stochastic(const FlowSchedule& schedule, Tensor<T, Rank> x, const Velocity& velocity,
                                const Noise& noise, const Observer& observe = {}) {
  observe(0, x);
  for (Index i = 0; i < schedule.steps(); ++i) {
    const std::size_t at = static_cast<std::size_t>(i);
    const double sigma = schedule.sigmas[at];
    const double next = schedule.sigmas[at + 1];
    const Tensor<T, Rank> v = velocity(std::as_const(x), i);
    const T of_x = static_cast<T>(1 - next);
    const T of_v = static_cast<T>(-(1 - next) * sigma);
    x = next > 0 ? linear_combination(std::array{x, v, Tensor<T, Rank>(noise(i))}, {of_x, of_v, static_cast<T>(next)})
                 : linear_combination(std::array{x, v}, {of_x, of_v});
    observe(i + 1, x);
  }
  return x;
}

}  // namespace aulos::inline AULOS_ISA::diffusion
