// Attention of single query rows whose keys are split over threads: where there are fewer rows than threads, and many
// keys. The sums are those of RowForward, which adds one key tile after another: what a tile needs to know of those
// before it is their largest score, so all scores come first, then the sums of every tile, then their sum in order.
#pragma once

#include <algorithm>
#include <span>

#include "aulos/core/threads.hpp"
#include "aulos/kernels/attention_row.hpp"

namespace aulos::inline AULOS_ISA::kernels::tile {

// The parts of the workspace of RowSplit, and their extents.
template <class T>
struct SplitSpace {
  Index rows, tiles, width;  // query rows of all heads, key tiles, elements of a partial sum

  SplitSpace(const AttentionShape& shape, Index nq, Index nk)
      : rows(shape.batch * shape.heads * nq),
        tiles((nk + key_rows - 1) / key_rows),
        width(round_up<T>(shape.value_width)) {}

  // Of one tile of one row: scores, a partial sum, the largest score, the total.
  Index elements() const { return rows * tiles * (key_rows + width + 2); }
};

template <class T, class Mask, class Score>
class RowSplit {
 public:
  using Forward = RowForward<T, Mask, Score>;

  RowSplit(const AttentionShape& shape, std::span<const AttentionSide<T>> sides, const Mask& mask, const Score& score,
           T* workspace)
      : shape_(shape),
        sides_(sides),
        forward_(shape, sides, mask, score),
        nq_(count_queries(sides)),
        space_(shape, nq_, count_keys(sides)),
        scores_(workspace),
        sums_(scores_ + space_.rows * space_.tiles * key_rows),
        maxima_(sums_ + space_.rows * space_.tiles * space_.width),
        totals_(maxima_ + space_.rows * space_.tiles) {}

  void run(Threads threads) const {
    const Index wanted = 4 * threads.count();
    const Index chunks = std::clamp<Index>((wanted + space_.rows - 1) / space_.rows, 1, space_.tiles);
    const auto for_each_tile = [&](const auto& body) {
      threads.run(space_.rows * chunks, [&](Index piece, Scratch& scratch) {
        const Index r = piece / chunks, chunk = piece % chunks;
        const Row row = take_row(r, scratch);
        for (Index t = space_.tiles * chunk / chunks; t < space_.tiles * (chunk + 1) / chunks; ++t) {
          body(row, r * space_.tiles + t, t, forward_.panels(row, t * key_rows));
        }
      });
    };
    for_each_tile([&](const Row& row, Index at, Index t, const Panels<T>& panels) {
      row.max[0] = dropped<T>;
      if (panels.size > 0) forward_.raise(row, forward_.score(row, t * key_rows, panels, scores_ + at * key_rows));
      maxima_[at] = row.max[0];
    });
    for_each_tile([&](const Row& row, Index at, Index t, const Panels<T>& panels) {
      if (panels.size == 0) return;
      row.max[0] = dropped<T>;
      for (Index before = at - t; before < at; ++before) row.max[0] = simd::raw_max(maxima_[before], row.max[0]);
      row.total[0] = T(0);
      T* const s = scores_ + at * key_rows;
      forward_.weigh(row, panels, {T(1), raise(row, at).shift}, s);
      totals_[at] = row.total[0];
      forward_.sum_values(row, t * key_rows, panels, s, sums_ + at * space_.width);
    });
    threads.run(space_.rows, [&](Index r, Scratch& scratch) {
      const Row row = take_row(r, scratch);
      for (Index t = 0, at = r * space_.tiles; t < space_.tiles; ++t, ++at) {
        if (forward_.panels(row, t * key_rows).size == 0) continue;
        const T factor = raise(row, at).factor;
        row.total[0] = simd::fma(row.total[0], factor, totals_[at]);
        forward_.add_sum(row, factor, sums_ + at * space_.width);
      }
      forward_.store(row);
    });
  }

 private:
  using Row = typename Forward::Row;

  Row take_row(Index r, Scratch& scratch) const {
    return forward_.take_row(r / nq_ / shape_.heads, r / nq_ % shape_.heads, r % nq_, scratch);
  }
  auto raise(const Row& row, Index at) const { return forward_.raise(row, Batch<T>(maxima_[at])); }

  const AttentionShape& shape_;
  std::span<const AttentionSide<T>> sides_;
  const Forward forward_;
  Index nq_;
  SplitSpace<T> space_;
  T *scores_, *sums_, *maxima_, *totals_;
};

}  // namespace aulos::inline AULOS_ISA::kernels::tile
