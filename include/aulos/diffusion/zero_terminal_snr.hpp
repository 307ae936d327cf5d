// Schedules whose last time is pure noise. Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed",
// 2024.
#pragma once

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"

namespace aulos::inline AULOS_ISA::diffusion {

// s = sqrt(A) shifted and scaled so that its last entry is 0 and its first stays: A = ((s - s_T) s_0 / (s_0 - s_T))^2.
// At A = 0 a noise prediction says nothing about x0: the model must predict v or x0, or `last` (2^-24 in the Euler and
// DPM-Solver++ schedulers of diffusers) take the place of 0. rescale_zero_terminal_snr of diffusers.
template <class = Deferred>
std::vector<double> rescale_zero_terminal_snr(std::span<const double> alphas_cumprod, double last = 0) {
  const std::size_t n = alphas_cumprod.size();
  if (n < 2) throw ConfigError("rescale_zero_terminal_snr: " + std::to_string(n) + " times, expected 2 or more");
  const double first_root = std::sqrt(alphas_cumprod[0]);
  const double last_root = std::sqrt(alphas_cumprod[n - 1]);
  if (!(first_root > last_root))
    throw ConfigError("rescale_zero_terminal_snr: A goes from " + std::to_string(alphas_cumprod[0]) + " to " +
                      std::to_string(alphas_cumprod[n - 1]) + ", expected a falling one");
  std::vector<double> alphas;
  for (const double a : alphas_cumprod) {
    const double root = (std::sqrt(a) - last_root) * first_root / (first_root - last_root);
    alphas.push_back(root * root);
  }
  alphas.front() = alphas_cumprod[0];  // to the bit
  alphas.back() = last;
  return alphas;
}

// The betas of A: 1 - A_t / A_{t-1}, where A_{-1} = 1.
template <class = Deferred>
std::vector<double> betas_of(std::span<const double> alphas_cumprod) {
  std::vector<double> betas;
  double before = 1;
  for (const double a : alphas_cumprod) {
    betas.push_back(1 - a / before);
    before = a;
  }
  return betas;
}

}  // namespace aulos::inline AULOS_ISA::diffusion
