// The diffusion process of DiT (of guided diffusion): a respaced chain with tables, its forward and reverse steps, its
// training losses. Every sample of a batch may stand at a step of its own.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/diffusion/flow_samplers.hpp"
#include "aulos/diffusion/learned_range.hpp"
#include "aulos/diffusion/noise_schedule.hpp"
#include "aulos/diffusion/respacing.hpp"
#include "aulos/ops/activation.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/clamp.hpp"
#include "aulos/ops/reduce.hpp"
#include "aulos/ops/variational_bound.hpp"

namespace aulos::inline AULOS_ISA::diffusion {

enum class ReverseVariance { fixed_large, learned_range };

struct GaussianDiffusionOptions {
  BetaSchedule betas = BetaSchedule::linear;
  Index train_steps = 1000;  // T; linear betas run from 0.1 / T to 20 / T
  std::string respacing = {};
  Prediction prediction = Prediction::epsilon;
  ReverseVariance variance = ReverseVariance::learned_range;
};

// What a model's output says of the step from x_t to x_(t - 1): N(mean, exp(log_variance)).
template <Real T, int Rank>
struct ReverseStep {
  Tensor<T, Rank> x0, mean;
  Tensor<T, Rank> log_variance;  // of x's shape, or [B, 1, ..] where it is fixed
};

// Means over all but the batch, [B].
template <Real T>
struct DiffusionLosses {
  Tensor<T, 1> mse;
  Tensor<T, 1> vb;  // in bits; trains the learned variance alone. Empty where it is fixed

  Tensor<T, 1> total(double vb_weight = 1) const {
    return vb.empty() ? mse : add(mse, scale(vb, static_cast<T>(vb_weight)));
  }
};

enum class RespacedMethod { ddpm, ddim };

struct RespacedSamplerOptions {
  RespacedMethod method = RespacedMethod::ddpm;
  double eta = 0;                // of DDIM
  std::optional<double> clip{};  // x0 is limited to +-clip, and with it the noise that DDIM takes
};

class GaussianDiffusion {
 public:
  explicit GaussianDiffusion(const GaussianDiffusionOptions& options = {})
      : options_(options), timesteps_(respaced_timesteps(options.respacing, options.train_steps)) {
    const double per_step = 1000 / static_cast<double>(options.train_steps);
    const std::vector<double> all = diffusion::alphas_cumprod({.betas = options.betas,
                                                               .beta_start = 1e-4 * per_step,
                                                               .beta_end = 0.02 * per_step,
                                                               .train_steps = options.train_steps});
    double before = 1;
    for (Index t : timesteps_) {
      const double a = all[static_cast<std::size_t>(t)];
      alphas_.push_back(a);
      before_.push_back(before);
      betas_.push_back(1 - a / before);
      posterior_.push_back(betas_.back() * (1 - before) / (1 - a));
      before = a;
    }
    // The first variance is 0: where a logarithm is taken the second stands for it.
    posterior_[0] = posterior_.size() > 1 ? posterior_[1] : 1e-20;
  }

  const GaussianDiffusionOptions& options() const noexcept { return options_; }
  Index steps() const noexcept { return static_cast<Index>(timesteps_.size()); }
  std::span<const double> alphas_cumprod() const noexcept { return alphas_; }
  std::span<const double> betas() const noexcept { return betas_; }
  // The times that the model was trained with and is called with.
  std::span<const Index> timestep_map() const noexcept { return timesteps_; }

  // In the following t holds the step of each sample, 0 .. steps() - 1; coefficients are doubles, rounded once.

  // sqrt(A) x0 + sqrt(1 - A) noise.
  template <Real T, int Rank>
  Tensor<T, Rank> q_sample(const Tensor<T, Rank>& x0, std::span<const Index> t, const Tensor<T, Rank>& noise) const {
    return mix(
        t, x0, [&](std::size_t i) { return std::sqrt(alphas_[i]); }, noise,
        [&](std::size_t i) { return std::sqrt(1 - alphas_[i]); });
  }

  // The mean of q(x_(t - 1) | x_t, x0).
  template <Real T, int Rank>
  Tensor<T, Rank> posterior_mean(const Tensor<T, Rank>& x0, const Tensor<T, Rank>& x, std::span<const Index> t) const {
    return mix(
        t, x0, [&](std::size_t i) { return betas_[i] * std::sqrt(before_[i]) / (1 - alphas_[i]); }, x,
        [&](std::size_t i) { return (1 - before_[i]) * std::sqrt(1 - betas_[i]) / (1 - alphas_[i]); });
  }

  // The reverse step at x; output [B, C, ..], or [B, 2 C, ..] with learned variances.
  template <Real T, int Rank>
  ReverseStep<T, Rank> reverse(const Tensor<T, Rank>& x, const Tensor<T, Rank>& output, std::span<const Index> t,
                               std::optional<double> clip = {}) const {
    ReverseStep<T, Rank> step;
    Tensor<T, Rank> prediction = output;
    if (options_.variance == ReverseVariance::learned_range) {
      const RangedOutput<T, Rank> parts = split_range(output, x);
      prediction = parts.prediction;
      const auto part = [&](double sign) {
        return per_sample(x, t,
                          [&](std::size_t i) { return (std::log(betas_[i]) + sign * std::log(posterior_[i])) / 2; });
      };
      step.log_variance = add(multiply(parts.range, part(-1)), part(1));
    } else {
      step.log_variance = per_sample(x, t, [&](std::size_t i) { return std::log(i == 0 ? posterior_[0] : betas_[i]); });
    }
    step.x0 = predicted_x0(x, prediction, t);
    if (clip) step.x0 = clamp(step.x0, static_cast<T>(-*clip), static_cast<T>(*clip));
    step.mean = posterior_mean(step.x0, x, t);
    return step;
  }

  // mean + 1[t > 0] exp(log_variance / 2) noise.
  template <Real T, int Rank>
  Tensor<T, Rank> ddpm_step(const ReverseStep<T, Rank>& step, std::span<const Index> t,
                            const Tensor<T, Rank>& noise) const {
    const Tensor<T, Rank> deviation = apply(scale(step.log_variance, T(0.5)), Activation::exp);
    const Tensor<T, Rank> shown = per_sample(noise, t, [](std::size_t i) { return i == 0 ? 0.0 : 1.0; });
    return add(step.mean, multiply(multiply(noise, shown), deviation));
  }

  // sqrt(A_p) x0 + sqrt(1 - A_p - sd^2) eps + 1[t > 0] sd noise, with the eps that x0, clipped or not, stands for.
  template <Real T, int Rank>
  Tensor<T, Rank> ddim_step(const Tensor<T, Rank>& x, const ReverseStep<T, Rank>& step, std::span<const Index> t,
                            const Tensor<T, Rank>& noise, double eta = 0) const {
    const auto deviation = [&](std::size_t i) {
      return eta * std::sqrt((1 - before_[i]) / (1 - alphas_[i]) * (1 - alphas_[i] / before_[i]));
    };
    const auto of_x = [&](std::size_t i) {
      const double left = 1 - before_[i] - deviation(i) * deviation(i);
      return std::sqrt((std::max)(left, 0.0) / (1 - alphas_[i]));
    };
    const auto of_x0 = [&](std::size_t i) { return std::sqrt(before_[i]) - of_x(i) * std::sqrt(alphas_[i]); };
    const Tensor<T, Rank> y = mix(t, step.x0, of_x0, x, of_x);
    if (eta == 0) return y;
    return add(y, multiply(noise, per_sample(x, t, [&](std::size_t i) { return i == 0 ? 0.0 : deviation(i); })));
  }

  // Of the model's output at x_t = q_sample(x0, t, noise).
  template <Real T, int Rank>
  DiffusionLosses<T> losses(const Tensor<T, Rank>& x0, const Tensor<T, Rank>& noise, const Tensor<T, Rank>& output,
                            std::span<const Index> t) const {
    const Tensor<T, Rank> x = q_sample(x0, t, noise);
    const bool learned = options_.variance == ReverseVariance::learned_range;
    const Tensor<T, Rank> error = subtract(target(x0, noise, t), learned ? split_range(output, x).prediction : output);
    DiffusionLosses<T> losses{mean_of_sample(multiply(error, error)), {}};
    if (!learned) return losses;
    const ReverseStep<T, Rank> step = reverse(x, output, t);
    const Tensor<T, Rank> log_variance = per_sample(x, t, [&](std::size_t i) { return std::log(posterior_[i]); });
    const Tensor<T, Rank> nats =
        variational_bound(x0, posterior_mean(x0, x, t), log_variance.reshape(Shape<1>{x.extent(0)}), first_steps(x, t),
                          step.mean, step.log_variance);
    losses.vb = scale(mean_of_sample(nats), static_cast<T>(1 / std::numbers::ln2));
    return losses;
  }

  // The whole chain from x, noise at the last step: output(x, time) is the model, noise(i) the noise of step i, an
  // observer is called as (i, x) before the first step and after each.
  template <Real T, int Rank, class Model, class Noise, class Observer = NoObserver>
  Tensor<T, Rank> sample(const RespacedSamplerOptions& o, Tensor<T, Rank> x, const Model& output, const Noise& noise,
                         const Observer& observe = {}) const {
    if (!(o.eta >= 0 && o.eta <= 1))
      throw ConfigError("gaussian_diffusion: eta is " + std::to_string(o.eta) + ", expected 0 to 1");
    observe(0, x);
    std::vector<Index> t(static_cast<std::size_t>(x.extent(0)));
    for (Index i = 0; i < steps(); ++i) {
      const Index at = steps() - 1 - i;
      std::fill(t.begin(), t.end(), at);
      const Tensor<T, Rank> y = output(std::as_const(x), timesteps_[static_cast<std::size_t>(at)]);
      const ReverseStep<T, Rank> step = reverse(x, y, t, o.clip);
      if (o.method == RespacedMethod::ddpm)
        x = at > 0 ? ddpm_step(step, t, Tensor<T, Rank>(noise(i))) : step.mean;
      else
        x = ddim_step(x, step, t, at > 0 && o.eta > 0 ? Tensor<T, Rank>(noise(i)) : x, at > 0 ? o.eta : 0);
      observe(i + 1, x);
    }
    return x;
  }

 private:
  // What the model is to say.
  template <Real T, int Rank>
  Tensor<T, Rank> target(const Tensor<T, Rank>& x0, const Tensor<T, Rank>& noise, std::span<const Index> t) const {
    switch (options_.prediction) {
      case Prediction::epsilon:
        return noise;
      case Prediction::sample:
        return x0;
      case Prediction::v:
        break;
    }
    return mix(
        t, noise, [&](std::size_t i) { return std::sqrt(alphas_[i]); }, x0,
        [&](std::size_t i) { return -std::sqrt(1 - alphas_[i]); });
  }

  template <Real T, int Rank>
  Tensor<T, Rank> predicted_x0(const Tensor<T, Rank>& x, const Tensor<T, Rank>& prediction,
                               std::span<const Index> t) const {
    switch (options_.prediction) {
      case Prediction::epsilon:
        return mix(
            t, x, [&](std::size_t i) { return 1 / std::sqrt(alphas_[i]); }, prediction,
            [&](std::size_t i) { return -std::sqrt(1 / alphas_[i] - 1); });
      case Prediction::sample:
        return prediction;
      case Prediction::v:
        break;
    }
    return mix(
        t, x, [&](std::size_t i) { return std::sqrt(alphas_[i]); }, prediction,
        [&](std::size_t i) { return -std::sqrt(1 - alphas_[i]); });
  }

  // f(step) of each sample, [B, 1, ..], for tensors of x's rank.
  template <Real T, int Rank, class F>
  Tensor<T, Rank> per_sample(const Tensor<T, Rank>& x, std::span<const Index> t, const F& f) const {
    const AnyTensor<T> values = values_of_steps<T>(x.any(), t, [&](std::size_t i) { return f(i); });
    Shape<Rank> shape = x.shape();
    for (int axis = 1; axis < Rank; ++axis) shape[axis] = 1;
    return Tensor<T, 1>(values).reshape(shape);
  }
  template <Element E, Real T>
  AnyTensor<E> values_of_steps(const AnyTensor<T>& x, std::span<const Index> t,
                               FunctionRef<double(std::size_t)> f) const {
    const Op op("gaussian_diffusion", arg("x", x));
    op.require(static_cast<Index>(t.size()) == x.extent(0), [&] {
      return std::to_string(t.size()) + " steps for x " + to_string(x.dims()) + ", expected one for each sample";
    });
    for (Index step : t)
      op.require(step >= 0 && step < steps(),
                 [&] { return "step " + std::to_string(step) + ", expected 0 to " + std::to_string(steps() - 1); });
    AnyTensor<E> y = op.context().template empty_any<E>(dense_dims({x.extent(0)}));
    op.run({}, [&](Threads) {
      for (std::size_t b = 0; b < t.size(); ++b)
        y.mutable_data()[b] = static_cast<E>(f(static_cast<std::size_t>(t[b])));
    });
    return y;
  }
  template <Real T, int Rank>
  Tensor<std::uint8_t, 1> first_steps(const Tensor<T, Rank>& x, std::span<const Index> t) const {
    return Tensor<std::uint8_t, 1>(
        values_of_steps<std::uint8_t>(x.any(), t, [](std::size_t i) { return i == 0 ? 1.0 : 0.0; }));
  }

  // of_x(step) x + of_y(step) y.
  template <Real T, int Rank, class OfX, class OfY>
  Tensor<T, Rank> mix(std::span<const Index> t, const Tensor<T, Rank>& x, const OfX& of_x, const Tensor<T, Rank>& y,
                      const OfY& of_y) const {
    return add(multiply(x, per_sample(x, t, of_x)), multiply(y, per_sample(x, t, of_y)));
  }

  template <Real T, int Rank>
  static Tensor<T, 1> mean_of_sample(const Tensor<T, Rank>& x) {
    const Index samples = x.extent(0);
    const Shape<2> rows{samples, samples == 0 ? 1 : x.count() / samples};
    return mean_last(x.reshape(rows)).reshape(Shape<1>{samples});
  }

  GaussianDiffusionOptions options_;
  std::vector<Index> timesteps_;
  std::vector<double> alphas_, before_, betas_, posterior_;  // A, A of the step before, beta, posterior variance
};

}  // namespace aulos::inline AULOS_ISA::diffusion
