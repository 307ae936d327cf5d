// Updates of parameters by their gradients, element by element.
#pragma once

#include <cmath>

#include "aulos/core/config.hpp"
#include "aulos/core/threads.hpp"

namespace aulos::inline AULOS_ISA::kernels {

namespace detail {

template <class F>
void for_elements(Threads threads, Index count, const F& f) {
  constexpr Index update_piece = 8 * 1024;
  threads.run((count + update_piece - 1) / update_piece, [&](Index piece, Scratch&) {
    const Index begin = piece * update_piece;
    const Index end = begin + update_piece < count ? begin + update_piece : count;
    for (Index i = begin; i < end; ++i) f(i);
  });
}

}  // namespace detail

struct AdamWCoefficients {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;
  Index step = 1;  // t, from 1: bias corrections are 1 - beta^t
};

// w *= 1 - lr wd; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) +
// eps). torch.optim.AdamW, whose order of operations and float rounding it keeps.
template <class T>
void adamw(Threads threads, const AdamWCoefficients& c, const T* g, T* m, T* v, T* w, Index count) {
  const double t = static_cast<double>(c.step);
  const T keep = static_cast<T>(1 - c.lr * c.weight_decay);
  const T step_size = static_cast<T>(c.lr / (1 - std::pow(c.beta1, t)));
  const T correction = static_cast<T>(std::sqrt(1 - std::pow(c.beta2, t)));
  const T b1 = static_cast<T>(c.beta1);
  const T b2 = static_cast<T>(c.beta2);
  const T a1 = static_cast<T>(1 - c.beta1);
  const T a2 = static_cast<T>(1 - c.beta2);
  const T eps = static_cast<T>(c.eps);
  detail::for_elements(threads, count, [=](Index i) {
    m[i] = b1 * m[i] + a1 * g[i];
    v[i] = b2 * v[i] + a2 * g[i] * g[i];
    w[i] = keep * w[i] - step_size * (m[i] / (std::sqrt(v[i]) / correction + eps));
  });
}

struct SgdCoefficients {
  double lr = 1e-3;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
  bool first = true;  // the first step of this buffer: buf = g
};

// g += wd w; buf = first ? g : mu buf + (1 - dampening) g; w -= lr (nesterov ? g + mu buf : buf). Without momentum no
// buffer is touched (buf may be null). torch.optim.SGD.
template <class T>
void sgd(Threads threads, const SgdCoefficients& c, const T* g, T* buf, T* w, Index count) {
  const T lr = static_cast<T>(c.lr);
  const T mu = static_cast<T>(c.momentum);
  const T share = static_cast<T>(1 - c.dampening);
  const T decay = static_cast<T>(c.weight_decay);
  detail::for_elements(threads, count, [=, first = c.first, nesterov = c.nesterov](Index i) {
    T d = g[i] + decay * w[i];
    if (mu != T{0}) {
      buf[i] = first ? d : mu * buf[i] + share * d;
      d = nesterov ? d + mu * buf[i] : buf[i];
    }
    w[i] -= lr * d;
  });
}

// average = decay average + (1 - decay) w, written from the nearer end: an average of equal values keeps its bits
// (rounded to float, decay and 1 - decay do not add up to 1). torch.lerp(average, w, 1 - decay).
template <class T>
void ema(Threads threads, double decay, const T* w, T* average, Index count) {
  const T keep = static_cast<T>(decay);
  const T share = static_cast<T>(1 - decay);
  if (decay < 0.5) {
    detail::for_elements(threads, count, [=](Index i) { average[i] = w[i] - keep * (w[i] - average[i]); });
  } else {
    detail::for_elements(threads, count, [=](Index i) { average[i] += share * (w[i] - average[i]); });
  }
}

// x *= factor.
template <class T>
void scale_in_place(Threads threads, T factor, T* x, Index count) {
  detail::for_elements(threads, count, [=](Index i) { x[i] *= factor; });
}

}  // namespace aulos::inline AULOS_ISA::kernels
