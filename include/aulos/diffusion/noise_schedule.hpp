// Variance-preserving diffusion: x_t = sqrt(A_t) x0 + sqrt(1 - A_t) eps over integer times.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/clamp.hpp"

namespace aulos::inline AULOS_ISA::diffusion {

enum class BetaSchedule { linear, scaled_linear, squaredcos_cap_v2 };
enum class TimestepSpacing { leading, trailing, linspace };
enum class Prediction { epsilon, sample, v };

struct NoiseScheduleOptions {
  BetaSchedule betas = BetaSchedule::linear;
  double beta_start = 1e-4;
  double beta_end = 0.02;
  Index train_steps = 1000;
};

// A_t = prod_{j <= t} (1 - beta_j), t = 0 .. train_steps - 1.
template <class = Deferred>
std::vector<double> alphas_cumprod(const NoiseScheduleOptions& o) {
  if (o.train_steps < 1)
    throw ConfigError("alphas_cumprod: train_steps is " + std::to_string(o.train_steps) + ", expected >= 1");
  for (const auto& [field, beta] : {std::pair{"beta_start", o.beta_start}, {"beta_end", o.beta_end}})
    if (!(beta > 0 && beta < 1))
      throw ConfigError(std::string("alphas_cumprod: ") + field + " is " + std::to_string(beta) +
                        ", expected in (0, 1)");
  std::vector<double> alphas;
  const double n = static_cast<double>(o.train_steps);
  const auto between = [&](double a, double b, Index i) {
    return o.train_steps == 1 ? a : a + (b - a) * static_cast<double>(i) / (n - 1);
  };
  const auto f = [](double u) { return std::pow(std::cos((u + 0.008) / 1.008 * std::numbers::pi / 2), 2); };
  double product = 1;
  for (Index i = 0; i < o.train_steps; ++i) {
    double beta = 0;
    switch (o.betas) {
      case BetaSchedule::linear:
        beta = between(o.beta_start, o.beta_end, i);
        break;
      case BetaSchedule::scaled_linear:
        beta = std::pow(between(std::sqrt(o.beta_start), std::sqrt(o.beta_end), i), 2);
        break;
      case BetaSchedule::squaredcos_cap_v2:
        beta = (std::min)(1 - f(static_cast<double>(i + 1) / n) / f(static_cast<double>(i) / n), 0.999);
        break;
    }
    alphas.push_back(product *= 1 - beta);
  }
  return alphas;
}

struct TimestepOptions {
  Index steps = 50;
  TimestepSpacing spacing = TimestepSpacing::leading;
  Index offset = 0;  // of leading
  Index train_steps = 1000;
};

namespace detail {

// Half to even, as NumPy's round.
inline Index round_even(double x) { return static_cast<Index>(std::nearbyint(x)); }

// Times of a grid of `steps` + `extra` points without its last `extra`, from large to small. Grid points as NumPy's
// linspace and arange round them, on which ties depend: 999 / 26 * 13 is a little less than 499.5.
template <class = Deferred>
std::vector<Index> timesteps(const TimestepOptions& o, Index extra) {
  if (o.steps < 1 || o.steps + extra > o.train_steps)
    throw ConfigError("timesteps: steps is " + std::to_string(o.steps) + ", expected 1 to " +
                      std::to_string(o.train_steps - extra));
  const Index points = o.steps + extra;
  const double total = static_cast<double>(o.train_steps);
  std::vector<Index> times;
  for (Index k = 0; k < o.steps; ++k) {
    const Index i = points - 1 - k;
    switch (o.spacing) {
      case TimestepSpacing::leading:
        times.push_back(i * (o.train_steps / points) + o.offset);
        break;
      case TimestepSpacing::trailing:
        times.push_back(
            round_even(total + static_cast<double>(k) * ((total - total / static_cast<double>(o.steps)) - total)) - 1);
        break;
      case TimestepSpacing::linspace:
        times.push_back(
            points == 1 ? 0 : round_even(static_cast<double>(i) * ((total - 1) / static_cast<double>(points - 1))));
        break;
    }
  }
  for (Index t : times)
    if (t < 0 || t >= o.train_steps)
      throw ConfigError("timesteps: time " + std::to_string(t) + " of " + std::to_string(o.train_steps) +
                        "; is the offset right?");
  return times;
}

}  // namespace detail

// Of DDIM and DDPM.
template <class = Deferred>
std::vector<Index> timesteps(const TimestepOptions& options) {
  return detail::timesteps(options, 0);
}

namespace detail {

// Samplers read A at these times.
template <class = Deferred>
void check_alphas(const char* sampler, std::span<const double> alphas, const TimestepOptions& o) {
  if (static_cast<Index>(alphas.size()) != o.train_steps)
    throw ConfigError(std::string(sampler) + ": train_steps is " + std::to_string(o.train_steps) + ", but alphas has " +
                      std::to_string(alphas.size()) + " entries");
}

}  // namespace detail

// What a model's output says about its input.
template <Real T, int Rank>
struct Denoised {
  Tensor<T, Rank> x0, eps;
};

struct DenoiseOptions {
  Prediction prediction = Prediction::epsilon;
  std::optional<double> clip = {};  // x0 is limited to +-clip; eps stays as predicted
};

template <Real T, int Rank>
Denoised<T, Rank> denoise(const Tensor<T, Rank>& x, const Tensor<T, Rank>& output, double alpha_cumprod,
                          const DenoiseOptions& options) {
  const double a = std::sqrt(alpha_cumprod);
  const double s = std::sqrt(1 - alpha_cumprod);
  const auto mix = [&](double of_x, double of_output) {
    return linear_combination(std::array{x, output}, {static_cast<T>(of_x), static_cast<T>(of_output)});
  };
  Denoised<T, Rank> d;
  switch (options.prediction) {
    case Prediction::epsilon:
      d = {mix(1 / a, -s / a), output};
      break;
    case Prediction::sample:
      d = {output, mix(1 / s, -a / s)};
      break;
    case Prediction::v:
      d = {mix(a, -s), mix(s, a)};
      break;
  }
  if (options.clip) d.x0 = clamp(d.x0, static_cast<T>(-*options.clip), static_cast<T>(*options.clip));
  return d;
}

}  // namespace aulos::inline AULOS_ISA::diffusion
