// Products of rounded operands by matrix tiles (AMX): 32 x 32 sums in four tiles, whatever the number of rows, so that
// a row's bits don't depend on it. Nothing of it where a panel isn't two tiles wide.
#pragma once

#include <cstddef>
#include <cstring>

#include "aulos/core/numeric.hpp"
#include "aulos/kernels/gemm_tile.hpp"
#include "aulos/simd/amx.hpp"

namespace aulos::inline AULOS_ISA::kernels::detail {

// Lines of y, rows `ld` apart, that are written when the sums are ready: asked for while tiles are multiplied.
struct WriteAhead {
  const float* data = nullptr;
  Index ld = 0;
};

#if defined(__AVX512F__)
inline constexpr Index amx_rows = 32, amx_words = 16;

// Where strips [depth / 16][32 rows][16 words] keep words `word`.. of a row: each block of 16 rows is a tile.
constexpr Index amx_place(Index row, Index word) noexcept { return (word / amx_words * amx_rows + row) * amx_words; }
constexpr Index amx_depth(Index depth) noexcept { return (depth + amx_words - 1) / amx_words * amx_words; }

// out [32, 32], or its first 16 rows, = the strip's `count` words from a multiple of 16 on, times a panel [count][32],
// added to out.bias (at the beginning: no sum is read again) or, with `add`, to what is there. The strip is zero behind
// its depth.
template <Numeric mode, int halves>
[[gnu::noinline]] void multiply_amx(Index count, const float* strip, const float* panel, TileOut<float> out,
                                    Ahead ahead, WriteAhead y) noexcept {
  using Block = simd::TileBlock<mode, halves>;
  constexpr Index row_bytes = 64, panel_bytes = 128, rows = 16 * halves;
  static_assert(gemm_cols<float> == 32);
  const Index out_bytes = (out.ld == 0 ? 32 : out.ld) * Index(sizeof(float));
  if (out.add) {
    Block::load(out.data, out_bytes);
  } else if (out.bias) {
    Block::load_row(out.bias);
  } else {
    Block::zero();
  }
  Index p = 0, asked = y.data ? 0 : rows;
  for (; p + amx_words <= count; p += amx_words) {
    for (Index byte = 0; byte < amx_words * ahead.step; byte += 64) __builtin_prefetch(ahead.data + byte, 0, 2);
    ahead.data += amx_words * ahead.step;
    for (; asked < rows && asked * count < (p + amx_words) * rows; ++asked, y.data += y.ld) {
      __builtin_prefetch(y.data, 1);
      __builtin_prefetch(y.data + 16, 1);
    }
    if constexpr (mode == Numeric::int8) {  // short chunks: the panel is to stay in the cache
      Block::add(strip, row_bytes, panel, panel_bytes, [](int) {});
    } else if constexpr (halves == 2) {  // strips are asked for ahead: 1 to 7 % faster than panels
      Block::add(strip, row_bytes, panel, panel_bytes,
                 Block::asking_for(strip + 2 * amx_rows * amx_words, 2 * row_bytes));
    } else {
      Block::add(strip, row_bytes, panel, panel_bytes);
    }
    strip += amx_rows * amx_words;
    panel += amx_words * 32;
  }
  if (p < count) {  // what lies behind the panel may be no number
    alignas(64) float rest[static_cast<std::size_t>(amx_words * 32)] = {};
    std::memcpy(rest, panel, static_cast<std::size_t>((count - p) * 32) * sizeof(float));
    Block::add(strip, row_bytes, rest, panel_bytes);
  }
  Block::store(out.data, out_bytes);
}

// The same for `valid` rows; writes 16 or 32 all the same.
template <Numeric mode>
void multiply_amx_strip(Index valid, Index count, const float* strip, const float* panel, TileOut<float> out,
                        Ahead ahead = {}, WriteAhead y = {}) noexcept {
  constexpr Index worth = 4 * amx_words;  // shorter products write what the cache still holds
  if (count < worth || valid % 16 != 0) y = {};
  if (valid <= 16) {
    multiply_amx<mode, 1>(count, strip, panel, out, ahead, y);
  } else {
    multiply_amx<mode, 2>(count, strip, panel, out, ahead, y);
  }
}

#endif

}  // namespace aulos::inline AULOS_ISA::kernels::detail
