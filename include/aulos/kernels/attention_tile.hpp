// What the tiled attention kernels are made of: tile sizes, packed copies, 2^x, the panels that a block sees.
//
// Packed rows ("panelled"): element (r, c) of `rows` rows is at c / panel * rows * panel + r * panel + c % panel. The
// same copy is the left operand of a product (element after element) and the right one (panel after panel).
// Packed columns: the transpose of `panel` rows, element (r, c) at c * panel + r.
#pragma once

#include <algorithm>
#include <array>
#include <type_traits>

#include "aulos/core/config.hpp"
#include "aulos/kernels/attention_mask.hpp"
#include "aulos/kernels/attention_sides.hpp"
#include "aulos/simd/exp.hpp"
#include "aulos/simd/transpose.hpp"

namespace aulos::inline AULOS_ISA::kernels::tile {

template <class T>
using Batch = simd::Batch<T>;

// A right operand's panel: two batches. A key tile is eight panels of float in AVX-512.
template <class T>
inline constexpr Index lanes = simd::lanes<T>;
template <class T>
inline constexpr Index panel = 2 * lanes<T>;
inline constexpr Index key_rows = 256;
template <class T>
inline constexpr int max_panels = static_cast<int>(key_rows / panel<T>);

// Rows of one register tile: with two batches across they fill 16 or 32 registers; then the sizes for what is left.
#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr int strip = 12;
inline constexpr int short_strip = 4;
#else
inline constexpr int strip = 6;
inline constexpr int short_strip = 2;
#endif
inline constexpr Index query_rows = 48;

// Distance of score rows: not a power of two, or the rows of a strip would share cache sets.
template <class T>
inline constexpr Index score_stride = key_rows + lanes<T>;

template <class T>
constexpr Index round_up(Index n) {
  return (n + panel<T> - 1) / panel<T> * panel<T>;
}

// Stands for the score of a dropped pair. Scores that a rule made are raised to lowest_score, so that they differ.
template <class T>
inline constexpr T dropped = std::numeric_limits<T>::lowest();
template <class T>
inline constexpr T lowest_score = std::numeric_limits<T>::lowest() / 2;

inline constexpr double log2_e = 1.4426950408889634074;
inline constexpr double ln_2 = 0.69314718055994530942;

// Coefficients of 2^r, |r| <= 1/2; the first is 1, so that 2^0 is exactly 1. Error 9e-8 and 4e-16.
template <class T>
struct Exp2;

template <>
struct Exp2<float> {
  static constexpr float c[] = {1.0f, 0.6931470037f, 0.2402224243f, 0.0555073359f, 0.009671513f, 0.0013264727f};
  static constexpr float coarse[] = {1.0f, 0.6951168f, 0.22764498f, 0.077067055f};  // 0 <= r <= 1
};

template <>
struct Exp2<double> {
  static constexpr double c[] = {1.0,
                                 0.6931471805599456,
                                 0.24022650695909867,
                                 0.0555041086647738,
                                 0.009618129107653674,
                                 0.0013333558156449349,
                                 0.0001540353038262561,
                                 1.5252725375481356e-05,
                                 1.3215472748294953e-06,
                                 1.0181180222501585e-07,
                                 7.067290031187792e-09,
                                 4.0353848832375833e-10};
};

// 2^x for x <= 0 or little above; 0 where 2^x is no normal number (some builds: no number at all), NaN for NaN.
template <class T>
inline Batch<T> exp2(Batch<T> x) {
  return simd::exp2_by(x, Exp2<T>::c);
}

// The same with an error of 0.9e-4, a fortieth of what rounding the result to bf16 adds.
inline Batch<float> coarse_exp2(Batch<float> x) { return simd::exp2_by_floor(x, Exp2<float>::coarse); }

// ---- packing

// Asks the memory for a row, for the second-level cache, without waiting; access 1: to write it.
template <int access = 0, class T>
[[gnu::always_inline]] inline void prefetch_row(const T* row, Index width) {
  constexpr Index line = 64 / Index(sizeof(T));
  for (Index c = 0; c < width; c += line) {
    __builtin_prefetch(row + c, access, 2);
    asm volatile("" : : "r"(row + c));  // g++ removes a loop that does nothing else
  }
}

template <int access = 0, class T>
void prefetch_rows(const T* from, Index stride, Index n, Index width) {
  for (Index r = 0; r < n; ++r) prefetch_row<access>(from + r * stride, width);
}

// Packing and products of single rows call ahead(r) once for each row, evenly over their work, to ask for later ones.
struct NothingAhead {
  void operator()(const auto&) const {}
};

template <class T, class Ahead = NothingAhead>
[[gnu::noinline]] void pack_rows(T* to, Index rows, Index first, const T* from, Index stride, Index n, Index width,
                                 T factor = T(1), const Ahead& ahead = {}) {
  constexpr Index W = panel<T>;
  for (Index r = 0; r < n; ++r) {
    ahead(r);
    const T* in = from + r * stride;
    T* out = to + (first + r) * W;
    for (Index c = 0; c < width; c += W, in += W, out += W * rows) {
      const Index count = (std::min)(W, width - c);
      if (count == W) {
        for (Index x = 0; x < W; ++x) out[x] = in[x] * factor;
      } else {
        for (Index x = 0; x < count; ++x) out[x] = in[x] * factor;
        std::fill_n(out + count, W - count, T(0));
      }
    }
  }
}

template <class T, class Ahead = NothingAhead>
[[gnu::noinline]] void pack_columns(T* to, Index first, const T* from, Index stride, Index n, Index width,
                                    const Ahead& ahead = {}) {
  constexpr Index W = panel<T>, L = lanes<T>;
  for (Index r = 0; r < n; r += L) {
    const Index rows = (std::min)(L, n - r);
    for (Index c = 0; c < width; c += L) {
      const Index columns = (std::min)(L, width - c);
      for (Index x = rows * c / width; x < rows * (std::min)(width, c + L) / width; ++x) ahead(r + x);
      const T* in = from + r * stride + c;
      T* out = to + c * W + first + r;
      Batch<T> column[static_cast<std::size_t>(L)];
      if (rows == L && columns == L) {
        simd::load_transposed<T>(in, stride, L, L, column);
        AULOS_UNROLL
        for (Index x = 0; x < L; ++x) simd::store(out + x * W, column[x]);
      } else {
        simd::load_transposed<T>(in, stride, rows, columns, column);
        for (Index x = 0; x < columns; ++x) simd::store_partial(out + x * W, column[x], rows);
      }
    }
  }
}

// The joint tokens [first, first + n) of one head as rows r0, r0 + 1, ... of a packed copy of `capacity` rows.
template <class T, class View>
void pack_joint_rows(T* to, Index capacity, Index r0, std::span<const AttentionSide<T>> sides,
                     Index AttentionSide<T>::*count, View&& view, Index first, Index n, Index b, Index h, Index width,
                     T factor = T(1)) {
  for_each_run(sides, count, first, n, [&](std::size_t s, Index local, Index offset, Index m) {
    const auto& rows = view(s);
    pack_rows(to, capacity, r0 + offset, rows.at(b, local, h), rows.token, m, width, factor);
  });
}

// The joint keys [first, first + n), n <= panel, as one panel of columns; what is missing to a panel is zero.
template <class T, class View>
void pack_joint_columns(T* to, std::span<const AttentionSide<T>> sides, View&& view, Index first, Index n, Index b,
                        Index g, Index width) {
  if (n < panel<T>) std::fill_n(to, width * panel<T>, T(0));
  for_each_run(sides, &AttentionSide<T>::nk, first, n, [&](std::size_t s, Index local, Index offset, Index m) {
    const auto& rows = view(s);
    pack_columns(to, offset, rows.at(b, local, g), rows.token, m, width);
  });
}

// ---- which panels of a key tile a block of queries sees

template <class T>
struct Panels {
  struct Entry {
    Index column;  // within the tile
    Index count;   // keys to be seen
    Visible visible;

    bool whole() const { return visible == Visible::all && count == panel<T>; }
  };
  std::array<Entry, static_cast<std::size_t>(max_panels<T>)> entry;
  Index size = 0;

  const Entry* begin() const { return entry.data(); }
  const Entry* end() const { return entry.data() + size; }
};

// The panels of the keys [j0, j1) that queries [i0, i1) see; of a panel whose second batch none of them sees, the
// first.
template <class T, class Mask>
Panels<T> visible_panels(const Mask& mask, Index b, Index h, Index i0, Index i1, Index j0, Index j1) {
  Panels<T> panels;
  const Visible whole = j0 < j1 ? visible_block(mask, b, h, i0, i1, j0, j1) : Visible::none;
  if (whole == Visible::none) return panels;
  for (Index j = j0; j < j1; j += panel<T>) {
    Index count = (std::min)(panel<T>, j1 - j);
    const Visible part = whole == Visible::all ? whole : visible_block(mask, b, h, i0, i1, j, j + count);
    if (part == Visible::some && count > lanes<T> &&
        visible_block(mask, b, h, i0, i1, j + lanes<T>, j + count) == Visible::none) {
      count = lanes<T>;
    }
    if (part != Visible::none) panels.entry[static_cast<std::size_t>(panels.size++)] = {j - j0, count, part};
  }
  return panels;
}

// Scores of one batch of keys after both rules: dropped pairs have the score `dropped`.
template <class T, class Mask, class Score>
inline Batch<T> ruled(Batch<T> s, const Mask& mask, const Score& score, Visible visible, Index b, Index h, Index i,
                      Keys<T> keys) {
  if constexpr (!std::is_same_v<Score, NoScore>) {
    const Batch<T> raw = score(s, b, h, i, keys);
    const Batch<T> kept = simd::raw_max(Batch<T>(lowest_score<T>), raw);
    const Batch<T> minus_infinity(-std::numeric_limits<T>::infinity());
    s = simd::select(simd::same_bits(raw, minus_infinity), Batch<T>(dropped<T>), kept);
  }
  if (visible == Visible::some) s = simd::select(mask(b, h, i, keys), s, Batch<T>(dropped<T>));
  if (keys.count < lanes<T>) s = simd::select(simd::first_lanes<T>(keys.count), s, Batch<T>(dropped<T>));
  return s;
}

}  // namespace aulos::inline AULOS_ISA::kernels::tile
