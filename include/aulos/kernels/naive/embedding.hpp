// The readable twin of embedding.hpp. Rows are added in their order and in T: a sum in that order has one result, to
// the bit.
#pragma once

#include <cstdint>

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

template <class T>
void gather_rows(const T* table, Index ld, const std::int64_t* ids, Index count, Index width, T* y) {
  for (Index i = 0; i < count; ++i) {
    for (Index c = 0; c < width; ++c) y[i * width + c] = table[ids[i] * ld + c];
  }
}

template <class T>
void scatter_add_rows(const T* gy, const std::int64_t* ids, Index count, Index width, std::int64_t skip, T* table,
                      Index ld) {
  for (Index i = 0; i < count; ++i) {
    if (ids[i] == skip) continue;
    for (Index c = 0; c < width; ++c) table[ids[i] * ld + c] += gy[i * width + c];
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
