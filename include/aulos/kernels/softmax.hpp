// Softmax, log-softmax and log-sum-exp over rows, and their gradients.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "aulos/kernels/rows.hpp"
#include "aulos/simd/exp.hpp"
#include "aulos/simd/log.hpp"
#include "aulos/simd/reduce.hpp"
#include "aulos/simd/row_sum.hpp"

namespace aulos::inline AULOS_ISA::kernels {

namespace detail {

// By its bits: compilers told that no infinities exist fold the comparison.
template <class T>
bool is_minus_infinity(T x) noexcept {
  return std::bit_cast<simd::Bits<T>>(x) == std::bit_cast<simd::Bits<T>>(-std::numeric_limits<T>::infinity());
}

// NaN where a NaN is; -inf without columns.
template <class T>
T row_maximum(const T* x, Index columns) noexcept {
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  simd::Batch<T> top(lowest);
  simd::for_lanes<T>(columns, [&](Index i, auto part) { top = (simd::max)(top, part.keep(part.load(x + i), lowest)); });
  return simd::reduce_max(top);
}

// The maximum, or any number of the row where it holds a NaN: for sums of exponentials, which are NaN then anyhow.
template <class T>
T exponent_maximum(const T* x, Index columns) noexcept {
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  constexpr Index width = simd::lanes<T>;
  simd::Batch<T> top[4] = {{lowest}, {lowest}, {lowest}, {lowest}};
  Index i = 0;
  for (; i + 4 * width <= columns; i += 4 * width) {
    AULOS_UNROLL
    for (Index turn = 0; turn < 4; ++turn) top[turn] = simd::raw_max(top[turn], simd::load(x + i + turn * width));
  }
  simd::for_lanes<T>(columns - i, [&](Index j, auto part) {
    top[0] = simd::raw_max(top[0], part.keep(part.load(x + i + j), lowest));
  });
  const T most = simd::reduce_max((simd::max)((simd::max)(top[0], top[1]), (simd::max)(top[2], top[3])));
  return is_minus_infinity(most) ? row_maximum(x, columns) : most;  // a NaN among nothing but -inf must be seen
}

// sum exp(x - top); each e^(x - top) is also given to `visit(i, part, e)`.
template <class T, class Visit>
double sum_of_exponentials(const T* x, Index columns, T top, const Visit& visit) {
  const simd::Batch<T> m(top);
  return simd::sum_row<T, 1>(columns, [&](Index i, auto part, auto& sum) {
    const simd::Batch<T> e = part.keep(simd::exp(part.load(x + i) - m), T(0));
    sum[0] += e;
    visit(i, part, e);
  })[0];
}

template <class T>
double sum_of_products(const T* x, const T* z, Index columns) noexcept {
  return simd::sum_row<T, 1>(columns, [&](Index i, auto part, auto& sum) {
    sum[0] = simd::fma(part.load(x + i), part.load(z + i), sum[0]);
  })[0];
}

template <class T>
void fill_row(T* y, Index columns, T value) noexcept {
  for (Index i = 0; i < columns; ++i) y[i] = value;
}

// The softmax of a row by way of its exponentials e, which may lie at y or x. Row `ahead`, which is read next, is
// prefetched meanwhile.
template <simd::Path path, class T>
void softmax_row(const T* x, const T* ahead, T* e, T* y, Index columns) noexcept {
  const T top = exponent_maximum(x, columns);
  if (is_minus_infinity(top)) return fill_row(y, columns, T(0));
  const double sum = sum_of_exponentials(x, columns, top, [&](Index i, auto part, auto z) {
    part.store(e + i, z);
    if constexpr (path == simd::Path::past_caches) __builtin_prefetch(ahead + i, 0, 2);
  });
  const simd::Batch<T> inverse(static_cast<T>(1 / sum));
  simd::for_lanes_on<T, path>(columns, [&](Index i, auto part) { part.store(y + i, part.load(e + i) * inverse); });
}

// Whether the results go past the caches: shorter rows are read and written at the same time as it is.
template <class T>
bool softmax_goes_past_caches(const T* x, Rows<T> y, Index rows, Index columns) noexcept {
  return columns * static_cast<Index>(sizeof(T)) >= 8192 && past_caches(x, y, rows, columns);
}

// A piece's exponentials all lie in its last row, which is the only one that is written as usual.
template <class T>
void softmax_past_caches(Threads threads, Index rows, Index columns, Rows<const T> x, Rows<T> y) {
  const Index per_piece = std::clamp<Index>(rows / (4 * threads.count()), 2, 16);
  threads.run((rows + per_piece - 1) / per_piece, [&](Index piece, Scratch&) {
    const Index last = (std::min)(rows, (piece + 1) * per_piece) - 1;
    for (Index row = piece * per_piece; row < last; ++row) {
      softmax_row<simd::Path::past_caches>(x[row], x[row + 1], y[last], y[row], columns);
    }
    softmax_row<simd::Path::cached>(x[last], x[last], y[last], y[last], columns);
    simd::stream_fence();
  });
}

}  // namespace detail

// y = exp(x - max(x)) / sum exp(x - max(x)) over the last axis. x, y [rows, columns]; y may be x. The sum in double
// over short runs in T, three passes over a row in cache. torch.softmax(dim=-1), but a row of -inf gives 0, not NaN.
template <class T>
void softmax(Threads threads, Index rows, Index columns, Rows<const T> x, Rows<T> y) {
  if (detail::softmax_goes_past_caches(x.data, y, rows, columns)) {
    return detail::softmax_past_caches(threads, rows, columns, x, y);
  }
  detail::for_rows(threads, rows, columns, [&](Index row) {
    detail::softmax_row<simd::Path::cached>(x[row], x[row], y[row], y[row], columns);
  });
}

// gx = y (gy - sum(gy y)), y the softmax. gx may be gy or y.
template <class T>
void softmax_backward(Threads threads, Index rows, Index columns, Rows<const T> y, Rows<const T> gy, Rows<T> gx) {
  detail::for_rows(threads, rows, columns, [&](Index row) {
    const T* p = y[row];
    const T* g = gy[row];
    T* to = gx[row];
    const simd::Batch<T> dot(static_cast<T>(detail::sum_of_products(p, g, columns)));
    simd::for_lanes<T>(columns,
                       [&](Index i, auto part) { part.store(to + i, part.load(p + i) * (part.load(g + i) - dot)); });
  });
}

// y = (x - max(x)) - log(sum exp(x - max(x))). y may be x. torch.log_softmax(dim=-1), but a row of -inf gives -inf.
template <class T>
void log_softmax(Threads threads, Index rows, Index columns, Rows<const T> x, Rows<T> y) {
  detail::for_rows(threads, rows, columns, [&](Index row) {
    const T* from = x[row];
    T* to = y[row];
    const T top = detail::exponent_maximum(from, columns);
    if (detail::is_minus_infinity(top)) return detail::fill_row(to, columns, top);
    const double sum = detail::sum_of_exponentials(from, columns, top, [](Index, auto, auto) {});
    const simd::Batch<T> m(top), log_sum(static_cast<T>(std::log(sum)));
    simd::for_lanes<T>(columns, [&](Index i, auto part) { part.store(to + i, (part.load(from + i) - m) - log_sum); });
  });
}

// gx = gy - exp(y) sum(gy), y the log-softmax; 0 for a row of -inf. gx may be gy or y.
template <class T>
void log_softmax_backward(Threads threads, Index rows, Index columns, Rows<const T> y, Rows<const T> gy, Rows<T> gx) {
  detail::for_rows(threads, rows, columns, [&](Index row) {
    const T* log_p = y[row];
    const T* g = gy[row];
    T* to = gx[row];
    if (detail::is_minus_infinity(detail::row_maximum(log_p, columns))) return detail::fill_row(to, columns, T(0));
    const simd::Batch<T> total(static_cast<T>(
        simd::sum_row<T, 1>(columns, [&](Index i, auto part, auto& sum) { sum[0] += part.load(g + i); })[0]));
    simd::for_lanes<T>(columns, [&](Index i, auto part) {
      part.store(to + i, simd::fnma(simd::exp(part.load(log_p + i)), total, part.load(g + i)));
    });
  });
}

// lse[row] = max(x) + log(sum exp(x - max(x))). torch.logsumexp(dim=-1), and -inf without columns.
template <class T>
void logsumexp(Threads threads, Index rows, Index columns, Rows<const T> x, T* lse) {
  detail::for_rows(threads, rows, columns > 0 ? columns : 1, [&](Index row) {
    const T top = detail::row_maximum(x[row], columns);
    // An infinite maximum is the result: torch too has +inf for a row that holds +inf.
    const T magnitude = simd::abs(top);
    if (std::bit_cast<simd::Bits<T>>(magnitude) == std::bit_cast<simd::Bits<T>>(std::numeric_limits<T>::infinity())) {
      lse[row] = top;
      return;
    }
    const double sum = detail::sum_of_exponentials(x[row], columns, top, [](Index, auto, auto) {});
    lse[row] = static_cast<T>(static_cast<double>(top) + std::log(sum));
  });
}

// gx = glse exp(x - lse); 0 where lse is -inf. gx may be x.
template <class T>
void logsumexp_backward(Threads threads, Index rows, Index columns, Rows<const T> x, const T* lse, const T* glse,
                        Rows<T> gx) {
  detail::for_rows(threads, rows, columns, [&](Index row) {
    const T* from = x[row];
    T* to = gx[row];
    if (detail::is_minus_infinity(lse[row])) return detail::fill_row(to, columns, T(0));
    const simd::Batch<T> l(lse[row]), g(glse[row]);
    simd::for_lanes<T>(columns,
                       [&](Index i, auto part) { part.store(to + i, g * simd::exp(part.load(from + i) - l)); });
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
