// The largest elements of rows.
#pragma once

#include <algorithm>

#include "aulos/core/config.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/simd/batch.hpp"

namespace aulos::inline AULOS_ISA::kernels {

namespace detail {

inline constexpr Index top_k_piece = 8192;  // elements

inline Index top_k_rows(Index columns) noexcept {
  return std::max<Index>(1, top_k_piece / std::max<Index>(1, columns));
}

}  // namespace detail

// Bytes of scratch that top_k takes.
inline std::size_t top_k_scratch(Index columns) noexcept { return scratch_size<std::int64_t>(columns); }

// values[r, i] and at[r, i]: the i-th largest of row r and its column, i < k <= columns. NaN counts as the largest, as
// in torch.topk(sorted=True); of equal elements the one with the lower column comes first (PyTorch promises nothing).
// x rows `ldx` apart, values and at dense. Cost columns log k.
template <class T>
void top_k(Threads threads, const T* x, Index ldx, Index rows, Index columns, Index k, T* values, std::int64_t* at) {
  const Index per_piece = detail::top_k_rows(columns);
  if (k == 0) return;
  threads.run((rows + per_piece - 1) / per_piece, [&](Index piece, Scratch& scratch) {
    auto* const order = scratch.take<std::int64_t>(columns);
    for (Index r = piece * per_piece; r < (std::min)(rows, (piece + 1) * per_piece); ++r) {
      const T* row = x + r * ldx;
      for (Index c = 0; c < columns; ++c) order[c] = c;
      std::partial_sort(order, order + k, order + columns, [row](std::int64_t a, std::int64_t b) {
        const bool nan_a = simd::is_nan(row[a]), nan_b = simd::is_nan(row[b]);
        if (nan_a != nan_b) return nan_a;
        if (!nan_a && row[a] != row[b]) return row[a] > row[b];
        return a < b;
      });
      for (Index i = 0; i < k; ++i) {
        at[r * k + i] = order[i];
        values[r * k + i] = row[order[i]];
      }
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
