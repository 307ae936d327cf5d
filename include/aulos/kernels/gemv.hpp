// Few rows times a weight in canonical rows: reads the weight once, in place, k in the order of the register tile.
#pragma once

#include <algorithm>

#include "aulos/kernels/gemm_pack.hpp"
#include "aulos/kernels/gemm_tile.hpp"
#include "aulos/simd/transpose.hpp"

namespace aulos::inline AULOS_ISA::kernels::detail {

// out [rows, lanes], rows gemm_cols apart, = x [rows, k] times the transpose of W [lanes, k], lanes <= a batch. The
// lanes are rows of W, transposed in registers; memory-bound on W. Not more of them: their lines fit the few sets of
// the first-level cache that rows 2 KiB (modulo 4) apart share.
template <class T, int rows>
[[gnu::noinline]] void multiply_rows(Index k, const T* x, Index ldx, const T* w, Index ldw, Index lanes,
                                     T* out) noexcept {
  using Batch = simd::Batch<T>;
  constexpr Index width = simd::lanes<T>;
  RowBlocks<width, T> blocks(ldw);
  Batch sum[static_cast<std::size_t>(rows)];
  AULOS_UNROLL for (int i = 0; i < rows; ++i) sum[i] = Batch(T(0));
  Index begin = 0;
  do {
    Batch acc[static_cast<std::size_t>(rows)];
    AULOS_UNROLL for (int i = 0; i < rows; ++i) acc[i] = Batch(T(0));
    const Index end = begin + (std::min)(gemm_k_chunk, k - begin);
    for (Index block = begin; block < end; block += blocks.depth) {
      const Index block_end = (std::min)(block + blocks.depth, end);
      const auto weight = blocks.block(w + block, lanes, block_end - block);
      for (Index p = block; p < block_end; p += width) {
        const T* from = weight.data + (p - block);
        const Index count = (std::min)(width, block_end - p);
        Batch column[static_cast<std::size_t>(width)];
        if (lanes == width && count == width) {
          simd::load_transposed(from, weight.ld, width, width, column);
          AULOS_UNROLL for (Index e = 0; e < width; ++e) {
            AULOS_UNROLL for (int i = 0; i < rows; ++i) acc[i] =
                simd::fma(Batch(x[i * ldx + p + e]), column[e], acc[i]);
          }
        } else {
          simd::load_transposed_part(from, weight.ld, lanes, count, column);
          for (Index e = 0; e < count; ++e) {
            AULOS_UNROLL for (int i = 0; i < rows; ++i) acc[i] =
                simd::fma(Batch(x[i * ldx + p + e]), column[e], acc[i]);
          }
        }
      }
    }
    AULOS_UNROLL for (int i = 0; i < rows; ++i) sum[i] = begin == 0 ? acc[i] : sum[i] + acc[i];
    begin = end;
  } while (begin < k);
  AULOS_UNROLL for (int i = 0; i < rows; ++i) simd::store(out + i * gemm_cols<T>, sum[i]);
}

// tile [rows, gemm_cols] = x [rows, k] times the transpose of W [lanes, k], 1 <= rows <= gemm_few_rows, lanes <=
// gemm_cols.
template <class T, int most = static_cast<int>(gemm_few_rows)>
void multiply_few_rows(Index rows, Index k, const T* x, Index ldx, const T* w, Index ldw, Index lanes,
                       T* tile) noexcept {
  if constexpr (most > 1) {
    if (rows < most) return multiply_few_rows<T, most - 1>(rows, k, x, ldx, w, ldw, lanes, tile);
  }
  constexpr Index width = simd::lanes<T>;
  for (Index j = 0; j < lanes; j += width) {
    multiply_rows<T, most>(k, x, ldx, w + j * ldw, ldw, (std::min)(width, lanes - j), tile + j);
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::detail
