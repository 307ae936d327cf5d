// Softmax, log-softmax and log-sum-exp over rows, and their gradients.
#pragma once

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

}  // namespace detail

// y = exp(x - max(x)) / sum exp(x - max(x)) over the last axis. x, y [rows, columns]; y may be x. The sum in double
// over short runs in T, three passes over a row in cache. torch.softmax(dim=-1), but a row of -inf gives 0, not NaN.
template <class T>
void softmax(Threads threads, Index rows, Index columns, Rows<const T> x, Rows<T> y) {
  detail::for_rows(threads, rows, columns, [&](Index row) {
    T* to = y[row];
    const T top = detail::exponent_maximum(x[row], columns);
    if (detail::is_minus_infinity(top)) return detail::fill_row(to, columns, T(0));
    const double sum =
        detail::sum_of_exponentials(x[row], columns, top, [&](Index i, auto part, auto e) { part.store(to + i, e); });
    const simd::Batch<T> inverse(static_cast<T>(1 / sum));
    simd::for_lanes<T>(columns, [&](Index i, auto part) { part.store(to + i, part.load(to + i) * inverse); });
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
