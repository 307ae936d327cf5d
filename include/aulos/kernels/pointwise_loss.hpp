// Losses that are sums of a function of one prediction and its target.
#pragma once

#include <algorithm>

#include "aulos/core/config.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/simd/activations.hpp"
#include "aulos/simd/row_sum.hpp"

namespace aulos::inline AULOS_ISA::kernels {

namespace detail {

// -1, 0 or 1.
template <class V>
V sign_of(V d) noexcept {
  const V none(simd::Lane<V>(0)), one(simd::Lane<V>(1));
  return simd::select(d > none, one, simd::select(d < none, -one, none));
}

}  // namespace detail

// Each: the value, and its derivatives by x and by the target t, on batches and on plain numbers.

// |x - t|, slope 0 at 0: torch.nn.functional.l1_loss.
template <class T>
struct AbsoluteError {
  template <class V>
  V operator()(V x, V t) const noexcept {
    return simd::abs(x - t);
  }
  template <class V>
  V by_x(V x, V t) const noexcept {
    return detail::sign_of(x - t);
  }
  template <class V>
  V by_target(V x, V t) const noexcept {
    return -by_x(x, t);
  }
};

// d = x - t: slope d^2 / 2 where |d| <= delta, slope delta (|d| - delta / 2) beyond. Huber loss: slope 1; smooth L1
// with beta: delta = beta, slope = 1 / beta.
template <class T>
struct HuberError {
  T delta, slope;

  template <class V>
  V operator()(V x, V t) const noexcept {
    const V d = simd::abs(x - t), half(T(0.5)), limit(delta);
    return V(slope) * simd::select(d <= limit, half * d * d, limit * (d - half * limit));
  }
  template <class V>
  V by_x(V x, V t) const noexcept {
    const V d = x - t, limit(delta);
    return V(slope) * simd::select(simd::abs(d) <= limit, d, limit * detail::sign_of(d));
  }
  template <class V>
  V by_target(V x, V t) const noexcept {
    return -by_x(x, t);
  }
};

// t (log t - x) of a log-probability x and a probability t; 0 with slope 0 by t where t is 0: kl_div.
template <class T>
struct KlTerm {
  template <class V>
  V operator()(V x, V t) const noexcept {
    return simd::select(t == V(T(0)), V(T(0)), t * (simd::log(t) - x));
  }
  template <class V>
  V by_x(V, V t) const noexcept {
    return -t;
  }
  template <class V>
  V by_target(V x, V t) const noexcept {
    return simd::select(t == V(T(0)), V(T(0)), simd::log(t) + V(T(1)) - x);
  }
};

// log(1 + e^x) - x t, the cross entropy of the probability sigmoid(x) against t: binary_cross_entropy_with_logits.
template <class T>
struct BinaryCrossEntropy {
  template <class V>
  V operator()(V x, V t) const noexcept {
    return simd::log1p_unit(simd::exp(-simd::abs(x)), simd::fnma(x, t, (simd::max)(x, V(T(0)))));
  }
  template <class V>
  V by_x(V x, V t) const noexcept {
    return simd::Sigmoid{}(x)-t;
  }
  template <class V>
  V by_target(V x, V) const noexcept {
    return -x;
  }
};

// Elements whose terms are summed at a time: fixed, so that results do not follow the thread count.
inline constexpr Index loss_chunk = 4096;

inline Index loss_chunks(Index count) noexcept { return (count + loss_chunk - 1) / loss_chunk; }

// The sum of f(x[i], t[i]) over `count` dense elements, in double. `partial` has room for loss_chunks(count).
template <class T, class F>
[[gnu::noinline]] double pointwise_loss(Threads threads, const F& f, Index count, const T* x, const T* t,
                                        double* partial) {
  threads.run(loss_chunks(count), [&](Index chunk, Scratch&) {
    const Index begin = chunk * loss_chunk;
    partial[chunk] = simd::sum_row<T, 1>((std::min)(loss_chunk, count - begin), [&](Index i, auto part, auto& sum) {
      sum[0] += part.keep(f(part.load(x + begin + i), part.load(t + begin + i)), T(0));
    })[0];
  });
  double sum = 0;
  for (Index chunk = 0; chunk < loss_chunks(count); ++chunk) sum += partial[chunk];
  return sum;
}

// gx = weight df/dx, gt = weight df/dt; either may be absent, neither may be x or t.
template <class T, class F>
[[gnu::noinline]] void pointwise_loss_backward(Threads threads, const F& f, Index count, const T* x, const T* t,
                                               T weight, T* gx, T* gt) {
  threads.run(loss_chunks(count), [&](Index chunk, Scratch&) {
    const Index begin = chunk * loss_chunk;
    simd::for_lanes<T>((std::min)(loss_chunk, count - begin), [&](Index i, auto part) {
      const simd::Batch<T> px = part.load(x + begin + i), pt = part.load(t + begin + i), by(weight);
      if (gx != nullptr) part.store(gx + begin + i, by * f.by_x(px, pt));
      if (gt != nullptr) part.store(gt + begin + i, by * f.by_target(px, pt));
    });
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
