// Rows of a table by index, and the gradient that adds rows back.
#pragma once

#include <algorithm>
#include <cstring>

#include "aulos/core/config.hpp"
#include "aulos/core/threads.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// y[i] = table[ids[i]]; table [., width] rows `ld` apart, y dense. Ids must be in range. torch.nn.functional.embedding.
template <class T>
void gather_rows(Threads threads, const T* table, Index ld, const std::int64_t* ids, Index count, Index width, T* y) {
  const Index per_piece = std::max<Index>(1, 16 * 1024 / std::max<Index>(1, width));
  threads.run((count + per_piece - 1) / per_piece, [&](Index piece, Scratch&) {
    for (Index i = piece * per_piece; i < (std::min)(count, (piece + 1) * per_piece); ++i)
      std::memcpy(y + i * width, table + ids[i] * ld, static_cast<std::size_t>(width) * sizeof(T));
  });
}

// table[ids[i]] += gy[i], in the order of i, so that repeated ids always add up alike; ids equal to `skip` are left out
// (a padding index; -1 for none). Pieces split the width.
template <class T>
void scatter_add_rows(Threads threads, const T* gy, const std::int64_t* ids, Index count, Index width,
                      std::int64_t skip, T* table, Index ld) {
  constexpr Index columns = 64;
  threads.run((width + columns - 1) / columns, [&](Index piece, Scratch&) {
    const Index begin = piece * columns;
    const Index end = (std::min)(width, begin + columns);
    for (Index i = 0; i < count; ++i) {
      if (ids[i] == skip) continue;
      for (Index c = begin; c < end; ++c) table[ids[i] * ld + c] += gy[i * width + c];
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
