// Clipping of gradients.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "aulos/autograd/tape.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/kernels/optimizer.hpp"
#include "aulos/kernels/reduce.hpp"
#include "aulos/nn/module.hpp"

namespace aulos::inline AULOS_ISA::train {

// A loss or gradient that is not a number or infinite: thrown before weights or moments change.
class NonFiniteError : public Error {
 public:
  using Error::Error;
};

namespace detail {

// On bits, so that -ffast-math can't decide otherwise.
inline bool is_finite(double x) noexcept {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &x, sizeof(bits));
  return (bits >> 52 & 0x7ff) != 0x7ff;
}

}  // namespace detail

// sqrt(sum of squares) over the gradients of all parameters, in double. Throws NonFiniteError that names the first
// parameter whose gradient is not finite.
template <nn::Module M>
double gradient_norm(const M& model, const GradTape& tape) {
  double sum = 0;
  nn::for_each_parameter(model, [&](const auto& p) {
    const auto g = tape.gradient(p.any());
    if (g.empty()) return;
    using T = std::remove_cvref_t<decltype(*g.data())>;
    const double square = kernels::total_sum<T>(g.data(), g.data(), g.count());
    if (!detail::is_finite(square))
      throw NonFiniteError("gradient of " + p.name + " is not finite; parameters and moments are unchanged");
    sum += square;
  });
  return std::sqrt(sum);
}

// Scales all gradients by max_norm / (norm + 1e-6) where that is below 1, and returns the norm before; below the limit
// no bit changes. torch.nn.utils.clip_grad_norm_.
template <nn::Module M>
double clip_gradient_norm(const M& model, GradTape& tape, double max_norm) {
  if (!(max_norm >= 0))
    throw ConfigError("clip_gradient_norm: max_norm is " + std::to_string(max_norm) + ", expected >= 0");
  const double norm = gradient_norm(model, tape);
  const double factor = max_norm / (norm + 1e-6);
  if (!(factor < 1)) return norm;
  nn::for_each_parameter(model, [&](const auto& p) {
    const auto g = tape.gradient(p.any());
    if (g.empty()) return;
    using T = std::remove_cvref_t<decltype(*g.data())>;
    tape.context().run("clip", cost_per_element<T>(g.count(), 1, 2), [&](Threads threads) {
      kernels::scale_in_place<T>(threads, static_cast<T>(factor), g.mutable_data(), g.count());
    });
  });
  return norm;
}

}  // namespace aulos::inline AULOS_ISA::train
