// The readable twin of softmax.hpp, in double.
#pragma once

#include <cmath>
#include <limits>

#include "aulos/kernels/rows.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

// log sum exp of a row: NaN where a NaN is, -inf for no columns and for nothing but -inf.
template <class T>
double log_sum_exp(const T* x, Index columns) {
  double top = -std::numeric_limits<double>::infinity();
  for (Index c = 0; c < columns; ++c) {
    const double v = static_cast<double>(x[c]);
    if (std::isnan(v)) return v;
    top = v > top ? v : top;
  }
  if (std::isinf(top)) return top;
  double sum = 0;
  for (Index c = 0; c < columns; ++c) sum += std::exp(static_cast<double>(x[c]) - top);
  return top + std::log(sum);
}

// exp(x - lse), 0 in a row of -inf.
inline double probability(double x, double lse) {
  return lse == -std::numeric_limits<double>::infinity() ? 0 : std::exp(x - lse);
}

template <class T>
void softmax(Index rows, Index columns, Rows<const T> x, Rows<T> y) {
  for (Index r = 0; r < rows; ++r) {
    const double lse = log_sum_exp(x[r], columns);
    for (Index c = 0; c < columns; ++c) y[r][c] = static_cast<T>(probability(static_cast<double>(x[r][c]), lse));
  }
}

template <class T>
void log_softmax(Index rows, Index columns, Rows<const T> x, Rows<T> y) {
  for (Index r = 0; r < rows; ++r) {
    const double lse = log_sum_exp(x[r], columns);
    const bool empty = lse == -std::numeric_limits<double>::infinity();
    for (Index c = 0; c < columns; ++c) y[r][c] = static_cast<T>(empty ? lse : static_cast<double>(x[r][c]) - lse);
  }
}

template <class T>
void logsumexp(Index rows, Index columns, Rows<const T> x, T* lse) {
  for (Index r = 0; r < rows; ++r) lse[r] = static_cast<T>(log_sum_exp(x[r], columns));
}

template <class T>
void softmax_backward(Index rows, Index columns, Rows<const T> y, Rows<const T> gy, Rows<T> gx) {
  for (Index r = 0; r < rows; ++r) {
    double dot = 0;
    for (Index c = 0; c < columns; ++c) dot += static_cast<double>(y[r][c]) * static_cast<double>(gy[r][c]);
    for (Index c = 0; c < columns; ++c) {
      gx[r][c] = static_cast<T>(static_cast<double>(y[r][c]) * (static_cast<double>(gy[r][c]) - dot));
    }
  }
}

template <class T>
void log_softmax_backward(Index rows, Index columns, Rows<const T> y, Rows<const T> gy, Rows<T> gx) {
  for (Index r = 0; r < rows; ++r) {
    double sum = 0;
    bool empty = true;
    for (Index c = 0; c < columns; ++c) {
      sum += static_cast<double>(gy[r][c]);
      empty = empty && static_cast<double>(y[r][c]) == -std::numeric_limits<double>::infinity();
    }
    for (Index c = 0; c < columns; ++c) {
      const double g = static_cast<double>(gy[r][c]) - std::exp(static_cast<double>(y[r][c])) * sum;
      gx[r][c] = static_cast<T>(empty ? 0 : g);
    }
  }
}

template <class T>
void logsumexp_backward(Index rows, Index columns, Rows<const T> x, const T* lse, const T* glse, Rows<T> gx) {
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < columns; ++c) {
      gx[r][c] = static_cast<T>(static_cast<double>(glse[r]) *
                                probability(static_cast<double>(x[r][c]), static_cast<double>(lse[r])));
    }
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
