// The register tile of the matrix product: the one place that says in which order a product is summed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "aulos/simd/batch.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// How panels store a weight: as T, or as bf16, which the kernel widens (exactly) before it multiplies.
enum class PanelType { same, bf16 };

// y [m, n], x [m, k], W [n, k].
struct GemmShape {
  Index m, n, k;
};

namespace detail {

// THE order of a sum over k, everywhere: sum of chunks in order, within a chunk acc = fma(a_k, b_k, acc) from 0 in
// order. It depends on nothing but k, so that a row's result does not depend on m, on tiles, pieces, threads or
// storage.
inline constexpr Index gemm_k_chunk = 1536;

// Rows of the tile: accumulators (two batches wide), two batches of B and a broadcast fill the register file.
#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr int gemm_rows = 12;
inline constexpr bool gemm_many_registers = true;
#elif defined(__AVX__)
inline constexpr int gemm_rows = 6;
inline constexpr bool gemm_many_registers = false;
#else
inline constexpr int gemm_rows = 4;
inline constexpr bool gemm_many_registers = false;
#endif

// Columns of a panel and of the tile.
template <class T>
inline constexpr int gemm_cols = 2 * static_cast<int>(simd::lanes<T>);

// Products of at most this many rows read x in place and several panels at once (they wait for the weights).
inline constexpr Index gemm_few_rows = 4;

template <class T, PanelType type>
using PanelElement = std::conditional_t<type == PanelType::same, T, std::uint16_t>;

// Row k of a panel. bf16 panels hold column j and column j + lanes side by side: one load gives both batches.
template <PanelType type, class T>
[[gnu::always_inline]] inline void load_panel_row(const PanelElement<T, type>* b,
                                                  simd::Batch<T> (&column)[2]) noexcept {
  if constexpr (type == PanelType::same) {
    column[0] = simd::load(b);
    column[1] = simd::load(b + simd::lanes<T>);
  } else {
    static_assert(std::is_same_v<T, float>, "bf16 panels of double are widened before use");
    const auto pair = simd::to_bits(simd::load(reinterpret_cast<const float*>(b)));
    column[0] = simd::from_bits<simd::Batch<T>>(pair << 16);
    column[1] = simd::from_bits<simd::Batch<T>>(pair & simd::Bits<simd::Batch<T>>(0xffff0000u));
  }
}

// tile [rows, panels * gemm_cols] = A B over all of k. A: element (i, p) at a[i * row_stride + p * k_stride], of which
// row_stride = 1, k_stride = gemm_rows (packed strip) and k_stride = 1 (rows of x in place) are compiled. B: `panels`
// panels [k][gemm_cols], `panel_stride` elements apart. rows * panels <= gemm_rows.
template <class T, PanelType type, int rows, int panels, bool packed>
[[gnu::noinline]] void multiply_tile(Index k, const T* a, Index row_stride, const PanelElement<T, type>* b,
                                     Index panel_stride, T* tile) noexcept {
  using Batch = simd::Batch<T>;
  constexpr int width = static_cast<int>(simd::lanes<T>), cols = gemm_cols<T>;
  constexpr Index k_stride = packed ? gemm_rows : 1;
  if constexpr (packed) row_stride = 1;
  Index begin = 0;
  do {
    Batch acc[static_cast<std::size_t>(rows)][static_cast<std::size_t>(2 * panels)];
    AULOS_UNROLL for (int i = 0; i < rows; ++i) {
      AULOS_UNROLL for (int j = 0; j < 2 * panels; ++j) acc[i][j] = Batch(T(0));
    }
    const Index chunk = k - begin < gemm_k_chunk ? k - begin : gemm_k_chunk;
    for (Index p = 0; p < chunk; ++p, a += k_stride, b += cols) {
      AULOS_UNROLL for (int q = 0; q < panels; ++q) {
        Batch column[2];
        load_panel_row<type, T>(b + q * panel_stride, column);
        AULOS_UNROLL for (int i = 0; i < rows; ++i) {
          const Batch x(a[i * row_stride]);
          acc[i][2 * q] = simd::fma(x, column[0], acc[i][2 * q]);
          acc[i][2 * q + 1] = simd::fma(x, column[1], acc[i][2 * q + 1]);
        }
      }
    }
    if (begin == 0) {
      AULOS_UNROLL for (int i = 0; i < rows; ++i) {
        AULOS_UNROLL for (int j = 0; j < 2 * panels; ++j) simd::store(tile + (i * 2 * panels + j) * width, acc[i][j]);
      }
    } else {
      AULOS_UNROLL for (int i = 0; i < rows; ++i) {
        AULOS_UNROLL for (int j = 0; j < 2 * panels; ++j) {
          T* sum = tile + (i * 2 * panels + j) * width;
          simd::store(sum, simd::load(sum) + acc[i][j]);
        }
      }
    }
    begin += chunk;
  } while (begin < k);
}

// A packed strip of `rows` <= gemm_rows valid rows times one panel; odd counts take the next even tile.
template <class T, PanelType type, int tile_rows = gemm_rows>
void multiply_strip(Index rows, Index k, const T* strip, const PanelElement<T, type>* panel, T* tile) noexcept {
  if constexpr (tile_rows > 2) {
    if (rows <= tile_rows - 2) return multiply_strip<T, type, tile_rows - 2>(rows, k, strip, panel, tile);
  }
  multiply_tile<T, type, tile_rows, 1, true>(k, strip, 1, panel, 0, tile);
}

}  // namespace detail
}  // namespace aulos::inline AULOS_ISA::kernels
