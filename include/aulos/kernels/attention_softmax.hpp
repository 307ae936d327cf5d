// The softmax of a tiled attention kernel: scores of some rows against a key tile become weights relative to the
// largest score so far.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <type_traits>

#include "aulos/core/config.hpp"
#include "aulos/kernels/attention_mask.hpp"
#include "aulos/kernels/attention_sides.hpp"
#include "aulos/kernels/attention_tile.hpp"
#include "aulos/simd/for_lanes.hpp"
#include "aulos/simd/reduce_rows.hpp"

namespace aulos::inline AULOS_ISA::kernels::tile {

// With the rules of an attention, and what its scale multiplies: queries as they are packed, scores before their rule,
// and maxima and scores to make of them natural ones and exponents of base 2. Rows of scores are score_stride apart.
template <class Format, class Mask, class Score>
class Softmax {
 public:
  using T = typename Format::Number;
  static constexpr bool plain = std::is_same_v<Score, NoScore>;
  static constexpr bool unscaled = plain && Format::scales_queries;  // scores are exponents of base 2 from the start
  static constexpr Index L = lanes<T>;
  static constexpr Index rows = (Format::strip + L - 1) / L * L;  // of one strip, in whole batches
  // A batch for each row of a strip: what its lanes have in common is still to be found.
  using Rows = std::array<Batch<T>, static_cast<std::size_t>(rows)>;

  Softmax(double scale, const Mask& mask, const Score& score) : mask_(mask), score_(score) {
    // Where queries are to be rounded, the scores take the scale instead, unless it is so far from 1 that scores could
    // no longer be told from dropped ones.
    const bool late = !Format::scales_queries && scale > 1e-15 && scale < 1e15;
    query_factor_ = static_cast<T>(late ? 1.0 : unscaled ? scale * log2_e : scale);
    score_factor_ = static_cast<T>(late ? scale : 1.0);
    natural_unit_ = static_cast<T>(unscaled ? ln_2 : plain && late ? scale : 1.0);
    unit_ = static_cast<T>(plain && late ? scale * log2_e : log2_e);
  }

  T query_factor() const { return query_factor_; }
  T natural_unit() const { return natural_unit_; }

  // Applies the rules to the scores s of rows i, i + 1, ... of (b, h), where the panels of key tile j0 need it, and
  // raises `top` by these scores; those of whole panels without a rule are the product's to raise it by.
  void rule(T* s, Rows& top, Index count, Index b, Index h, Index i, Index j0, const Panels<T>& panels) const {
    bool ready = plain;
    for (const auto& p : panels) ready = ready && p.whole();
    if (ready) return;
    // Copies: of members the compiler must think that every store changes them.
    const Mask mask = mask_;
    const Score score = score_;
    const Batch<T> scale(score_factor_);
    for (Index r = 0; r < count; ++r, s += score_stride<T>) {
      Batch<T> most = top[static_cast<std::size_t>(r)];
      const auto batch = [&](Index column, Index size, Visible visible) {
        Batch<T> x = simd::load(s + column);
        if constexpr (!plain && !Format::scales_queries) x *= scale;
        x = ruled(x, mask, score, visible, b, h, i + r, Keys<T>{j0 + column, size});
        simd::store(s + column, x);
        most = simd::raw_max(x, most);
      };
      for (const auto& p : panels) {
        if (p.whole()) {
          if constexpr (plain) continue;
          batch(p.column, L, Visible::all);
          batch(p.column + L, L, Visible::all);
        } else {
          for (Index c = 0; c < p.count; c += L) batch(p.column + c, (std::min)(L, p.count - c), p.visible);
        }
      }
      top[static_cast<std::size_t>(r)] = most;
    }
  }

  // Raises the maxima so far by `top`; factor = what rescales sums relative to the former ones. max is read to whole
  // batches, factor and shift (what is taken from the scores) are written to them.
  void raise(const Rows& top, Index count, T* max, T* factor, T* shift) const {
    for (Index r = 0; r < count; r += L) {
      const Batch<T> none(dropped<T>), old = simd::load(max + r), unit(unit_);
      Batch<T> most = simd::reduce_rows<T>(top.data() + r, [](Batch<T> a, Batch<T> b) { return simd::raw_max(a, b); });
      most = simd::raw_max(most, old);
      simd::store_partial(max + r, most, (std::min)(L, count - r));
      most = simd::select(most == none, Batch<T>(T(0)), most);  // nothing kept yet: every weight is 0
      simd::store(shift + r, most);
      simd::store(factor + r, exp2<T>(unscaled ? old - most : (old - most) * unit));
    }
  }

  // Scores to weights in place; total = factor total + their sum. total is read to whole batches.
  void weigh(T* s, Index count, const Panels<T>& panels, const T* shift, const T* factor, T* total) const {
    const Batch<T> unit(unit_);
    Rows sums;
    for (Index r = 0; r < count; ++r, s += score_stride<T>) {
      const Batch<T> most(shift[r]);
      const auto weight = [&](const T* at) {
        const Batch<T> x = simd::load(at);
        return Format::exp2(unscaled ? x - most : (x - most) * unit);
      };
      Batch<T> sum0(T(0)), sum1(T(0));
      for (const auto& p : panels) {
        const Batch<T> w0 = weight(s + p.column);
        sum0 += w0;
        if (p.count > L) {
          const Batch<T> w1 = weight(s + p.column + L);
          sum1 += w1;
          Format::store_weights(s, p.column, w0, w1);
        } else {
          Format::store_weights(s, p.column, w0);
        }
      }
      sums[static_cast<std::size_t>(r)] = sum0 + sum1;
    }
    for (Index r = count; r < (count + L - 1) / L * L; ++r) sums[static_cast<std::size_t>(r)] = Batch<T>(T(0));
    for (Index r = 0; r < count; r += L) {
      const Batch<T> sum = simd::reduce_rows<T>(sums.data() + r, [](Batch<T> a, Batch<T> b) { return a + b; });
      const Batch<T> all = simd::fma(simd::load(total + r), simd::load(factor + r), sum);
      simd::store_partial(total + r, all, (std::min)(L, count - r));
    }
  }

 private:
  const Mask& mask_;
  const Score& score_;
  T query_factor_, score_factor_, natural_unit_, unit_;
};

// A row of the result: sum / total, its e-th element at sum[e / panel * distance + e % panel], and its log-sum-exp in
// natural units; 0 and -inf if no key was kept.
template <class T>
void store_result(const AttentionSide<T>& side, Index b, Index local, Index h, const T* sum, Index distance,
                  Index width, T max, T total) {
  const bool empty = total == T(0);
  const Batch<T> inverse(empty ? T(0) : T(1) / total);
  T* out = side.out.at(b, local, h);
  for (Index e = 0; e < width; e += panel<T>, sum += distance) {
    simd::for_lanes<T>((std::min)(panel<T>, width - e), [&](Index x, auto part) {
      part.store(out + e + x, empty ? Batch<T>(T(0)) : part.load(sum + x) * inverse);
    });
  }
  if (side.lse) *side.lse.at(b, local, h) = empty ? -std::numeric_limits<T>::infinity() : max + std::log(total);
}

}  // namespace aulos::inline AULOS_ISA::kernels::tile
