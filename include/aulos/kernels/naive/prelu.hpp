// The readable twin of prelu.hpp.
#pragma once

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

template <class T>
void prelu(Index count, const T* x, T slope, T* y) {
  for (Index i = 0; i < count; ++i) y[i] = x[i] > 0 ? x[i] : slope * x[i];
}

// Returns the gradient of the slope.
template <class T>
double prelu_backward(Index count, const T* x, T slope, const T* gy, T* gx) {
  double sum = 0;
  for (Index i = 0; i < count; ++i) {
    gx[i] = x[i] > 0 ? gy[i] : slope * gy[i];
    if (!(x[i] > 0)) sum += static_cast<double>(gy[i]) * static_cast<double>(x[i]);
  }
  return sum;
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
