// The register tile of the matrix product: the one place that says in which order a product is summed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "aulos/core/numeric.hpp"
#include "aulos/simd/batch.hpp"
#include "aulos/simd/dot_bf16.hpp"

namespace aulos::inline AULOS_ISA::kernels {

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

// What the panels of a stored weight hold: T; bf16 in pairs along k, [k / 2][gemm_cols][2]; 8 bits in fours,
// [k / 4][gemm_cols][4]. The last pair or four is filled up with zeros.
template <class T, Numeric storage>
using PanelElement = std::conditional_t<storage == Numeric::exact, T,
                                        std::conditional_t<storage == Numeric::bf16, std::uint16_t, std::int8_t>>;

// p += step, here and now: compilers would compute the addresses of all rows of a tile beforehand, and move them in and
// out of vector registers.
template <class P>
[[gnu::always_inline]] inline void advance(P*& p, Index step) noexcept {
  p += step;
  asm volatile("" : "+r"(p));
}

// What makes numbers of integer sums: (sum - offset) * (row * column), an offset and a step for each column, a step for
// each row.
struct TileSteps {
  const float *rows = nullptr, *columns = nullptr;
  const std::uint32_t* offsets = nullptr;
};

// Where a tile goes: rows `ld` elements apart (0: as wide as the tile), added to what is there with `add`, `bias` (a
// number for each column) added last. Integer sums become numbers if `steps` has rows (only without `add`).
template <class T>
struct TileOut {
  T* data;
  Index ld = 0;
  const T* bias = nullptr;
  bool add = false;
  TileSteps steps = {};

  TileOut(T* to, Index stride = 0, const T* with_bias = nullptr, bool adds = false) noexcept
      : data(to), ld(stride), bias(with_bias), add(adds) {}

  // Asks for the lines of `rows` rows `stride` apart, to be written when the sums are ready: by then they have come.
  [[gnu::always_inline]] void prefetch(int rows, int columns, Index stride) const noexcept {
    const T* row = data;
    AULOS_UNROLL for (int i = 0; i < rows; ++i) {
      AULOS_UNROLL for (int j = 0; j < columns; j += static_cast<int>(64 / sizeof(T))) __builtin_prefetch(row + j, 1);
      advance(row, stride);
    }
  }
};

// The order of the two products of a bf16 pair: k as always, or as vdpbf16ps takes them.
enum class PairOrder { ascending, upper_first };

// acc += a (one number for each row) times a panel row of two batches, in the columns from `first` on.
template <class T, int rows, int columns>
[[gnu::always_inline]] inline void add_products(
    const T* a, Index row_stride, simd::Batch<T> column0, simd::Batch<T> column1, int first,
    simd::Batch<T> (&acc)[static_cast<std::size_t>(rows)][static_cast<std::size_t>(columns)]) noexcept {
  AULOS_UNROLL for (int i = 0; i < rows; ++i) {
    const simd::Batch<T> x(a[i * row_stride]);
    acc[i][first] = simd::fma(x, column0, acc[i][first]);
    acc[i][first + 1] = simd::fma(x, column1, acc[i][first + 1]);
  }
}

// What a tile asks the caches for while it multiplies: `step` bytes for each row of its panel (0: nothing). Tiles of
// one panel share what the next one needs, so that it is near when its turn comes.
struct Ahead {
  const std::byte* data = nullptr;
  Index step = 0;
};

// `out` [rows, panels * gemm_cols] = A B over all of k; with `add` k follows whole chunks. A: element (i, p) at
// a[i * row_stride + p * k_stride], of which row_stride = 1, k_stride = gemm_rows (packed strip) and k_stride = 1 (rows
// of x in place) are compiled. B: `panels` panels of T or of bf16, which is widened exactly (T is float),
// `panel_stride` elements apart. rows * panels <= gemm_rows.
template <class T, Numeric storage, int rows, int panels, bool packed, PairOrder order = PairOrder::ascending>
[[gnu::noinline]] void multiply_tile(Index k, const T* a, Index row_stride, const PanelElement<T, storage>* b,
                                     Index panel_stride, TileOut<T> out, Ahead ahead = {}) noexcept {
  static_assert(storage == Numeric::exact || (storage == Numeric::bf16 && std::is_same_v<T, float>),
                "other panels are widened before use");
  using Batch = simd::Batch<T>;
  constexpr int width = static_cast<int>(simd::lanes<T>), cols = gemm_cols<T>;
  constexpr Index k_stride = packed ? gemm_rows : 1;
  constexpr bool strips = panels == 1;  // of which a product has many: memory is asked for beside them
  if constexpr (packed) row_stride = 1;
  const Index ld = out.ld == 0 ? panels * cols : out.ld;
  if constexpr (strips) out.prefetch(rows, panels * cols, ld);
  Index begin = 0;
  do {
    Batch acc[static_cast<std::size_t>(rows)][static_cast<std::size_t>(2 * panels)];
    AULOS_UNROLL for (int i = 0; i < rows; ++i) {
      AULOS_UNROLL for (int j = 0; j < 2 * panels; ++j) acc[i][j] = Batch(T(0));
    }
    const Index chunk = k - begin < gemm_k_chunk ? k - begin : gemm_k_chunk;
    if constexpr (storage == Numeric::exact) {
      // Nothing else to add: the last steps are taken row by row, each row stored while others are multiplied. A store
      // of a batch may take two cycles, as long as two multiply-adds.
      constexpr int last = strips && gemm_many_registers ? 2 : 1;
      const bool alone = chunk == k && chunk >= last && !out.add;
      const auto step = [&] {
        AULOS_UNROLL for (int q = 0; q < panels; ++q) {
          const T* row = b + q * panel_stride;
          add_products<T, rows, 2 * panels>(a, row_stride, simd::load(row), simd::load(row + width), 2 * q, acc);
        }
        a += k_stride;
        b += cols;
      };
      Index left = chunk - (alone ? last : 0);
      for (; left >= 4; left -= 4) {
        if (strips && ahead.step != 0) {
          AULOS_UNROLL for (int i = 0; i < 4; ++i) __builtin_prefetch(ahead.data + i * ahead.step, 0, 2);
          ahead.data += 4 * ahead.step;
        }
        AULOS_UNROLL for (int i = 0; i < 4; ++i) step();
      }
      for (; left > 0; --left) step();
      if (alone) {
        Batch column[static_cast<std::size_t>(last)][static_cast<std::size_t>(2 * panels)];
        Batch bias[static_cast<std::size_t>(2 * panels)];
        AULOS_UNROLL for (int j = 0; j < 2 * panels; ++j) {
          AULOS_UNROLL for (int p = 0; p < last; ++p) {
            column[p][j] = simd::load(b + p * cols + j / 2 * panel_stride + j % 2 * width);
          }
          bias[j] = out.bias ? simd::load(out.bias + j * width) : Batch(T(-0.0));
        }
        T* row = out.data;
        AULOS_UNROLL for (int i = 0; i < rows; ++i) {
          AULOS_UNROLL for (int p = 0; p < last; ++p) {
            const Batch x(a[i * row_stride + p * k_stride]);
            AULOS_UNROLL for (int j = 0; j < 2 * panels; ++j) acc[i][j] = simd::fma(x, column[p][j], acc[i][j]);
          }
          AULOS_UNROLL for (int j = 0; j < 2 * panels; ++j) simd::store(row + j * width, acc[i][j] + bias[j]);
          advance(row, ld);
        }
        return;
      }
    } else {
      const auto pairs = [panel_stride](const std::uint16_t* p, int q, int half) {
        return simd::to_bits(simd::load(reinterpret_cast<const float*>(p + q * panel_stride + half * cols)));
      };
      constexpr bool upper_first = order == PairOrder::upper_first;
      for (Index p = chunk / 2; p > 0; --p, a += 2 * k_stride, b += 2 * cols) {
        if (strips && ahead.step != 0) __builtin_prefetch(ahead.data, 0, 2);
        ahead.data += ahead.step;
        AULOS_UNROLL for (int q = 0; q < panels; ++q) {
          const auto p0 = pairs(b, q, 0), p1 = pairs(b, q, 1);
          const Batch lower0 = simd::lower_bf16(p0), lower1 = simd::lower_bf16(p1);
          const Batch upper0 = simd::upper_bf16(p0), upper1 = simd::upper_bf16(p1);
          if constexpr (upper_first) {
            add_products<T, rows, 2 * panels>(a + k_stride, row_stride, upper0, upper1, 2 * q, acc);
            add_products<T, rows, 2 * panels>(a, row_stride, lower0, lower1, 2 * q, acc);
          } else {
            add_products<T, rows, 2 * panels>(a, row_stride, lower0, lower1, 2 * q, acc);
            add_products<T, rows, 2 * panels>(a + k_stride, row_stride, upper0, upper1, 2 * q, acc);
          }
        }
      }
      if (chunk % 2 != 0) {
        AULOS_UNROLL for (int q = 0; q < panels; ++q) {
          const auto p0 = pairs(b, q, 0), p1 = pairs(b, q, 1);
          add_products<T, rows, 2 * panels>(a, row_stride, simd::lower_bf16(p0), simd::lower_bf16(p1), 2 * q, acc);
        }
      }
    }
    if (begin > 0 || out.add) {
      const T* row = out.data;
      AULOS_UNROLL for (int i = 0; i < rows; ++i) {
        AULOS_UNROLL for (int j = 0; j < 2 * panels; ++j) acc[i][j] = simd::load(row + j * width) + acc[i][j];
        advance(row, ld);
      }
    }
    if (out.bias && begin + chunk == k) {
      AULOS_UNROLL for (int j = 0; j < 2 * panels; ++j) {
        const Batch bias = simd::load(out.bias + j * width);
        AULOS_UNROLL for (int i = 0; i < rows; ++i) acc[i][j] = acc[i][j] + bias;
      }
    }
    T* row = out.data;
    AULOS_UNROLL for (int i = 0; i < rows; ++i) {
      AULOS_UNROLL for (int j = 0; j < 2 * panels; ++j) simd::store(row + j * width, acc[i][j]);
      advance(row, ld);
    }
    begin += chunk;
  } while (begin < k);
}

// `rows` <= gemm_rows rows times one panel: a packed strip, or rows of x in place, `row_stride` apart. Odd counts of a
// strip take the next even tile, whose last row is written too.
template <class T, Numeric storage, PairOrder order = PairOrder::ascending, bool packed = true,
          int tile_rows = gemm_rows>
void multiply_strip(Index rows, Index k, const T* strip, const PanelElement<T, storage>* panel, TileOut<T> out,
                    Ahead ahead = {}, Index row_stride = 1) noexcept {
  if constexpr (tile_rows > 2) {
    if (rows <= tile_rows - 2) {
      return multiply_strip<T, storage, order, packed, tile_rows - 2>(rows, k, strip, panel, out, ahead, row_stride);
    }
  }
  multiply_tile<T, storage, tile_rows, 1, packed, order>(k, strip, row_stride, panel, 0, out, ahead);
}

}  // namespace detail
}  // namespace aulos::inline AULOS_ISA::kernels
