// Few rows times a weight in canonical rows: reads the weight once, in place, k in the order of the register tile.
#pragma once

#include <algorithm>

#include "aulos/kernels/gemm_tile.hpp"
#include "aulos/simd/transpose.hpp"

namespace aulos::inline AULOS_ISA::kernels::detail {

// One column of `lanes` <= gemm_cols rows of W at k: lane r = w[r * ldw].
template <class T>
inline void load_column(const T* w, Index ldw, Index lanes, simd::Batch<T> (&column)[2]) noexcept {
  alignas(64) T buffer[static_cast<std::size_t>(gemm_cols<T>)] = {};
  for (Index r = 0; r < lanes; ++r) buffer[r] = w[r * ldw];
  column[0] = simd::load(buffer);
  column[1] = simd::load(buffer + simd::lanes<T>);
}

// tile [rows, gemm_cols] = x [rows, k] times the transpose of W [lanes, k], lanes <= gemm_cols. The lanes are rows of
// W, transposed in registers; memory-bound on W.
template <class T, int rows>
[[gnu::noinline]] void multiply_rows(Index k, const T* x, Index ldx, const T* w, Index ldw, Index lanes,
                                     T* tile) noexcept {
  using Batch = simd::Batch<T>;
  constexpr int width = static_cast<int>(simd::lanes<T>), step = static_cast<int>(simd::transpose_width<T>);
  constexpr int line = static_cast<int>(64 / sizeof(T));
  Batch sum[static_cast<std::size_t>(rows)][2];
  AULOS_UNROLL for (int i = 0; i < rows; ++i) sum[i][0] = sum[i][1] = Batch(T(0));
  Index begin = 0;
  do {
    Batch acc[static_cast<std::size_t>(rows)][2];
    AULOS_UNROLL for (int i = 0; i < rows; ++i) acc[i][0] = acc[i][1] = Batch(T(0));
    const Index end = begin + std::min(gemm_k_chunk, k - begin);
    Index p = begin;
    if (lanes == gemm_cols<T>) {
      // Whole cache lines of half of the rows at a time: rows a power of two apart share few cache sets.
      for (; p + line <= end; p += line) {
        AULOS_UNROLL for (int half = 0; half < 2; ++half) {
#ifdef PF
          for (int r = 0; r < width; ++r) __builtin_prefetch(w + (half * width + r) * ldw + p + PF);
#endif
          AULOS_UNROLL for (int q = 0; q < line; q += step) {
            Batch column[static_cast<std::size_t>(step)];
            simd::load_transposed<width>(w + half * width * ldw + p + q, ldw, column);
            AULOS_UNROLL for (int e = 0; e < step; ++e) {
              AULOS_UNROLL for (int i = 0; i < rows; ++i) {
                acc[i][half] = simd::fma(Batch(x[i * ldx + p + q + e]), column[e], acc[i][half]);
              }
            }
          }
        }
      }
    }
    for (; p < end; ++p) {
      Batch column[2];
      load_column(w + p, ldw, lanes, column);
      AULOS_UNROLL for (int i = 0; i < rows; ++i) {
        const Batch value(x[i * ldx + p]);
        acc[i][0] = simd::fma(value, column[0], acc[i][0]);
        acc[i][1] = simd::fma(value, column[1], acc[i][1]);
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
