// The bound on the likelihood that a diffusion model with a variance of its own is trained with.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "aulos/core/config.hpp"
#include "aulos/core/threads.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// What the bound reads, [samples, each] dense but for the two of a sample: posterior and model are Gaussian.
template <class T>
struct VariationalBoundOperands {
  const T* x0;
  const T* posterior_mean;
  const T* mean;
  const T* log_variance;
  const T* posterior_log_variance;  // [samples]
  const std::uint8_t* first_step;   // [samples], 1: x0 itself is to be decoded from x_0 = mean
};

namespace detail {

// A Gaussian's cumulative distribution, tanh form, and its slope.
struct GaussianCdf {
  double value, slope;
};
inline GaussianCdf gaussian_cdf(double z) {
  constexpr double a = std::numbers::sqrt2 * std::numbers::inv_sqrtpi;  // sqrt(2 / pi)
  const double t = std::tanh(a * (z + 0.044715 * z * z * z));
  return {0.5 * (1 + t), 0.5 * (1 - t * t) * a * (1 + 3 * 0.044715 * z * z)};
}

struct BoundTerm {
  double value, slope;  // slope: by the log-variance
};

// KL(N(m1, exp(l1)) || N(m2, exp(l2))).
inline BoundTerm gaussian_kl(double m1, double l1, double m2, double l2) {
  const double ratio = std::exp(l1 - l2) + (m1 - m2) * (m1 - m2) * std::exp(-l2);
  return {0.5 * (-1 + l2 - l1 + ratio), 0.5 * (1 - ratio)};
}

// -log of the mass that N(mean, exp(l)) gives to the 1/255 around x on both sides; to all beyond at the ends of [-1,
// 1].
inline BoundTerm decoder_nll(double x, double mean, double l) {
  const double inverse = std::exp(-0.5 * l);
  const double above = (x - mean + 1.0 / 255) * inverse;
  const double below = (x - mean - 1.0 / 255) * inverse;
  const GaussianCdf high = x > 0.999 ? GaussianCdf{1, 0} : gaussian_cdf(above);
  const GaussianCdf low = x < -0.999 ? GaussianCdf{0, 0} : gaussian_cdf(below);
  const double mass = high.value - low.value;
  if (mass < 1e-12) return {-std::log(1e-12), 0};
  return {-std::log(mass), 0.5 * (high.slope * above - low.slope * below) / mass};  // dz/dl = -z / 2
}

template <class T>
BoundTerm bound_term(const VariationalBoundOperands<T>& o, Index sample, Index i) {
  const double mean = static_cast<double>(o.mean[i]);
  const double l = static_cast<double>(o.log_variance[i]);
  if (o.first_step[sample] != 0) return decoder_nll(static_cast<double>(o.x0[i]), mean, l);
  return gaussian_kl(static_cast<double>(o.posterior_mean[i]), static_cast<double>(o.posterior_log_variance[sample]),
                     mean, l);
}

template <class T, class Store>
void each_bound_term(Threads threads, const VariationalBoundOperands<T>& o, Index samples, Index each, Store store) {
  constexpr Index chunk = 256;
  const Index count = samples * each;
  threads.run((count + chunk - 1) / chunk, [&](Index piece, Scratch&) {
    for (Index i = piece * chunk; i < (std::min)(count, (piece + 1) * chunk); ++i) store(i, bound_term(o, i / each, i));
  });
}

}  // namespace detail

// y: KL(posterior || model) in nats or, at the first step, the negative log-likelihood of x0. In double.
// training_losses of guided diffusion (losses.py: normal_kl, discretized_gaussian_log_likelihood).
template <class T>
void variational_bound(Threads threads, const VariationalBoundOperands<T>& o, Index samples, Index each, T* y) {
  detail::each_bound_term(threads, o, samples, each,
                          [y](Index i, const detail::BoundTerm& term) { y[i] = static_cast<T>(term.value); });
}

// dx = gy dy/d(log_variance).
template <class T>
void variational_bound_backward(Threads threads, const VariationalBoundOperands<T>& o, Index samples, Index each,
                                const T* gy, T* dx) {
  detail::each_bound_term(threads, o, samples, each, [gy, dx](Index i, const detail::BoundTerm& term) {
    dx[i] = static_cast<T>(static_cast<double>(gy[i]) * term.slope);
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
