// Products of rounded operands by matrix tiles (AMX): 32 x 32 sums in four tiles, whatever the number of rows, so that
// a row's bits don't depend on it. Empty where the build has no tiles.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "aulos/core/numeric.hpp"
#include "aulos/kernels/gemm_tile.hpp"
#include "aulos/simd/amx.hpp"
#include "aulos/simd/dot_int8.hpp"

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AMX_INT8__)
namespace aulos::inline AULOS_ISA::kernels::detail {

inline constexpr Index amx_rows = 32, amx_words = 16;

// Where strips [depth / 16][32 rows][16 words] keep words `word`.. of a row: each block of 16 rows is a tile.
constexpr Index amx_place(Index row, Index word) noexcept { return (word / amx_words * amx_rows + row) * amx_words; }
constexpr Index amx_depth(Index depth) noexcept { return (depth + amx_words - 1) / amx_words * amx_words; }

// sums [32, 32] (or their first 16 rows) = the strip's `count` words from a multiple of 16 on, times a panel
// [count][32]. The strip is zero behind its depth.
template <Numeric mode, int halves>
[[gnu::noinline]] void multiply_amx(Index count, const float* strip, const float* panel, float* sums,
                                    Ahead ahead) noexcept {
  constexpr Index row_bytes = 64, panel_bytes = 128;
  static_assert(gemm_cols<float> == 32);
  const auto step = [](const float* a, const float* b) {
    simd::load_tile<6>(b, panel_bytes);
    simd::load_tile<7>(b + 16, panel_bytes);
    simd::load_tile<4>(a, row_bytes);
    if constexpr (halves == 2) simd::load_tile<5>(a + 16 * amx_words, row_bytes);
    if constexpr (mode == Numeric::bf16) {
      simd::multiply_tiles_bf16<0, 4, 6>();
      simd::multiply_tiles_bf16<1, 4, 7>();
      if constexpr (halves == 2) simd::multiply_tiles_bf16<2, 5, 6>();
      if constexpr (halves == 2) simd::multiply_tiles_bf16<3, 5, 7>();
    } else {
      simd::multiply_tiles_int8<0, 4, 6>();
      simd::multiply_tiles_int8<1, 4, 7>();
      if constexpr (halves == 2) simd::multiply_tiles_int8<2, 5, 6>();
      if constexpr (halves == 2) simd::multiply_tiles_int8<3, 5, 7>();
    }
  };
  simd::zero_tile<0>();
  simd::zero_tile<1>();
  simd::zero_tile<2>();
  simd::zero_tile<3>();
  Index p = 0;
  for (; p + amx_words <= count; p += amx_words) {
    for (Index byte = 0; byte < amx_words * ahead.step; byte += 64) __builtin_prefetch(ahead.data + byte, 0, 2);
    ahead.data += amx_words * ahead.step;
    step(strip, panel);
    strip += amx_rows * amx_words;
    panel += amx_words * 32;
  }
  if (p < count) {  // what lies behind the panel may be no number
    alignas(64) float rest[static_cast<std::size_t>(amx_words * 32)] = {};
    std::memcpy(rest, panel, static_cast<std::size_t>((count - p) * 32) * sizeof(float));
    step(strip, rest);
  }
  simd::store_tile<0>(sums, panel_bytes);
  simd::store_tile<1>(sums + 16, panel_bytes);
  if constexpr (halves == 2) simd::store_tile<2>(sums + 16 * 32, panel_bytes);
  if constexpr (halves == 2) simd::store_tile<3>(sums + 16 * 32 + 16, panel_bytes);
}

// `out` (+)= the product of `valid` rows, as multiply_tile; writes just those rows.
template <Numeric mode>
void multiply_amx_strip(Index valid, Index count, const float* strip, const float* panel, TileOut<float> out,
                        Ahead ahead = {}) noexcept {
  constexpr Index width = simd::lanes<float>;
  alignas(64) float sums[static_cast<std::size_t>(amx_rows * 32)];
  if (valid <= 16) {
    multiply_amx<mode, 1>(count, strip, panel, sums, ahead);
  } else {
    multiply_amx<mode, 2>(count, strip, panel, sums, ahead);
  }
  const Index ld = out.ld == 0 ? 32 : out.ld;
  for (Index j = 0; j < 32; j += width) {
    const bool adds = mode == Numeric::bf16 && out.bias;
    const simd::Batch<float> bias = adds ? simd::load(out.bias + j) : simd::Batch<float>(0.0f);
    for (Index i = 0; i < valid; ++i) {
      float* to = out.data + i * ld + j;
      simd::Batch<float> sum = simd::load(sums + i * 32 + j);
      if constexpr (mode == Numeric::bf16) {
        if (out.add) sum = simd::load(to) + sum;
      } else {
        if (out.add) sum = simd::from_bits<simd::Batch<float>>(simd::to_bits(simd::load(to)) + simd::to_bits(sum));
      }
      simd::store(to, adds ? sum + bias : sum);
    }
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::detail
#endif
