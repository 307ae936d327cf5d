// Updates of parameters by their gradients, element by element.
#pragma once

#include <algorithm>
#include <cmath>

#include "aulos/core/config.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/simd/batch.hpp"
#include "aulos/simd/for_lanes.hpp"

namespace aulos::inline AULOS_ISA::kernels {

namespace detail {

// f(i, part) for every batch of elements.
template <class T, class F>
void for_batches(Threads threads, Index count, const F& f) {
  constexpr Index update_piece = 8 * 1024;
  threads.run((count + update_piece - 1) / update_piece, [&](Index piece, Scratch&) {
    const Index begin = piece * update_piece;
    simd::for_lanes<T>((std::min)(update_piece, count - begin), [&](Index i, auto part) { f(begin + i, part); });
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
  using Batch = simd::Batch<T>;
  const auto all = [](double x) { return Batch(static_cast<T>(x)); };
  const Batch keep = all(1 - c.lr * c.weight_decay), step_size = all(c.lr / (1 - std::pow(c.beta1, t)));
  const Batch correction = all(std::sqrt(1 - std::pow(c.beta2, t))), eps = all(c.eps);
  const Batch b1 = all(c.beta1), b2 = all(c.beta2), a1 = all(1 - c.beta1), a2 = all(1 - c.beta2);
  detail::for_batches<T>(threads, count, [=](Index i, auto part) {
    const Batch gradient = part.load(g + i);
    const Batch mean = b1 * part.load(m + i) + a1 * gradient;
    const Batch square = b2 * part.load(v + i) + a2 * gradient * gradient;
    part.store(m + i, mean);
    part.store(v + i, square);
    part.store(w + i, keep * part.load(w + i) - step_size * (mean / (simd::sqrt(square) / correction + eps)));
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
  using Batch = simd::Batch<T>;
  const auto all = [](double x) { return Batch(static_cast<T>(x)); };
  const Batch lr = all(c.lr), mu = all(c.momentum), share = all(1 - c.dampening), decay = all(c.weight_decay);
  const bool remembers = static_cast<T>(c.momentum) != T(0), first = c.first, nesterov = c.nesterov;
  detail::for_batches<T>(threads, count, [=](Index i, auto part) {
    const Batch old = part.load(w + i);
    Batch d = part.load(g + i) + decay * old;
    if (remembers) {
      const Batch kept = first ? d : mu * part.load(buf + i) + share * d;
      part.store(buf + i, kept);
      d = nesterov ? d + mu * kept : kept;
    }
    part.store(w + i, old - lr * d);
  });
}

// average = decay average + (1 - decay) w, written from the nearer end: an average of equal values keeps its bits
// (rounded to float, decay and 1 - decay do not add up to 1). torch.lerp(average, w, 1 - decay).
template <class T>
void ema(Threads threads, double decay, const T* w, T* average, Index count) {
  using Batch = simd::Batch<T>;
  const Batch keep(static_cast<T>(decay)), share(static_cast<T>(1 - decay));
  detail::for_batches<T>(threads, count, [=, near_new = decay < 0.5](Index i, auto part) {
    const Batch from = part.load(w + i), to = part.load(average + i);
    part.store(average + i, near_new ? from - keep * (from - to) : to + share * (from - to));
  });
}

// x *= factor.
template <class T>
void scale_in_place(Threads threads, T factor, T* x, Index count) {
  const simd::Batch<T> by(factor);
  detail::for_batches<T>(threads, count, [=](Index i, auto part) { part.store(x + i, part.load(x + i) * by); });
}

}  // namespace aulos::inline AULOS_ISA::kernels
