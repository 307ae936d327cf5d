// Activation functions over rows, plain and gated, and their gradients.
#pragma once

#include <cstddef>
#include <type_traits>

#include "aulos/kernels/rows.hpp"
#include "aulos/simd/activations.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// An activation on n contiguous elements and its gradient gx = gy f'(x), as pointers: what code that is compiled once
// for all activations calls. y may be x; gx may be gy or x. `streamed` is the value, stored past the caches to an
// aligned y that is not x.
template <class T>
struct ActivationRow {
  void (*value)(const T* x, T* y, Index n);
  void (*gradient)(const T* x, const T* gy, T* gx, Index n);
  void (*streamed)(const T* x, T* y, Index n);
};

namespace detail {

// A loop of its own, so that the constants of f stay in registers.
template <class T, simd::Path path = simd::Path::cached, class F>
[[gnu::noinline]] void activate_batches(const T* x, T* y, Index n, const F& f) {
  for (Index i = 0; i < n; i += simd::lanes<T>) {
    const simd::Batch<T> value = f(simd::load(x + i));
    if constexpr (path == simd::Path::past_caches) {
      simd::ask_page_ahead(x + i);
      simd::stream(y + i, value);
    } else {
      simd::store(y + i, value);
    }
  }
  if constexpr (path == simd::Path::past_caches) simd::stream_fence();
}

template <class T, class F>
[[gnu::noinline]] void activate_batches_backward(const T* x, const T* gy, T* gx, Index n, const F& f) {
  for (Index i = 0; i < n; i += simd::lanes<T>) {
    simd::store(gx + i, simd::load(gy + i) * f.derivative(simd::load(x + i)));
  }
}

// The tail goes through a batch of its own in memory, so that f is compiled once; its bits are those of a whole batch.
template <class T, simd::Path path = simd::Path::cached, class F>
void activate_row(const T* x, T* y, Index n, const F& f) {
  constexpr Index lanes = simd::lanes<T>;
  const Index rest = n % lanes, whole = n - rest;
  activate_batches<T, path>(x, y, whole, f);
  if (rest == 0) return;
  alignas(64) T tail[static_cast<std::size_t>(lanes)];
  simd::store(tail, simd::load_partial(x + whole, rest));
  activate_batches<T>(tail, tail, lanes, f);
  simd::store_partial(y + whole, simd::load(tail), rest);
}

template <class T, class F>
void activate_row_backward(const T* x, const T* gy, T* gx, Index n, const F& f) {
  constexpr Index lanes = simd::lanes<T>;
  const Index rest = n % lanes, whole = n - rest;
  activate_batches_backward(x, gy, gx, whole, f);
  if (rest == 0) return;
  alignas(64) T tail[static_cast<std::size_t>(lanes)], gradient[static_cast<std::size_t>(lanes)];
  simd::store(tail, simd::load_partial(x + whole, rest));
  simd::store(gradient, simd::load_partial(gy + whole, rest));
  activate_batches_backward(tail, gradient, gradient, lanes, f);
  simd::store_partial(gx + whole, simd::load(gradient), rest);
}

}  // namespace detail

// F, a function object without state, behind pointers. Without a derivative there is no gradient.
template <class T, class F>
constexpr ActivationRow<T> activation_row() noexcept {
  ActivationRow<T> row{
      [](const T* x, T* y, Index n) { detail::activate_row(x, y, n, F{}); }, nullptr,
      [](const T* x, T* y, Index n) { detail::activate_row<T, simd::Path::past_caches>(x, y, n, F{}); }};
  if constexpr (requires(simd::Batch<T> x) { F{}.derivative(x); })
    row.gradient = [](const T* x, const T* gy, T* gx, Index n) { detail::activate_row_backward(x, gy, gx, n, F{}); };
  return row;
}

// y = f(x), f one of simd/activations.hpp, any other function object on batches, or an ActivationRow. x, y [rows,
// columns]; y may be x. One pass over the memory; a place's result does not depend on where it stands.
// torch.nn.functional.relu, gelu, silu, ..., torch.exp, sqrt, ...
template <class T, class F>
void activate(Threads threads, Index rows, Index columns, Rows<const T> x, Rows<T> y, const F& f) {
  const bool dense = rows == 1 || (x.stride == columns && y.stride == columns);
  if constexpr (!std::is_same_v<F, ActivationRow<T>>) {
    // Small work goes straight to its loop: the way through the threads takes a tenth of its time.
    if (dense && rows * columns <= detail::piece_elements) {
      return detail::activate_row(x.data, y.data, rows * columns, f);
    }
  }
  const bool past = detail::past_caches<T>(x.data, y, rows, columns);
  detail::for_stretches(threads, rows, columns, dense, [&](Index row, Index column, Index length) {
    const T* from = x[row] + column;
    T* to = y[row] + column;
    if constexpr (std::is_same_v<F, ActivationRow<T>>) {
      (past ? f.streamed : f.value)(from, to, length);
    } else if (past) {
      detail::activate_row<T, simd::Path::past_caches>(from, to, length, f);
    } else {
      detail::activate_row(from, to, length, f);
    }
  });
}

// gx = gy f'(x). gx may be gy or x.
template <class T, class F>
void activate_backward(Threads threads, Index rows, Index columns, Rows<const T> x, Rows<const T> gy, Rows<T> gx,
                       const F& f) {
  const bool dense = rows == 1 || (x.stride == columns && gy.stride == columns && gx.stride == columns);
  detail::for_stretches(threads, rows, columns, dense, [&](Index row, Index column, Index length) {
    if constexpr (std::is_same_v<F, ActivationRow<T>>) {
      f.gradient(x[row] + column, gy[row] + column, gx[row] + column, length);
    } else {
      detail::activate_row_backward(x[row] + column, gy[row] + column, gx[row] + column, length, f);
    }
  });
}

// y = f(a) b: SwiGLU with simd::Silu, GeGLU with simd::Gelu or GeluTanh, GLU with simd::Sigmoid. y may be a or b.
template <class T, class F>
void gated_activation(Threads threads, Index rows, Index columns, Rows<const T> a, Rows<const T> b, Rows<T> y, F f) {
  const bool dense = rows == 1 || (a.stride == columns && b.stride == columns && y.stride == columns);
  detail::for_stretches(threads, rows, columns, dense, [&](Index row, Index column, Index length) {
    const T* pa = a[row] + column;
    const T* pb = b[row] + column;
    T* to = y[row] + column;
    simd::for_lanes<T>(length,
                       [&](Index i, auto part) { part.store(to + i, f(part.load(pa + i)) * part.load(pb + i)); });
  });
}

// ga = gy b f'(a), gb = gy f(a). ga and gb may be a, b or gy; either may be absent.
template <class T, class F>
void gated_activation_backward(Threads threads, Index rows, Index columns, Rows<const T> a, Rows<const T> b,
                               Rows<const T> gy, Rows<T> ga, Rows<T> gb, F f) {
  detail::for_stretches(threads, rows, columns, rows == 1, [&](Index row, Index column, Index length) {
    const T* pa = a[row] + column;
    const T* pb = b[row] + column;
    const T* g = gy[row] + column;
    simd::for_lanes<T>(length, [&](Index i, auto part) {
      const simd::Batch<T> va = part.load(pa + i), vb = part.load(pb + i), vg = part.load(g + i);
      if (ga) part.store(ga[row] + column + i, vg * vb * f.derivative(va));
      if (gb) part.store(gb[row] + column + i, vg * f(va));
    });
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
