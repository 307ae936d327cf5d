// The readable twin of optimizer.hpp: the recurrences in double. Their state is double too, so that it shows what the
// rounding of many steps adds up to.
#pragma once

#include <cmath>

#include "aulos/kernels/optimizer.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

template <class T>
void adamw(const AdamWCoefficients& c, const T* g, double* m, double* v, double* w, Index count) {
  const double t = static_cast<double>(c.step);
  for (Index i = 0; i < count; ++i) {
    const double gradient = static_cast<double>(g[i]);
    m[i] = c.beta1 * m[i] + (1 - c.beta1) * gradient;
    v[i] = c.beta2 * v[i] + (1 - c.beta2) * gradient * gradient;
    const double mean = m[i] / (1 - std::pow(c.beta1, t));
    const double square = v[i] / (1 - std::pow(c.beta2, t));
    w[i] = w[i] - c.lr * c.weight_decay * w[i] - c.lr * mean / (std::sqrt(square) + c.eps);
  }
}

template <class T>
void sgd(const SgdCoefficients& c, const T* g, double* buf, double* w, Index count) {
  for (Index i = 0; i < count; ++i) {
    const double gradient = static_cast<double>(g[i]) + c.weight_decay * w[i];
    double direction = gradient;
    if (c.momentum != 0) {
      buf[i] = c.first ? gradient : c.momentum * buf[i] + (1 - c.dampening) * gradient;
      direction = c.nesterov ? gradient + c.momentum * buf[i] : buf[i];
    }
    w[i] -= c.lr * direction;
  }
}

template <class T>
void ema(double decay, const T* w, double* average, Index count) {
  for (Index i = 0; i < count; ++i) average[i] = decay * average[i] + (1 - decay) * static_cast<double>(w[i]);
}

template <class T>
void scale_in_place(T factor, T* x, Index count) {
  for (Index i = 0; i < count; ++i) x[i] = static_cast<T>(static_cast<double>(factor) * static_cast<double>(x[i]));
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
