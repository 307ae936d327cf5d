// Few rows times a weight in canonical rows: reads the weight once, in place, k in the order of the register tile.
#pragma once

#include <algorithm>

#include "aulos/kernels/gemm_pack.hpp"
#include "aulos/kernels/gemm_tile.hpp"
#include "aulos/simd/transpose.hpp"

namespace aulos::inline AULOS_ISA::kernels::detail {

// tile [rows, gemm_cols] = x [rows, k] times the transpose of W [lanes, k], lanes <= gemm_cols. The lanes are rows of
// W, transposed in registers; memory-bound on W.
template <class T, int rows>
[[gnu::noinline]] void multiply_rows(Index k, const T* x, Index ldx, const T* w, Index ldw, Index lanes,
                                     T* tile) noexcept {
  using Batch = simd::Batch<T>;
  constexpr Index width = simd::lanes<T>;
  RowBlocks<gemm_cols<T>, T> blocks(ldw);
  Batch sum[static_cast<std::size_t>(rows)][2];
  AULOS_UNROLL for (int i = 0; i < rows; ++i) sum[i][0] = sum[i][1] = Batch(T(0));
  Index begin = 0;
  do {
    Batch acc[static_cast<std::size_t>(rows)][2];
    AULOS_UNROLL for (int i = 0; i < rows; ++i) acc[i][0] = acc[i][1] = Batch(T(0));
    const Index end = begin + (std::min)(gemm_k_chunk, k - begin);
    for (Index block = begin; block < end; block += blocks.depth) {
      const Index block_end = (std::min)(block + blocks.depth, end);
      const auto weight = blocks.block(w + block, lanes, block_end - block);
      for (Index p = block; p < block_end; p += width) {
        const Index count = (std::min)(width, block_end - p);
        AULOS_UNROLL for (int half = 0; half < 2; ++half) {
          const T* from = weight.data + half * width * weight.ld + (p - block);
          const Index used = std::clamp<Index>(lanes - half * width, 0, width);
          Batch column[static_cast<std::size_t>(width)];
          if (used == width && count == width) {
            simd::load_transposed(from, weight.ld, width, width, column);
            AULOS_UNROLL for (Index e = 0; e < width; ++e) {
              AULOS_UNROLL for (int i = 0; i < rows; ++i) {
                acc[i][half] = simd::fma(Batch(x[i * ldx + p + e]), column[e], acc[i][half]);
              }
            }
          } else {
            simd::load_transposed_part(from, weight.ld, used, count, column);
            for (Index e = 0; e < count; ++e) {
              AULOS_UNROLL for (int i = 0; i < rows; ++i) {
                acc[i][half] = simd::fma(Batch(x[i * ldx + p + e]), column[e], acc[i][half]);
              }
            }
          }
        }
      }
    }
    AULOS_UNROLL for (int i = 0; i < rows; ++i) {
      AULOS_UNROLL for (int j = 0; j < 2; ++j) sum[i][j] = begin == 0 ? acc[i][j] : sum[i][j] + acc[i][j];
    }
    begin = end;
  } while (begin < k);
  AULOS_UNROLL for (int i = 0; i < rows; ++i) {
    AULOS_UNROLL for (int j = 0; j < 2; ++j) simd::store(tile + (2 * i + j) * width, sum[i][j]);
  }
}

// The same for a row count known at run time, 1 <= rows <= gemm_few_rows.
template <class T, int most = static_cast<int>(gemm_few_rows)>
void multiply_few_rows(Index rows, Index k, const T* x, Index ldx, const T* w, Index ldw, Index lanes,
                       T* tile) noexcept {
  if constexpr (most > 1) {
    if (rows < most) return multiply_few_rows<T, most - 1>(rows, k, x, ldx, w, ldw, lanes, tile);
  }
  multiply_rows<T, most>(k, x, ldx, w, ldw, lanes, tile);
}

}  // namespace aulos::inline AULOS_ISA::kernels::detail
