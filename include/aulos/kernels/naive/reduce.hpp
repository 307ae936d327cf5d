// The readable twin of reduce.hpp: sums in double, from the first element to the last.
#pragma once

#include <cmath>
#include <cstdint>

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

namespace detail {

// x[i], times z[j] where there is a z.
template <class T>
double term(const T* x, Index i, const T* z, Index j) {
  return static_cast<double>(x[i]) * (z == nullptr ? 1 : static_cast<double>(z[j]));
}

}  // namespace detail

template <class T>
void row_sum(const T* x, Index ldx, const T* z, Index ldz, Index rows, Index columns, double factor, T* y) {
  for (Index r = 0; r < rows; ++r) {
    double sum = 0;
    for (Index c = 0; c < columns; ++c) sum += detail::term(x, r * ldx + c, z, r * ldz + c);
    y[r] = static_cast<T>(factor * sum);
  }
}

template <class T>
void column_sum_add(const T* x, Index ldx, const T* z, Index ldz, Index rows, Index columns, T* y) {
  for (Index c = 0; c < columns; ++c) {
    double sum = 0;
    for (Index r = 0; r < rows; ++r) sum += detail::term(x, r * ldx + c, z, r * ldz + c);
    y[c] = static_cast<T>(static_cast<double>(y[c]) + sum);
  }
}

template <class T>
double total_sum(const T* x, const T* z, Index count) {
  double sum = 0;
  for (Index i = 0; i < count; ++i) sum += detail::term(x, i, z, i);
  return sum;
}

// The first NaN of a row is its maximum, else the first of its largest elements.
template <class T>
void row_max(const T* x, Index ldx, Index rows, Index columns, T* value, std::int64_t* at) {
  for (Index r = 0; r < rows; ++r) {
    const T* row = x + r * ldx;
    Index best = 0;
    for (Index c = 1; c < columns; ++c) {
      if (!std::isnan(row[best]) && (std::isnan(row[c]) || row[c] > row[best])) best = c;
    }
    value[r] = row[best];
    at[r] = best;
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
