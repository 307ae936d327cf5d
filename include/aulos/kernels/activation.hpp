// Activation functions over rows, plain and gated, and their gradients.
#pragma once

#include "aulos/kernels/rows.hpp"
#include "aulos/simd/activations.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// y = f(x), f one of simd/activations.hpp or any other function object on batches. x, y [rows, columns]; y may be x.
// One pass over the memory; a place's result does not depend on where it stands.
// torch.nn.functional.relu, gelu, silu, ..., torch.exp, sqrt, ...
template <class T, class F>
void activate(Threads threads, Index rows, Index columns, Rows<const T> x, Rows<T> y, F f) {
  const bool dense = rows == 1 || (x.stride == columns && y.stride == columns);
  detail::for_stretches(threads, rows, columns, dense, [&](Index row, Index column, Index length) {
    const T* from = x[row] + column;
    T* to = y[row] + column;
    simd::for_lanes<T>(length, [&](Index i, auto part) { part.store(to + i, f(part.load(from + i))); });
  });
}

// gx = gy f'(x). gx may be gy or x.
template <class T, class F>
void activate_backward(Threads threads, Index rows, Index columns, Rows<const T> x, Rows<const T> gy, Rows<T> gx, F f) {
  const bool dense = rows == 1 || (x.stride == columns && gy.stride == columns && gx.stride == columns);
  detail::for_stretches(threads, rows, columns, dense, [&](Index row, Index column, Index length) {
    const T* from = x[row] + column;
    const T* g = gy[row] + column;
    T* to = gx[row] + column;
    simd::for_lanes<T>(
        length, [&](Index i, auto part) { part.store(to + i, part.load(g + i) * f.derivative(part.load(from + i))); });
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
