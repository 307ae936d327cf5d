// Variances that a model predicts: beside its prediction, in as many channels again, where in its range each lies.
#pragma once

#include <cmath>
#include <string>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/tensor.hpp"
#include "aulos/ops/activation.hpp"
#include "aulos/ops/arithmetic.hpp"

namespace aulos::inline AULOS_ISA::diffusion {

// The range v in [-1, 1] stands for the log-variance f ln(largest) + (1 - f) ln(smallest), f = (v + 1) / 2: the largest
// is beta, the smallest the posterior's. Outside it extrapolates.
template <Real T, int Rank>
struct RangedOutput {
  Tensor<T, Rank> prediction, range;
};

// The halves of output [B, 2 C, ..] of a model that was called with x [B, C, ..]; views.
template <Real T, int Rank>
requires(Rank >= 2) RangedOutput<T, Rank> split_range(const Tensor<T, Rank>& output, const Tensor<T, Rank>& x) {
  const Index channels = x.extent(1);
  if (output.extent(1) != 2 * channels)
    throw ShapeError("learned range: output " + to_string(output.shape()) + " for x " + to_string(x.shape()) +
                     ", expected twice its channels");
  return {output.slice(1, 0, channels), output.slice(1, channels, 2 * channels)};
}

namespace detail {

// The standard deviation at the range between two variances.
template <Real T, int Rank>
Tensor<T, Rank> learned_deviation(const Tensor<T, Rank>& range, double smallest, double largest) {
  const double low = std::log(smallest) / 4;
  const double high = std::log(largest) / 4;
  return apply(scale(range, static_cast<T>(high - low), static_cast<T>(high + low)), Activation::exp);
}

}  // namespace detail

}  // namespace aulos::inline AULOS_ISA::diffusion
