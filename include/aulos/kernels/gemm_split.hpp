// How a product is cut into pieces. Only rows and columns of the result are split, never a sum.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "aulos/kernels/gemm_tile.hpp"

namespace aulos::inline AULOS_ISA::kernels::detail {

// The part [begin, end) of `units` that the i-th of `parts` gets.
struct Range {
  Index begin, end;
};
constexpr Range part_of(Index units, Index parts, Index i) noexcept {
  return {units * i / parts, units * (i + 1) / parts};
}

// Strips of `height` rows, and panels of gemm_cols columns.
constexpr Index strip_count(Index m, Index height = gemm_rows) noexcept { return (m + height - 1) / height; }
template <class T>
constexpr Index panel_count(Index n) noexcept {
  return (n + gemm_cols<T> - 1) / gemm_cols<T>;
}

// Pieces of a product: `rows` parts of its strips times `cols` parts of its panels, a row of pieces after the other.
struct GemmSplit {
  Index rows, cols;

  constexpr Index count() const noexcept { return rows * cols; }
};

// The rows and the panels of one piece, strips of `height` rows and panels in groups of `side`.
struct GemmPiece {
  Range rows, panels;
};
template <class T>
constexpr GemmPiece piece_of(GemmShape s, GemmSplit split, Index i, Index height = gemm_rows, Index side = 1) noexcept {
  const Index panels = panel_count<T>(s.n);
  const Range strips = part_of(strip_count(s.m, height), split.rows, i / split.cols);
  const Range groups = part_of((panels + side - 1) / side, split.cols, i % split.cols);
  return {{strips.begin * height, (std::min)(strips.end * height, s.m)},
          {groups.begin * side, (std::min)(groups.end * side, panels)}};
}

// How many pieces `work` operations are worth: some more than threads, so that a busy core does not hold up the rest,
// each of some 10 us at least.
constexpr Index pieces_for(double work, Index threads, Index per_thread) noexcept {
  constexpr double least = 1e6;
  if (threads == 1 || work < 2 * least) return 1;
  return (std::min)(per_thread * threads, static_cast<Index>((std::min)(work / least, 1e6)));
}

constexpr double gemm_flops(GemmShape s) noexcept {
  return 2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
}

// Where workers keep the strips that they have packed, at most `block` of them, from piece to piece. A worker has rows
// of its own as far as each panel still meets 3 strips; else groups of workers share theirs, and each packs them.
// Columns make up the rest of the `wanted` pieces.
constexpr GemmSplit split_kept(Index strips, Index panels, Index block, Index workers, Index wanted) noexcept {
  Index parts = std::clamp<Index>(strips / 3, 1, workers);
  while (workers % parts != 0) --parts;
  const Index blocks = (strips + block - 1) / block;
  parts *= (blocks + parts - 1) / parts;
  return {parts, std::clamp<Index>((wanted + parts - 1) / parts, 1, panels)};
}

// Pieces [0, count) shared by workers: each takes those of its own part in order, so that what it has packed serves
// again, and then what the others have left.
class SharedPieces {
 public:
  SharedPieces(Index count, Index workers) noexcept : parts_((std::min)(workers, most)) {
    for (Index i = 0; i < parts_; ++i) {
      const Range range = part_of(count, parts_, i);
      part_[i].next.store(range.begin, std::memory_order_relaxed);
      part_[i].end = range.end;
    }
  }

  // A piece that nobody has taken; -1 if there is none.
  Index take(Index worker) noexcept {
    for (Index i = 0; i < parts_; ++i) {
      Part& part = part_[(worker + i) % parts_];
      if (part.next.load(std::memory_order_relaxed) >= part.end) continue;
      const Index piece = part.next.fetch_add(1, std::memory_order_relaxed);
      if (piece < part.end) return piece;
    }
    return -1;
  }

 private:
  static constexpr Index most = 64;
  struct alignas(64) Part {
    std::atomic<Index> next;
    Index end;
  };

  Index parts_;
  Part part_[static_cast<std::size_t>(most)];
};

}  // namespace aulos::inline AULOS_ISA::kernels::detail
