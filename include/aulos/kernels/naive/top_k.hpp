// The readable twin of top_k.hpp: the best of what is left, k times.
#pragma once

#include <cmath>
#include <vector>

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

template <class T>
void top_k(const T* x, Index ldx, Index rows, Index columns, Index k, T* values, std::int64_t* at) {
  for (Index r = 0; r < rows; ++r) {
    std::vector<bool> taken(static_cast<std::size_t>(columns), false);
    for (Index i = 0; i < k; ++i) {
      Index best = -1;
      for (Index c = 0; c < columns; ++c) {
        if (taken[static_cast<std::size_t>(c)]) continue;
        const T v = x[r * ldx + c];
        if (best < 0 || (!std::isnan(x[r * ldx + best]) && (std::isnan(v) || v > x[r * ldx + best]))) best = c;
      }
      taken[static_cast<std::size_t>(best)] = true;
      at[r * k + i] = best;
      values[r * k + i] = x[r * ldx + best];
    }
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
