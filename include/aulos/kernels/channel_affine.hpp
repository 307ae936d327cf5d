// A factor and an offset for each channel of tokens.
#pragma once

#include "aulos/kernels/rows.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// y = x weight + bias, [rows, columns] with weight, bias [columns] or null (1 and 0); y may be x. Its gradient with
// respect to x is itself without bias. One pass over the memory. What is left of torch.nn.GroupNorm after the
// statistics.
template <class T>
void channel_affine(Threads threads, Index rows, Index columns, Rows<const T> x, const T* weight, const T* bias,
                    Rows<T> y) {
  const simd::Batch<T> one(T(1)), zero(T(0));
  detail::for_rows(threads, rows, columns, [&](Index row) {
    const T* from = x[row];
    T* to = y[row];
    simd::for_lanes<T>(columns, [&](Index i, auto part) {
      const simd::Batch<T> w = weight == nullptr ? one : part.load(weight + i);
      const simd::Batch<T> b = bias == nullptr ? zero : part.load(bias + i);
      part.store(to + i, simd::fma(part.load(from + i), w, b));
    });
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
