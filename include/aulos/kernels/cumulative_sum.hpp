// Running sums along an axis.
#pragma once

#include <algorithm>

#include "aulos/core/config.hpp"
#include "aulos/core/threads.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// From the first element on, or from the last one back: each is the gradient of the other.
enum class SumDirection { forward, backward };

// y[o, i, k] = sum_{j <= i} x[o, j, k] (backward: j >= i) of x [outer, length, inner], dense, added up in double in
// order and rounded once per element. y may be x. torch.cumsum over the middle axis.
template <class T>
void cumulative_sum(Threads threads, SumDirection direction, Index outer, Index length, Index inner, const T* x, T* y) {
  constexpr Index columns = 128;  // of one piece
  if (outer * length * inner == 0) return;
  const bool forward = direction == SumDirection::forward;
  if (inner == 1) {
    const Index per_piece = std::max<Index>(1, 8192 / length);
    threads.run((outer + per_piece - 1) / per_piece, [&](Index piece, Scratch&) {
      for (Index o = piece * per_piece; o < (std::min)(outer, (piece + 1) * per_piece); ++o) {
        double sum = 0;
        for (Index i = 0; i < length; ++i) {
          const Index at = o * length + (forward ? i : length - 1 - i);
          sum += static_cast<double>(x[at]);
          y[at] = static_cast<T>(sum);
        }
      }
    });
    return;
  }
  const Index blocks = (inner + columns - 1) / columns;
  threads.run(outer * blocks, [&](Index piece, Scratch&) {
    const Index begin = piece % blocks * columns, width = (std::min)(columns, inner - begin);
    const Index first = piece / blocks * length * inner + begin;
    double sum[columns] = {};
    for (Index i = 0; i < length; ++i) {
      const Index row = first + (forward ? i : length - 1 - i) * inner;
      for (Index k = 0; k < width; ++k) {
        sum[k] += static_cast<double>(x[row + k]);
        y[row + k] = static_cast<T>(sum[k]);
      }
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
