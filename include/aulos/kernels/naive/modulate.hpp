// The readable twin of modulate.hpp, in double.
#pragma once

#include "aulos/kernels/rows.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

template <class T>
void modulate(Index rows, Index columns, Rows<const T> x, SharedRows<const T> scale, SharedRows<const T> shift,
              Rows<T> y) {
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < columns; ++c) {
      const double s = scale ? static_cast<double>(scale[r][c]) : 0, t = shift ? static_cast<double>(shift[r][c]) : 0;
      y[r][c] = static_cast<T>(static_cast<double>(x[r][c]) * (1 + s) + t);
    }
  }
}

template <class T>
void gated_residual(Index rows, Index columns, Rows<const T> x, SharedRows<const T> gate, Rows<const T> f, Rows<T> y) {
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < columns; ++c) {
      y[r][c] =
          static_cast<T>(static_cast<double>(x[r][c]) + static_cast<double>(gate[r][c]) * static_cast<double>(f[r][c]));
    }
  }
}

// sum[group][c] = the sum of a * b (of a, without b) over the rows of the group; `groups` dense rows.
template <class T>
void group_sums(Index rows, Index rows_per, Index groups, Index columns, Rows<const T> a, Rows<const T> b,
                double* sum) {
  for (Index i = 0; i < groups * columns; ++i) sum[i] = 0;
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < columns; ++c) {
      const double other = b ? static_cast<double>(b[r][c]) : 1;
      sum[r / rows_per * columns + c] += static_cast<double>(a[r][c]) * other;
    }
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
