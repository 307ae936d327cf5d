// The readable twin of variational_bound.hpp, in double.
#pragma once

#include <cmath>

#include "aulos/kernels/variational_bound.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

// The tanh form of the standard normal's cumulative distribution.
inline double tanh_normal_cdf(double z) {
  return 0.5 * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (z + 0.044715 * std::pow(z, 3))));
}

// Element i of the bound for a model whose log-variance there is l.
template <class T>
double bound_at(const VariationalBoundOperands<T>& o, Index sample, Index i, double l) {
  const double mean = static_cast<double>(o.mean[i]);
  if (o.first_step[sample] != 0) {
    const double x = static_cast<double>(o.x0[i]), deviation = std::exp(l / 2);
    const double up_to = x > 0.999 ? 1 : tanh_normal_cdf((x + 1.0 / 255 - mean) / deviation);
    const double from = x < -0.999 ? 0 : tanh_normal_cdf((x - 1.0 / 255 - mean) / deviation);
    return -std::log(std::fmax(up_to - from, 1e-12));
  }
  const double variance = std::exp(l), d = static_cast<double>(o.posterior_mean[i]) - mean;
  const double log_posterior = static_cast<double>(o.posterior_log_variance[sample]);
  return 0.5 * (l - log_posterior - 1 + (std::exp(log_posterior) + d * d) / variance);
}

template <class T>
void variational_bound(const VariationalBoundOperands<T>& o, Index samples, Index each, T* y) {
  for (Index i = 0; i < samples * each; ++i)
    y[i] = static_cast<T>(bound_at(o, i / each, i, static_cast<double>(o.log_variance[i])));
}

// The slope by the log-variance as a central difference of fourth order: good to some 1e-10.
template <class T>
void variational_bound_backward(const VariationalBoundOperands<T>& o, Index samples, Index each, const T* gy, T* dx) {
  for (Index i = 0; i < samples * each; ++i) {
    const double l = static_cast<double>(o.log_variance[i]), h = 1e-3;
    const auto at = [&](double steps) { return bound_at(o, i / each, i, l + steps * h); };
    const double slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h);
    dx[i] = static_cast<T>(static_cast<double>(gy[i]) * slope);
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
