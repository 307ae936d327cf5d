// How a product is cut into pieces. Only rows and columns of the result are split, never a sum.
#pragma once

#include <algorithm>

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

// Pieces of a product: `rows` parts of its strips times `cols` parts of its panels.
struct GemmSplit {
  Index rows, cols;

  constexpr Index count() const noexcept { return rows * cols; }
};

// The rows and the panels of one piece.
struct GemmPiece {
  Range rows, panels;
};
template <class T>
constexpr GemmPiece piece_of(GemmShape s, GemmSplit split, Index i, Index height = gemm_rows) noexcept {
  const Range strips = part_of(strip_count(s.m, height), split.rows, i % split.rows);
  return {{strips.begin * height, (std::min)(strips.end * height, s.m)},
          part_of(panel_count<T>(s.n), split.cols, i / split.rows)};
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

// `fresh_panels`: the piece that uses a panel packs it first, so columns are split, and each is packed but once. Else
// rows are, where there are enough of them, and each row of A is packed but once.
template <class T>
constexpr GemmSplit split_gemm(GemmShape s, Index threads, bool fresh_panels, Index height = gemm_rows) noexcept {
  const Index pieces = pieces_for(gemm_flops(s), threads, fresh_panels ? 2 : 4);
  const Index strips = strip_count(s.m, height), panels = panel_count<T>(s.n);
  if (!fresh_panels && strips >= 4 * pieces) return {pieces, 1};
  const Index cols = (std::min)(pieces, panels);
  return {std::clamp<Index>(pieces / cols, 1, strips), cols};
}

}  // namespace aulos::inline AULOS_ISA::kernels::detail
