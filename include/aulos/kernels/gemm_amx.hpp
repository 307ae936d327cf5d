// Products of rounded operands by matrix tiles (AMX): 32 x 32 sums in four tiles, whatever the number of rows, so that
// a row's bits don't depend on it. Empty where a panel isn't two tiles wide.
#pragma once

#include <cstddef>
#include <cstring>

#include "aulos/core/numeric.hpp"
#include "aulos/kernels/gemm_tile.hpp"
#include "aulos/simd/amx.hpp"

#if defined(__AVX512F__)
namespace aulos::inline AULOS_ISA::kernels::detail {

inline constexpr Index amx_rows = 32, amx_words = 16;

// Where strips [depth / 16][32 rows][16 words] keep words `word`.. of a row: each block of 16 rows is a tile.
constexpr Index amx_place(Index row, Index word) noexcept { return (word / amx_words * amx_rows + row) * amx_words; }
constexpr Index amx_depth(Index depth) noexcept { return (depth + amx_words - 1) / amx_words * amx_words; }

// sums [32, 32] (or their first 16 rows), rows `ld` apart, = the strip's `count` words from a multiple of 16 on, times
// a panel [count][32]; with `add` += that. The strip is zero behind its depth.
template <Numeric mode, int halves>
[[gnu::noinline]] void multiply_amx(Index count, const float* strip, const float* panel, float* sums, Index ld,
                                    bool add, Ahead ahead) noexcept {
  using Block = simd::TileBlock<mode, halves>;
  constexpr Index row_bytes = 64, panel_bytes = 128;
  static_assert(gemm_cols<float> == 32);
  const Index sum_bytes = ld * Index(sizeof(float));
  if (add) {
    Block::load(sums, sum_bytes);
  } else {
    Block::zero();
  }
  Index p = 0;
  for (; p + amx_words <= count; p += amx_words) {
    for (Index byte = 0; byte < amx_words * ahead.step; byte += 64) __builtin_prefetch(ahead.data + byte, 0, 2);
    ahead.data += amx_words * ahead.step;
    Block::add(strip, row_bytes, panel, panel_bytes);
    strip += amx_rows * amx_words;
    panel += amx_words * 32;
  }
  if (p < count) {  // what lies behind the panel may be no number
    alignas(64) float rest[static_cast<std::size_t>(amx_words * 32)] = {};
    std::memcpy(rest, panel, static_cast<std::size_t>((count - p) * 32) * sizeof(float));
    Block::add(strip, row_bytes, rest, panel_bytes);
  }
  Block::store(sums, sum_bytes);
}

// `out` (+)= the product of `valid` rows, as multiply_tile; writes just those rows.
template <Numeric mode>
void multiply_amx_strip(Index valid, Index count, const float* strip, const float* panel, TileOut<float> out,
                        Ahead ahead = {}) noexcept {
  constexpr Index width = simd::lanes<float>, cols = 32;
  alignas(64) float space[static_cast<std::size_t>(amx_rows * cols)];
  const Index ld = out.ld == 0 ? cols : out.ld;
  const bool whole = valid % 16 == 0;  // tiles write `out` themselves
  float* sums = whole ? out.data : space;
  const Index sums_ld = whole ? ld : cols;
  const auto each = [&](const auto& body) {
    for (Index i = 0; i < valid; ++i) {
      for (Index j = 0; j < cols; j += width) body(sums + i * sums_ld + j, out.data + i * ld + j, j);
    }
  };
  if (!whole && out.add) each([](float* sum, const float* to, Index) { simd::store(sum, simd::load(to)); });
  if (valid <= 16) {
    multiply_amx<mode, 1>(count, strip, panel, sums, sums_ld, out.add, ahead);
  } else {
    multiply_amx<mode, 2>(count, strip, panel, sums, sums_ld, out.add, ahead);
  }
  if (mode == Numeric::bf16 && out.bias) {
    each([&](const float* sum, float* to, Index j) { simd::store(to, simd::load(sum) + simd::load(out.bias + j)); });
  } else if (!whole) {
    each([](const float* sum, float* to, Index) { simd::store(to, simd::load(sum)); });
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::detail
#endif
