// How a tiled attention holds the operands of its two products: one number in a lane, exact or rounded to bf16, or two
// bf16 in a lane of 32 bits. A format packs q, k, v and the weights, and multiplies what it has packed; everything else
// (scores, softmax, sums) is the same for all.
//
//   terms                        numbers in an element (a lane); elements(n) hold n numbers
//   scales_queries               whether q is multiplied by the scale as it is packed, or the scores are, later
//   pack_queries, pack_keys      elements along the width
//   pack_values, store_weights   elements along the keys; ahead(r): see NothingAhead
//   dot(a, b, sum)               sum + the products of the numbers in a and b; dot_each(p, b, sum), if there is one,
//                                the same with the element at p in every lane of a; dot_each_lower, that of the lower
//                                half of the lanes
//   exp2(x)                      2^x as exact as the format can hold it
//   query_rows, strip            rows of a query tile, and those that are multiplied at once
//   tiles                        whether products are those of attention_amx.hpp, and dot is not used
//   Scope, prepare()             what a piece holds while it multiplies; what a product asks of the system before
#pragma once

#include <algorithm>
#include <type_traits>

#include "aulos/core/config.hpp"
#include "aulos/kernels/attention_amx.hpp"
#include "aulos/kernels/attention_tile.hpp"
#include "aulos/simd/bf16_pairs.hpp"
#include "aulos/simd/dot_bf16.hpp"
#include "aulos/simd/for_lanes.hpp"

namespace aulos::inline AULOS_ISA::kernels::tile {

// What formats have in common that multiply batches.
struct BatchFormat {
  static constexpr Index query_rows = tile::query_rows;
  static constexpr Index strip = tile::strip;
  static constexpr bool tiles = false;
  struct Scope {};
  static void prepare() noexcept {}
};

// One T in a lane, as it is.
template <class T>
struct ExactFormat : BatchFormat {
  using Number = T;
  static constexpr Index terms = 1;
  static constexpr bool scales_queries = true;
  static constexpr Index elements(Index n) { return n; }

  static void pack_queries(T* to, Index first, const T* from, Index stride, Index n, Index width, T factor) {
    pack_rows(to, query_rows, first, from, stride, n, width, factor);
  }
  template <class Ahead>
  static void pack_keys(T* columns, Index first, const T* from, Index stride, Index n, Index width,
                        const Ahead& ahead) {
    pack_columns(columns, first, from, stride, n, width, ahead);
  }
  template <class Ahead>
  static void pack_values(T* to, Index first, const T* from, Index stride, Index n, Index width, const Ahead& ahead) {
    pack_rows(to, key_rows, first, from, stride, n, width, T(1), ahead);
  }
  static void store_weights(T* row, Index column, Batch<T> first) { simd::store(row + column, first); }
  static void store_weights(T* row, Index column, Batch<T> first, Batch<T> second) {
    simd::store(row + column, first);
    simd::store(row + column + lanes<T>, second);
  }
  static Batch<T> dot(Batch<T> a, Batch<T> b, Batch<T> sum) { return simd::fma(a, b, sum); }
  static Batch<T> exp2(Batch<T> x) { return tile::exp2<T>(x); }
};

// One float in a lane, rounded to bf16: the products are exact and added in float. For processors whose multiply-add of
// floats is no slower than what they have for bf16.
struct RoundedFormat : BatchFormat {
  using Number = float;
  static constexpr Index terms = 1;
  static constexpr bool scales_queries = false;
  static constexpr Index elements(Index n) { return n; }

  static void pack_queries(float* to, Index first, const float* from, Index stride, Index n, Index width,
                           float factor) {
    pack_rows(to, query_rows, first, from, stride, n, width, factor);
    round_panels(to + first * panel<float>, query_rows * panel<float>, n * panel<float>, width);
  }
  template <class Ahead>
  static void pack_keys(float* columns, Index first, const float* from, Index stride, Index n, Index width,
                        const Ahead& ahead) {
    pack_columns(columns, first, from, stride, n, width, ahead);
    for (Index c = 0; c < width; ++c) round_all(columns + c * panel<float> + first, n);
  }
  template <class Ahead>
  static void pack_values(float* to, Index first, const float* from, Index stride, Index n, Index width,
                          const Ahead& ahead) {
    pack_rows(to, key_rows, first, from, stride, n, width, 1.0f, ahead);
    round_panels(to + first * panel<float>, key_rows * panel<float>, n * panel<float>, width);
  }
  static void store_weights(float* row, Index column, Batch<float> first) {
    simd::store(row + column, simd::round_bf16(first));
  }
  static void store_weights(float* row, Index column, Batch<float> first, Batch<float> second) {
    store_weights(row, column, first);
    store_weights(row, column + lanes<float>, second);
  }
  static Batch<float> dot(Batch<float> a, Batch<float> b, Batch<float> sum) { return simd::fma(a, b, sum); }
  static Batch<float> exp2(Batch<float> x) { return coarse_exp2(x); }

 private:
  static void round_all(float* x, Index n) {
    simd::for_lanes<float>(n, [&](Index i, auto part) { part.store(x + i, simd::round_bf16(part.load(x + i))); });
  }
  static void round_panels(float* x, Index stride, Index n, Index width) {
    for (Index c = 0; c < width; c += panel<float>, x += stride) round_all(x, n);
  }
};

// Two bf16 in a lane, the first in the lower half; memory that a float* points to holds the bits of a pair each.
// Products of pairs are vdpbf16ps where the instruction exists. Denormal numbers may count as 0.
struct PairFormat : BatchFormat {
  using Number = float;
  static constexpr Index terms = 2;
  static constexpr bool scales_queries = false;
  static constexpr Index elements(Index n) { return (n + 1) / 2; }

  static void pack_queries(float* to, Index first, const float* from, Index stride, Index n, Index width,
                           float factor) {
    pack_query_pairs<query_rows>(to, first, from, stride, n, width, factor);
  }

  template <class Ahead>
  [[gnu::noinline]] static void pack_keys(float* columns, Index first, const float* from, Index stride, Index n,
                                          Index width, const Ahead& ahead) {
    constexpr Index L = lanes<float>;
    constexpr Index numbers = 8 * L;  // of a row at once
    for (Index r = 0; r < n; r += L) {
      const Index rows = (std::min)(L, n - r);
      for (Index c = 0; c < width; c += numbers) {
        alignas(64) float block[static_cast<std::size_t>(L * numbers / 2)];
        const Index count = (std::min)(numbers, width - c);
        for (Index x = 0; x < rows; ++x) {
          if (c == 0) ahead(r + x);
          simd::round_to_pairs(from + (r + x) * stride + c, count, block + x * (numbers / 2));
        }
        pack_columns(columns + c / 2 * panel<float>, first + r, block, numbers / 2, rows, elements(count));
      }
    }
  }

  // Keys first, first + 1, ... of which an odd one completes a pair.
  template <class Ahead>
  [[gnu::noinline]] static void pack_values(float* to, Index first, const float* from, Index stride, Index n,
                                            Index width, const Ahead& ahead) {
    constexpr Index W = panel<float>, capacity = key_rows / 2;
    const auto pack = [&](Index key, auto&& pairs) {
      for (Index c = 0; c < round_up<float>(width); c += lanes<float>) {
        float* out = to + c / W * W * capacity + key / 2 * W + c % W;
        const Index count = std::clamp<Index>(width - c, 0, lanes<float>);
        if (count == lanes<float>) {
          simd::store(out, pairs(out, c, simd::WholeBatch<float>{}));
        } else {
          simd::store(out, pairs(out, c, simd::PartialBatch<float>{count}));
        }
      }
    };
    const Batch<float> zero(0.0f);
    Index r = 0;
    if (first % 2 == 1 && n > 0) {
      ahead(0);
      pack(first, [&](const float* out, Index c, auto part) {
        const auto upper = simd::to_bits(simd::interleave_bf16(zero, part.load(from + c)));
        return simd::from_bits<Batch<float>>(simd::to_bits(simd::load(out)) | upper);
      });
      r = 1;
    }
    for (; r + 2 <= n; r += 2) {
      const float* row = from + r * stride;
      ahead(r);
      ahead(r + 1);
      pack(first + r, [&](const float*, Index c, auto part) {
        return simd::interleave_bf16(part.load(row + c), part.load(row + stride + c));
      });
    }
    if (r < n) {
      ahead(r);
      const float* row = from + r * stride;
      pack(first + r,
           [&](const float*, Index c, auto part) { return simd::interleave_bf16(part.load(row + c), zero); });
    }
  }

  // In place of the scores, of which it leaves only those of later columns.
  static void store_weights(float* row, Index column, Batch<float> first) {
    store_weights(row, column, first, Batch<float>(0.0f));
  }
  static void store_weights(float* row, Index column, Batch<float> first, Batch<float> second) {
    simd::store(row + column / 2, simd::bf16_pairs(first, second));
  }
  static Batch<float> dot(Batch<float> a, Batch<float> b, Batch<float> sum) {
    return simd::dot_bf16(sum, simd::to_bits(a), simd::to_bits(b));
  }
#if defined(__AVX512BF16__)
  // dot(*a in every lane, b, sum) in one instruction, which compilers don't make of the two: for where *a is used once.
  static Batch<float> dot_each(const float* a, Batch<float> b, Batch<float> sum) {
    __m512 x = sum.native();
    asm("vdpbf16ps %1%{1to16%}, %2, %0" : "+v"(x) : "m"(*a), "v"(static_cast<__m512>(b.native())));
    return Batch<float>(Batch<float>::Native(x));
  }
  // The same for the lower half of the lanes, in half the time where registers are halves of a batch; 0 above.
  static Batch<float> dot_each_lower(const float* a, Batch<float> b, Batch<float> sum) {
    __m512 x = sum.native();
    asm("vdpbf16ps %1%{1to8%}, %t2, %t0" : "+v"(x) : "m"(*a), "v"(static_cast<__m512>(b.native())));
    return Batch<float>(Batch<float>::Native(x));
  }
#endif
  static Batch<float> exp2(Batch<float> x) { return coarse_exp2(x); }

 protected:
  // Whole panels, zero behind the width.
  template <Index capacity>
  [[gnu::noinline]] static void pack_query_pairs(float* to, Index first, const float* from, Index stride, Index n,
                                                 Index width, float factor) {
    constexpr Index W = panel<float>;
    for (Index r = 0; r < n; ++r, from += stride) {
      for (Index c = 0; c < width; c += 2 * W) {
        alignas(64) float scaled[static_cast<std::size_t>(2 * W)];
        const Index count = (std::min)(2 * W, width - c);
        for (Index x = 0; x < count; ++x) scaled[x] = from[c + x] * factor;
        std::fill(scaled + count, scaled + 2 * W, 0.0f);
        simd::round_to_pairs(scaled, 2 * W, to + c / 2 * capacity + (first + r) * W);
      }
    }
  }
};

#if defined(__AVX512F__)
// Pairs that matrix tiles multiply: whole tiles, zero where there is no number.
struct AmxFormat : PairFormat {
  static constexpr Index strip = amx_rows;
  static constexpr Index query_rows = 2 * strip;
  static constexpr bool tiles = true;
  using Scope = simd::TileScope;
  static void prepare() { request_tiles(); }

  static constexpr Index elements(Index n) { return (n + 2 * amx_words - 1) / (2 * amx_words) * amx_words; }

  static void pack_queries(float* to, Index first, const float* from, Index stride, Index n, Index width,
                           float factor) {
    pack_query_pairs<query_rows>(to, first, from, stride, n, width, factor);
  }
  template <class Ahead>
  static void pack_keys(float* columns, Index first, const float* from, Index stride, Index n, Index width,
                        const Ahead& ahead) {
    PairFormat::pack_keys(columns, first, from, stride, n, width, ahead);
    std::fill(columns + PairFormat::elements(width) * panel<float>, columns + elements(width) * panel<float>, 0.0f);
  }
  // Zero from the last key to the end of its panel; keys that follow may overwrite that.
  template <class Ahead>
  static void pack_values(float* to, Index first, const float* from, Index stride, Index n, Index width,
                          const Ahead& ahead) {
    constexpr Index W = panel<float>, capacity = key_rows / 2;
    PairFormat::pack_values(to, first, from, stride, n, width, ahead);
    const Index pair = PairFormat::elements(first + n), end = elements(first + n);
    for (Index c = 0; c < width; c += W) std::fill(to + c * capacity + pair * W, to + c * capacity + end * W, 0.0f);
  }
};
#endif

// THE choice of the bf16 mode. Where tiles are compiled for, vdpbf16ps has half the rate of a multiply-add of floats.
#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AMX_INT8__)
using Bf16Format = AmxFormat;
#else
using Bf16Format = std::conditional_t<simd::has_dot_bf16, PairFormat, RoundedFormat>;
#endif

}  // namespace aulos::inline AULOS_ISA::kernels::tile
