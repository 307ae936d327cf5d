// Samplers of variance-preserving diffusion. A model is a callable output(x, t) for an integer time t; an observer is
// called with (i, x) before the first step and after each; noise(i) gives step i its noise.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/diffusion/flow_samplers.hpp"
#include "aulos/diffusion/learned_range.hpp"
#include "aulos/diffusion/noise_schedule.hpp"
#include "aulos/ops/arithmetic.hpp"

namespace aulos::inline AULOS_ISA::diffusion {

namespace detail {

// A sampler reads A at `times`. Where it is 0 (a zero-terminal-SNR schedule) x is all noise: x0 can't be told from it
// by a prediction of the noise, and a ratio of noise to signal is infinite.
inline void check_signal(const char* sampler, std::span<const double> alphas, std::span<const Index> times,
                         const char* expected) {
  for (const Index t : times) {
    const double a = alphas[static_cast<std::size_t>(t)];
    if (!(a > 0))
      throw ConfigError(std::string(sampler) + ": alphas is " + std::to_string(a) + " at time " + std::to_string(t) +
                        ", where x is all noise; expected " + expected);
  }
}
inline void check_signal(const char* sampler, std::span<const double> alphas, std::span<const Index> times,
                         Prediction prediction) {
  if (prediction == Prediction::epsilon)
    check_signal(sampler, alphas, times, "a model that predicts v or the sample, or alphas > 0");
}

}  // namespace detail

struct DdimOptions {
  TimestepOptions timesteps = {};
  DenoiseOptions denoise = {};
  double eta = 0;                // 0: deterministic
  bool set_alpha_to_one = true;  // A before time 0: 1, or A_0
};

// x <- sqrt(A_p) x0 + sqrt(1 - A_p - sd^2) eps + sd noise, p = t - train_steps div n. DDIMScheduler of diffusers.
// ConfigError where A is 0 at a time and the model predicts the noise.
template <Real T, int Rank, class Model, class Noise, class Observer = NoObserver>
Tensor<T, Rank> ddim(const DdimOptions& o, std::span<const double> alphas, Tensor<T, Rank> x, const Model& output,
                     const Noise& noise, const Observer& observe = {}) {
  detail::check_alphas("ddim", alphas, o.timesteps);
  if (!(o.eta >= 0 && o.eta <= 1)) throw ConfigError("ddim: eta is " + std::to_string(o.eta) + ", expected 0 to 1");
  const std::vector<Index> times = timesteps(o.timesteps);
  detail::check_signal("ddim", alphas, times, o.denoise.prediction);
  observe(0, x);
  Index i = 0;
  for (const Index t : times) {
    const Index p = t - o.timesteps.train_steps / o.timesteps.steps;
    const double a = alphas[static_cast<std::size_t>(t)];
    const double ap = p >= 0 ? alphas[static_cast<std::size_t>(p)] : o.set_alpha_to_one ? 1.0 : alphas[0];
    const double sd = o.eta * std::sqrt((1 - ap) / (1 - a) * (1 - a / ap));
    const Denoised<T, Rank> d = denoise(x, Tensor<T, Rank>(output(std::as_const(x), t)), a, o.denoise);
    const T of_x0 = static_cast<T>(std::sqrt(ap));
    const T of_eps = static_cast<T>(std::sqrt(1 - ap - sd * sd));
    x = sd > 0 ? linear_combination(std::array{d.x0, d.eps, noise(i)}, {of_x0, of_eps, static_cast<T>(sd)})
               : linear_combination(std::array{d.x0, d.eps}, {of_x0, of_eps});
    observe(++i, x);
  }
  return x;
}

// learned_range: the model's output has twice the channels of x (see learned_range.hpp).
enum class DdpmVariance { fixed_small, fixed_large, learned_range };

struct DdpmOptions {
  TimestepOptions timesteps = {};
  DenoiseOptions denoise = {};
  DdpmVariance variance = DdpmVariance::fixed_small;
};

// The posterior mean of x at the next time of the list plus its noise; none at time 0. DDPMScheduler of diffusers.
// ConfigError where A is 0 at a time and the model predicts the noise.
template <Real T, int Rank, class Model, class Noise, class Observer = NoObserver>
Tensor<T, Rank> ddpm(const DdpmOptions& o, std::span<const double> alphas, Tensor<T, Rank> x, const Model& output,
                     const Noise& noise, const Observer& observe = {}) {
  detail::check_alphas("ddpm", alphas, o.timesteps);
  const std::vector<Index> times = timesteps(o.timesteps);
  detail::check_signal("ddpm", alphas, times, o.denoise.prediction);
  observe(0, x);
  for (std::size_t i = 0; i < times.size(); ++i) {
    const double at = alphas[static_cast<std::size_t>(times[i])];
    const double ap = i + 1 < times.size() ? alphas[static_cast<std::size_t>(times[i + 1])] : 1.0;
    const double a = at / ap;
    const double b = 1 - a;
    const bool learned = o.variance == DdpmVariance::learned_range;
    const Tensor<T, Rank> y = output(std::as_const(x), times[i]);
    const RangedOutput<T, Rank> parts = learned ? split_range(y, x) : RangedOutput<T, Rank>{y, {}};
    const Denoised<T, Rank> d = denoise(x, parts.prediction, at, o.denoise);
    const T of_x0 = static_cast<T>(std::sqrt(ap) * b / (1 - at));
    const T of_x = static_cast<T>(std::sqrt(a) * (1 - ap) / (1 - at));
    const double posterior = (std::max)((1 - ap) / (1 - at) * b, 1e-20);
    if (times[i] == 0) {
      x = linear_combination(std::array{d.x0, x}, {of_x0, of_x});
    } else {
      Tensor<T, Rank> z = noise(static_cast<Index>(i));
      if (learned) z = multiply(z, detail::learned_deviation(parts.range, posterior, b));
      const double deviation = learned ? 1 : std::sqrt(o.variance == DdpmVariance::fixed_large ? b : posterior);
      x = linear_combination(std::array{d.x0, x, z}, {of_x0, of_x, static_cast<T>(deviation)});
    }
    observe(static_cast<Index>(i) + 1, x);
  }
  return x;
}

struct DpmSolverOptions {
  TimestepOptions timesteps = {};
  DenoiseOptions denoise = {};
};

// The times of DPM-Solver++: one grid point more than steps.
template <class = Deferred>
std::vector<Index> dpm_timesteps(const TimestepOptions& options) {
  return detail::timesteps(options, options.spacing == TimestepSpacing::trailing ? 0 : 1);
}

// sqrt((1 - A) / A) at those times, then 0. ConfigError where A is 0: 2^-24 takes its place in diffusers.
template <class = Deferred>
std::vector<double> dpm_sigmas(const TimestepOptions& options, std::span<const double> alphas) {
  detail::check_alphas("dpm_sigmas", alphas, options);
  const std::vector<Index> times = dpm_timesteps(options);
  detail::check_signal("dpm_sigmas", alphas, times, "alphas > 0 (rescale_zero_terminal_snr takes the last)");
  std::vector<double> sigmas;
  for (const Index t : times) {
    const double a = alphas[static_cast<std::size_t>(t)];
    sigmas.push_back(std::sqrt((1 - a) / a));
  }
  sigmas.push_back(0);
  return sigmas;
}

// DPM-Solver++(2M), midpoint form: second order from the x0 predictions of two steps; the first and last step are of
// first order. DPMSolverMultistepScheduler of diffusers.
template <Real T, int Rank, class Model, class Observer = NoObserver>
Tensor<T, Rank> dpmpp_2m(const DpmSolverOptions& o, std::span<const double> alphas, Tensor<T, Rank> x,
                         const Model& output, const Observer& observe = {}) {
  const std::vector<Index> times = dpm_timesteps(o.timesteps);
  const std::vector<double> sigmas = dpm_sigmas(o.timesteps, alphas);
  observe(0, x);
  Tensor<T, Rank> before;
  double h_before = 0;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const double alpha = 1 / std::sqrt(1 + sigmas[i] * sigmas[i]);
    const double sigma = sigmas[i] * alpha;
    const Tensor<T, Rank> x0 =
        denoise(x, Tensor<T, Rank>(output(std::as_const(x), times[i])), alpha * alpha, o.denoise).x0;
    if (i + 1 == times.size()) {
      x = x0;
    } else {
      const double alpha_next = 1 / std::sqrt(1 + sigmas[i + 1] * sigmas[i + 1]);
      const double sigma_next = sigmas[i + 1] * alpha_next;
      const double h = std::log(sigmas[i]) - std::log(sigmas[i + 1]);  // lambda = -log(sigma / alpha)
      const double keep = sigma_next / sigma;
      const double move = -alpha_next * std::expm1(-h);
      if (i == 0) {
        x = linear_combination(std::array{x, x0}, {static_cast<T>(keep), static_cast<T>(move)});
      } else {
        const double half = 0.5 * h / h_before;  // 1 / (2 r)
        x = linear_combination(std::array{x, x0, before},
                               {static_cast<T>(keep), static_cast<T>(move * (1 + half)), static_cast<T>(-move * half)});
      }
      h_before = h;
    }
    before = x0;
    observe(static_cast<Index>(i) + 1, x);
  }
  return x;
}

}  // namespace aulos::inline AULOS_ISA::diffusion
