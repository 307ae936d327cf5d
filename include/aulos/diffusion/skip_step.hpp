// Guided predictions that are used for more than one step.
#pragma once

#include <array>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/tensor.hpp"
#include "aulos/ops/arithmetic.hpp"

namespace aulos::inline AULOS_ISA::diffusion {

// With skip k the guided x0 is evaluated at steps 0, k + 1, 2 (k + 1), .. and the last one used between (LTX-2's
// skip_step, one for each modality). 0: at every step.
template <Real T, int Rank>
class SkipStep {
 public:
  explicit SkipStep(Index skip = 0) : skip_(skip) {
    if (skip < 0) throw ConfigError("skip_step: skip is " + std::to_string(skip) + ", expected 0 or more");
  }

  bool due(Index step) const noexcept { return step % (skip_ + 1) == 0; }

  // evaluate() where it is due, or where there is nothing to use again; else the result of the last evaluation.
  template <class Evaluate>
  Tensor<T, Rank> operator()(Index step, const Evaluate& evaluate) {
    if (due(step) || denoised_.empty()) denoised_ = evaluate();
    return denoised_;
  }

 private:
  Index skip_;
  Tensor<T, Rank> denoised_;
};

// The velocity that leads from x at level sigma to x0: (x - x0) / sigma. What guidance on x0 gives to flow_euler.
template <Real T, int Rank>
Tensor<T, Rank> velocity_to(const Tensor<T, Rank>& x, const Tensor<T, Rank>& x0, double sigma) {
  if (!(sigma > 0)) throw ConfigError("velocity_to: sigma is " + std::to_string(sigma) + ", expected above 0");
  return linear_combination(std::array{x, x0}, {static_cast<T>(1 / sigma), static_cast<T>(-1 / sigma)});
}

}  // namespace aulos::inline AULOS_ISA::diffusion
