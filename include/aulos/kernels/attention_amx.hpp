// The products of a tiled attention by matrix tiles (AMX), from what PairFormat packs: there, a panel is two tiles
// wide. A row's sums don't depend on the rows beside it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "aulos/core/numeric.hpp"
#include "aulos/kernels/attention_tile.hpp"
#include "aulos/simd/amx.hpp"

#if defined(__AVX512F__)
namespace aulos::inline AULOS_ISA::kernels::tile {

inline constexpr Index amx_rows = 32, amx_words = 16;

// body(block, first row, rows) for blocks of 16 or 32 rows.
template <class Body>
void for_each_block(Index rows, Body&& body) {
  for (Index r = 0; r < rows; r += amx_rows) {
    const Index count = (std::min)(amx_rows, rows - r);
    if (count > 16) {
      body(simd::TileBlock<Numeric::bf16, 2>{}, r, count);
    } else {
      body(simd::TileBlock<Numeric::bf16, 1>{}, r, count);
    }
  }
}

// s[r, j] = a_r . k_j, as score_product. a: panelled rows of `capacity` pairs, `words` (whole tiles) of which count.
// Rows up to a multiple of 16 are read and written.
template <class Before>
void amx_score_product(float* s, const float* a, Index capacity, Index rows, const float* columns, Index words,
                       const Panels<float>& panels, Batch<float>* top, const Before& before) {
  constexpr Index W = panel<float>, S = score_stride<float>, row_bytes = W * Index(sizeof(float));
  static_assert(W == 32);
  for_each_block(rows, [&](auto block, Index r, Index count) {
    float* const to = s + r * S;
    // Of the scores that the tiles have left behind, while they make the next ones.
    const auto raise = [&](const Panels<float>::Entry& p) {
      if (top == nullptr || !p.whole()) return;
      for (Index row = 0; row < count; ++row) {
        const float* x = to + row * S + p.column;
        top[r + row] = simd::raw_max(simd::raw_max(simd::load(x), simd::load(x + lanes<float>)), top[r + row]);
      }
    };
    const typename Panels<float>::Entry* last = nullptr;
    for (const auto& p : panels) {
      before(p);
      block.zero();
      for (Index w = 0; w < words; w += amx_words) {
        block.add(a + (w / W * capacity + r) * W + w % W, row_bytes, columns + p.column * words + w * W, row_bytes);
      }
      block.store(to + p.column, S * Index(sizeof(float)));
      if (last != nullptr) raise(*last);
      last = &p;
    }
    if (last != nullptr) raise(*last);
  });
}

// to_r = factor[r] to_r + sum_j w[r, j] from_j, as key_product; the weights of a panel are pairs and fill one tile.
// Sums go on where they were left: maxima seldom move, and then there is nothing to scale. Rows up to a multiple of 16
// are read and written.
inline void amx_key_product(float* to, Index capacity, const float* w, Index rows, const float* from, Index width,
                            const Panels<float>& panels, const float* factor) {
  constexpr Index W = panel<float>, S = score_stride<float>, row_bytes = W * Index(sizeof(float));
  for (Index r = 0; r < rows; ++r) {
    if (factor[r] == 1.0f) continue;
    const Batch<float> f(factor[r]);
    for (Index c = 0; c < width; c += lanes<float>) {
      float* x = to + c / W * W * capacity + r * W + c % W;
      simd::store(x, simd::load(x) * f);
    }
  }
  for_each_block(rows, [&](auto block, Index r, Index) {
    for (Index c = 0; c < width; c += W) {
      float* const sums = to + c * capacity + r * W;
      block.load(sums, row_bytes);
      for (const auto& p : panels) {
        block.add(w + r * S + p.column / 2, S * Index(sizeof(float)), from + c * (key_rows / 2) + p.column / 2 * W,
                  row_bytes);
      }
      block.store(sums, row_bytes);
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels::tile
#endif
