// PReLU with one slope for all elements.
#pragma once

#include <algorithm>

#include "aulos/kernels/rows.hpp"
#include "aulos/simd/row_sum.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// y = x where x > 0, else slope[0] x, for `count` elements; y may be x. torch.nn.functional.prelu with one weight.
template <class T>
void prelu(Threads threads, Index count, const T* x, const T* slope, T* y) {
  const simd::Batch<T> a(count > 0 ? *slope : T(0)), zero(T(0));
  detail::for_stretches(threads, 1, count, true, [&](Index, Index begin, Index length) {
    simd::for_lanes<T>(length, [&](Index i, auto part) {
      const simd::Batch<T> v = part.load(x + begin + i);
      part.store(y + begin + i, simd::select(v > zero, v, a * v));
    });
  });
}

// How many partial sums prelu_backward needs.
inline Index prelu_partials(Index count) noexcept {
  return (count + detail::piece_elements - 1) / detail::piece_elements;
}

// gx = gy where x > 0, else slope[0] gy; gslope[0] += the sum of gy x where x <= 0, in double, stretches of fixed
// length put together in order. gx may be gy; gx and gslope may be null.
template <class T>
void prelu_backward(Threads threads, Index count, const T* x, const T* slope, const T* gy, T* gx, T* gslope,
                    double* partials) {
  if (count <= 0) return;
  const simd::Batch<T> a(*slope), zero(T(0));
  const Index pieces = prelu_partials(count);
  threads.run(pieces, [&](Index piece, Scratch&) {
    const Index begin = piece * detail::piece_elements;
    const Index length = (std::min)(detail::piece_elements, count - begin);
    const auto sum = simd::sum_row<T, 1>(length, [&](Index i, auto part, auto& s) {
      const simd::Batch<T> v = part.load(x + begin + i), g = part.load(gy + begin + i);
      if (gx != nullptr) part.store(gx + begin + i, simd::select(v > zero, g, a * g));
      s[0] += simd::select(v > zero, zero, g * v);
    });
    partials[piece] = sum[0];
  });
  if (gslope == nullptr) return;
  double total = 0;
  for (Index piece = 0; piece < pieces; ++piece) total += partials[piece];
  *gslope += static_cast<T>(total);
}

}  // namespace aulos::inline AULOS_ISA::kernels
