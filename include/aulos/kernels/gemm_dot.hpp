// The register tile of products whose operands are rounded: 32-bit words of two bf16 or of four 8-bit numbers,
// multiplied and summed by one instruction where there is one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "aulos/core/numeric.hpp"
#include "aulos/kernels/gemm_tile.hpp"
#include "aulos/simd/dot_bf16.hpp"
#include "aulos/simd/dot_int8.hpp"

namespace aulos::inline AULOS_ISA::kernels::detail {

// How words are multiplied, in which order they are summed, and the sums' type. bf16: chunks of gemm_k_chunk numbers as
// everywhere, within one the pairs in order. int8: the sum is exact, modulo 2^32; the tile holds the integers' bits.
struct Bf16Dot {
  using Sum = simd::Batch<float>;
  static constexpr bool exact = false;
  static constexpr Index chunk = gemm_k_chunk / 2;  // in words

  static Sum zero() noexcept { return {0.0f}; }
  static Sum load(const float* p) noexcept { return simd::load(p); }
  static void store(float* p, Sum x) noexcept { simd::store(p, x); }
  static Sum dot(Sum acc, simd::Words a, simd::Words b) noexcept { return simd::dot_bf16(acc, a, b); }
};
struct Int8Dot {
  using Sum = simd::Words;
  static constexpr bool exact = true;  // in any order, from any first value
  static constexpr Index chunk = gemm_k_chunk;

  static Sum zero() noexcept { return Sum(0u); }
  static Sum load(const float* p) noexcept { return simd::to_bits(simd::load(p)); }
  static void store(float* p, Sum x) noexcept { simd::store(p, simd::from_bits<simd::Batch<float>>(x)); }
  static Sum dot(Sum acc, simd::Words a, simd::Words b) noexcept { return simd::dot_int8(acc, a, b); }
};

// Strips of words: rows in blocks, [depth / word_block][rows][word_block], which takes no transposition.
inline constexpr Index word_block = 16;
constexpr Index strip_depth(Index depth) noexcept { return (depth + word_block - 1) / word_block * word_block; }

// As multiply_tile (`bias` of integer sums only with `steps`, and those only of one chunk). A and B are words, whose
// bits floats hold: A packed in blocks of gemm_rows rows, from one of their rows on, or rows `row_stride` apart; B
// panels [depth][gemm_cols], `panel_stride` apart.
template <class Dot, int rows, int panels, bool packed>
[[gnu::noinline]] void multiply_words(Index depth, const float* a, Index row_stride, const float* b, Index panel_stride,
                                      TileOut<float> out, Ahead ahead = {}) noexcept {
  using Sum = typename Dot::Sum;
  using Number = simd::Batch<float>;
  constexpr int width = static_cast<int>(simd::lanes<float>), cols = gemm_cols<float>;
  if constexpr (packed) row_stride = word_block;
  const Index ld = out.ld == 0 ? panels * cols : out.ld;
  if (!ahead.data) ahead.data = reinterpret_cast<const std::byte*>(b);
  // y's lines are asked for at once, or, where there is time, some with each block, so that others get through too.
  const bool slowly = depth > 8 * word_block;
  Index asked = packed && slowly ? 0 : rows;
  const float* line = out.data;
  if (packed && !slowly) out.prefetch(rows, panels * cols, ld);
  Index begin = 0;
  do {
    Sum acc[static_cast<std::size_t>(rows)][static_cast<std::size_t>(2 * panels)];
    AULOS_UNROLL for (int j = 0; j < 2 * panels; ++j) {
      Sum first = Dot::zero();
      if constexpr (Dot::exact) {
        if (out.steps.rows) first = first - Dot::load(reinterpret_cast<const float*>(out.steps.offsets) + j * width);
      }
      AULOS_UNROLL for (int i = 0; i < rows; ++i) acc[i][j] = first;
    }
    const Index chunk = depth - begin < Dot::chunk ? depth - begin : Dot::chunk;
    // As in multiply_tile.
    const bool alone = chunk == depth && chunk > 0 && !out.add && (!Dot::exact || out.steps.rows);
    for (Index left = alone ? chunk - 1 : chunk; left > 0;) {
      const Index steps = packed && left > word_block ? word_block : left;
      for (Index end = asked + 2; asked < rows && asked < end; ++asked, line += ld) {
        AULOS_UNROLL for (int j = 0; j < panels * cols; j += 16) __builtin_prefetch(line + j, 1);
      }
      AULOS_UNROLL_4 for (Index p = 0; p < steps; ++p, ++a, b += cols) {
        if constexpr (packed) __builtin_prefetch(ahead.data, 0, 2);
        if constexpr (packed) ahead.data += ahead.step;
        AULOS_UNROLL for (int q = 0; q < panels; ++q) {
          const simd::Words column0 = simd::to_bits(simd::load(b + q * panel_stride));
          const simd::Words column1 = simd::to_bits(simd::load(b + q * panel_stride + width));
          AULOS_UNROLL for (int i = 0; i < rows; ++i) {
            const simd::Words x = simd::to_bits(simd::Batch<float>(a[i * row_stride]));
            acc[i][2 * q] = Dot::dot(acc[i][2 * q], x, column0);
            acc[i][2 * q + 1] = Dot::dot(acc[i][2 * q + 1], x, column1);
          }
        }
      }
      if (packed && steps == word_block) a += (gemm_rows - 1) * word_block;
      left -= steps;
    }
    if (alone) {
      simd::Words column[static_cast<std::size_t>(2 * panels)];
      Number bias[static_cast<std::size_t>(2 * panels)], step[static_cast<std::size_t>(2 * panels)];
      AULOS_UNROLL for (int j = 0; j < 2 * panels; ++j) {
        column[j] = simd::to_bits(simd::load(b + j / 2 * panel_stride + j % 2 * width));
        bias[j] = out.bias ? simd::load(out.bias + j * width) : Number(-0.0f);
        step[j] = Dot::exact ? simd::load(out.steps.columns + j * width) : Number(1.0f);
      }
      float* row = out.data;
      AULOS_UNROLL for (int i = 0; i < rows; ++i) {
        const simd::Words x = simd::to_bits(Number(a[i * row_stride]));
        AULOS_UNROLL for (int j = 0; j < 2 * panels; ++j) {
          const Sum sum = Dot::dot(acc[i][j], x, column[j]);
          if constexpr (Dot::exact) {
            const Number factor = Number(out.steps.rows[i]) * step[j];
            simd::store(row + j * width, simd::fma(simd::signed_to_float(sum), factor, bias[j]));
          } else {
            simd::store(row + j * width, sum + bias[j]);
          }
        }
        advance(row, ld);
      }
      return;
    }
    if (begin > 0 || out.add) {
      const float* row = out.data;
      AULOS_UNROLL for (int i = 0; i < rows; ++i) {
        AULOS_UNROLL for (int j = 0; j < 2 * panels; ++j) acc[i][j] = Dot::load(row + j * width) + acc[i][j];
        advance(row, ld);
      }
    }
    if constexpr (!Dot::exact) {
      if (out.bias && begin + chunk == depth) {
        AULOS_UNROLL for (int j = 0; j < 2 * panels; ++j) {
          const Sum bias = Dot::load(out.bias + j * width);
          AULOS_UNROLL for (int i = 0; i < rows; ++i) acc[i][j] = acc[i][j] + bias;
        }
      }
    }
    float* row = out.data;
    AULOS_UNROLL for (int i = 0; i < rows; ++i) {
      AULOS_UNROLL for (int j = 0; j < 2 * panels; ++j) Dot::store(row + j * width, acc[i][j]);
      advance(row, ld);
    }
    begin += chunk;
  } while (begin < depth);
}

// As multiply_strip.
template <class Dot, int tile_rows = gemm_rows>
void multiply_word_strip(Index rows, Index depth, const float* strip, const float* panel, TileOut<float> out,
                         Ahead ahead = {}) noexcept {
  if constexpr (tile_rows > 2) {
    if (rows <= tile_rows - 2) return multiply_word_strip<Dot, tile_rows - 2>(rows, depth, strip, panel, out, ahead);
  }
  multiply_words<Dot, tile_rows, 1, true>(depth, strip, 1, panel, 0, out, ahead);
}

}  // namespace aulos::inline AULOS_ISA::kernels::detail
