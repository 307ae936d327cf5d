// The readable twin of l2_normalize.hpp, in double.
#pragma once

#include <algorithm>
#include <cmath>

#include "aulos/kernels/rows.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

template <class T>
double row_length(const T* x, Index columns) {
  double sum = 0;
  for (Index c = 0; c < columns; ++c) sum += static_cast<double>(x[c]) * static_cast<double>(x[c]);
  return std::sqrt(sum);
}

template <class T>
void l2_normalize(Index rows, Index columns, double eps, Rows<const T> x, Rows<T> y) {
  for (Index r = 0; r < rows; ++r) {
    const double length = row_length(x[r], columns);
    for (Index c = 0; c < columns; ++c)
      y[r][c] = static_cast<T>(static_cast<double>(x[r][c]) / (length < eps ? eps : length));
  }
}

template <class T>
void l2_normalize_backward(Index rows, Index columns, double eps, Rows<const T> x, Rows<const T> gy, Rows<T> gx) {
  for (Index r = 0; r < rows; ++r) {
    const double length = row_length(x[r], columns);
    double dot = 0;
    for (Index c = 0; c < columns; ++c) dot += static_cast<double>(x[r][c]) * static_cast<double>(gy[r][c]);
    for (Index c = 0; c < columns; ++c) {
      const double g = static_cast<double>(gy[r][c]), v = static_cast<double>(x[r][c]);
      gx[r][c] = static_cast<T>(length <= eps ? g / eps : g / length - v * dot / (length * length * length));
    }
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
