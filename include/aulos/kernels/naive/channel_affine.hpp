// The readable twin of channel_affine.hpp, in double.
#pragma once

#include "aulos/kernels/rows.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

template <class T>
void channel_affine(Index rows, Index columns, Rows<const T> x, const T* weight, const T* bias, Rows<T> y) {
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < columns; ++c) {
      const double w = weight == nullptr ? 1 : static_cast<double>(weight[c]);
      const double b = bias == nullptr ? 0 : static_cast<double>(bias[c]);
      y[r][c] = static_cast<T>(static_cast<double>(x[r][c]) * w + b);
    }
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
