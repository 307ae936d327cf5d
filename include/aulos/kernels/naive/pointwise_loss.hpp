// The readable twin of pointwise_loss.hpp, in double.
#pragma once

#include <cmath>

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

// A loss of one prediction and its target, and its derivatives by them.
struct LossTerm {
  double value, by_x, by_target;
};

inline LossTerm absolute_error(double x, double t) {
  const double sign = x > t ? 1 : x < t ? -1 : 0;
  return {std::fabs(x - t), sign, -sign};
}

inline LossTerm huber_error(double x, double t, double delta, double slope) {
  const LossTerm a = absolute_error(x, t);
  if (a.value <= delta) return {slope * a.value * a.value / 2, slope * (x - t), -slope * (x - t)};
  return {slope * delta * (a.value - delta / 2), slope * delta * a.by_x, slope * delta * a.by_target};
}

inline LossTerm kl_term(double x, double t) {
  if (t == 0) return {0, 0, 0};
  return {t * (std::log(t) - x), -t, std::log(t) + 1 - x};
}

// -t log p - (1 - t) log(1 - p) with p = sigmoid(x).
inline LossTerm binary_cross_entropy(double x, double t) {
  const double p = 1 / (1 + std::exp(-x));
  return {-t * std::log(p) - (1 - t) * std::log1p(-p), p - t, -x};
}

// f(x, t) -> LossTerm.
template <class T, class F>
double pointwise_loss(const F& f, Index count, const T* x, const T* t) {
  long double sum = 0;  // of many terms: the kernel's is in double too
  for (Index i = 0; i < count; ++i) sum += f(static_cast<double>(x[i]), static_cast<double>(t[i])).value;
  return static_cast<double>(sum);
}

template <class T, class F>
void pointwise_loss_backward(const F& f, Index count, const T* x, const T* t, double weight, T* gx, T* gt) {
  for (Index i = 0; i < count; ++i) {
    const LossTerm term = f(static_cast<double>(x[i]), static_cast<double>(t[i]));
    gx[i] = static_cast<T>(weight * term.by_x);
    gt[i] = static_cast<T>(weight * term.by_target);
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
