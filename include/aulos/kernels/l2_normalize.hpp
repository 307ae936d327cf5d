// Rows divided by their Euclidean length.
#pragma once

#include <cmath>

#include "aulos/kernels/rows.hpp"
#include "aulos/simd/row_sum.hpp"

namespace aulos::inline AULOS_ISA::kernels {

namespace detail {

template <class T>
double row_length(const T* x, Index columns) noexcept {
  const auto sum = simd::sum_row<T, 1>(columns, [=](Index i, auto part, auto& s) {
    const simd::Batch<T> v = part.load(x + i);
    s[0] = simd::fma(v, v, s[0]);
  });
  return std::sqrt(sum[0]);
}

}  // namespace detail

// y = x / max(|x|, eps), |x| the root of the sum of squares in double: a row of zeros stays zeros. y may be x.
// torch.nn.functional.normalize.
template <class T>
void l2_normalize(Threads threads, Index rows, Index columns, double eps, Rows<const T> x, Rows<T> y) {
  detail::for_rows(threads, rows, columns, [&](Index row) {
    const T* from = x[row];
    T* to = y[row];
    const double length = detail::row_length(from, columns);
    const simd::Batch<T> by(static_cast<T>(length < eps ? eps : length));
    simd::for_lanes<T>(columns, [=](Index i, auto part) { part.store(to + i, part.load(from + i) / by); });
  });
}

// gx = (gy - y (y . gy)) / |x|, and gy / eps where |x| <= eps. gx may be gy or x.
template <class T>
void l2_normalize_backward(Threads threads, Index rows, Index columns, double eps, Rows<const T> x, Rows<const T> gy,
                           Rows<T> gx) {
  detail::for_rows(threads, rows, columns, [&](Index row) {
    const T* from = x[row];
    const T* g = gy[row];
    T* to = gx[row];
    const double length = detail::row_length(from, columns);
    const bool short_row = length <= eps;
    const double dot = simd::sum_row<T, 1>(columns, [=](Index i, auto part, auto& s) {
      s[0] = simd::fma(part.load(from + i), part.load(g + i), s[0]);
    })[0];
    const simd::Batch<T> by(static_cast<T>(short_row ? eps : length));
    const simd::Batch<T> slope(static_cast<T>(short_row ? 0.0 : dot / length));
    simd::for_lanes<T>(columns, [=](Index i, auto part) {
      part.store(to + i, simd::fnma(part.load(from + i) / by, slope, part.load(g + i)) / by);
    });
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
