// The readable twin of cumulative_sum.hpp: every sum on its own.
#pragma once

#include "aulos/kernels/cumulative_sum.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

template <class T>
void cumulative_sum(SumDirection direction, Index outer, Index length, Index inner, const T* x, T* y) {
  for (Index o = 0; o < outer; ++o) {
    for (Index i = 0; i < length; ++i) {
      for (Index k = 0; k < inner; ++k) {
        double sum = 0;
        for (Index j = 0; j < length; ++j)
          if (direction == SumDirection::forward ? j <= i : j >= i)
            sum += static_cast<double>(x[(o * length + j) * inner + k]);
        y[(o * length + i) * inner + k] = static_cast<T>(sum);
      }
    }
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
