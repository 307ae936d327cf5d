// The product of activations and a weight: packed panels or canonical rows, a register tile, fused epilogues.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "aulos/core/numeric.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/kernels/gemm_epilogue.hpp"
#include "aulos/kernels/gemm_product.hpp"
#include "aulos/kernels/gemm_split.hpp"
#include "aulos/kernels/gemm_tile.hpp"
#include "aulos/kernels/gemv.hpp"

namespace aulos::inline AULOS_ISA::kernels {
namespace detail {

// Whether chunks of the depth are short, so that all strips meet a chunk of a panel while the first-level cache holds
// it.
template <class P>
inline constexpr bool gemm_short_chunks = (P::puts_off && P::has_steps);

// What strips may take of the second-level cache: of 1 MiB, or of the 2 MiB of processors with tiles, which leave more
// room for lines of panels and of y (4096 rows were 3 to 8 % slower with 1280 KiB). Panels that are made for each block
// anew need more rows to be worth it.
template <class P>
inline constexpr Index gemm_block_bytes = (P::makes_panels        ? 6144
                                           : gemm_short_chunks<P> ? 512
                                           : P::puts_off          ? 768
                                           : simd::has_tiles      ? 1280
                                                                  : 640) *
                                          Index{1024};

// Panels whose chunks take turns, so that a chunk of the strips is used for each before it leaves the cache: where
// tiles outrun the third level (24 GB/s measured; at 63 GB/s one panel after another is faster). Strips of short chunks
// stay in the cache as wholes.
template <class P>
inline constexpr Index gemm_panel_group = gemm_short_chunks<P>                  ? 1
                                          : P::puts_off                         ? 8
                                          : simd::has_tiles && !P::makes_panels ? 4
                                                                                : 1;
template <class P>
constexpr Index gemm_group(const P& product) noexcept {
  return product.depth() > P::chunk ? gemm_panel_group<P> : 1;
}

// Bytes of a weight that is not asked for ahead: the second-level cache holds it, or it comes in one stream. (Asking
// costs 5 % of 64 x 64 x 256; larger weights that come from memory are up to a third slower without.)
inline constexpr Index gemm_small_weight = 128 * Index{1024};

// Strips of x that are packed at a time. At least 8, which share a chunk of a panel while the cache holds it.
template <class P>
constexpr Index gemm_block_strips(const P& product, Index m) noexcept {
  const Index chunks = gemm_panel_group<P> == 1 ? 1 : std::max<Index>((product.depth() + P::chunk - 1) / P::chunk, 1);
  const Index bytes = product.strip_size() / chunks * static_cast<Index>(sizeof(typename P::Real));
  const Index strips = gemm_block_bytes<P> / std::max<Index>(bytes, 1);
  return (std::min)(std::max<Index>(strips, 8), strip_count(m, P::rows));
}

// Scratch of a piece, in the order in which it is taken.
template <class P>
struct GemmScratch {
  Index strips, fresh, tiles, steps;

  constexpr GemmScratch(const P& product, GemmShape s) noexcept {
    const Index block = gemm_block_strips(product, s.m), cols = gemm_cols<typename P::Real>;
    strips = block * product.strip_size() + simd::lanes<typename P::Real>;
    fresh = P::makes_panels ? cols * s.k : 0;
    tiles = (product.depth() > P::chunk ? block * gemm_panel_group<P> : 1 + P::puts_off) * (P::rows * cols);
    steps = P::has_steps ? block * P::rows : 0;
  }
  constexpr std::size_t bytes() const noexcept {
    using T = typename P::Real;
    return scratch_size<T>(strips) + scratch_size<T>(fresh) + scratch_size<T>(tiles) + scratch_size<T>(steps);
  }
};

// `out` = the elements [from, from + count) of a product's depth; `tile` is where sums are kept that aren't numbers
// yet.
template <class P, class Multiply>
void gemm_tile(const P& product, const typename P::Real* steps, Index valid, Index column, Index columns, bool first,
               bool last, typename P::Real* tile, TileOut<typename P::Real> out, const Multiply& multiply) {
  if constexpr (P::has_steps) {
    if (P::fuses_steps && 0 < product.depth() && product.depth() <= P::chunk) {
      out.steps = product.steps(steps, column);
      return multiply(out);
    }
    multiply(TileOut<float>(tile, columns, nullptr, !first));
    if (last) product.finish(tile, columns, valid, columns, steps, column, out);
  } else {
    out.add = !first;
    if (!last) out.bias = nullptr;
    multiply(out);
  }
}

// `few` rows, all of them, times the panels that next() gives, Ranges until an empty one: they wait for the panels, of
// which several are read at once.
template <int few, class P, class Next>
void gemm_few(const P& product, const typename P::Real* x, Index ldx, const Destination<typename P::Real>& to,
              GemmShape s, Scratch& scratch, const Next& next) {
  using T = typename P::Real;
  constexpr int side = gemm_panels_at_once<few>;
  constexpr Index cols = gemm_cols<T>;
  alignas(64) T tile[static_cast<std::size_t>(few * side * cols)];
  T steps[static_cast<std::size_t>(few)] = {};
  const T* lines = nullptr;
  const auto multiply = [&]<int at_once>(Index panel, std::integral_constant<int, at_once>) {
    const Index column = panel * cols, columns = at_once * cols;
    const bool direct = to.takes_tiles && column + columns <= s.n;
    const TileOut<T> out = direct ? to.tile_at(0, column) : TileOut<T>(tile, columns);
    gemm_tile(product, steps, few, column, columns, true, true, tile, out, [&](TileOut<T> sums) {
      product.template multiply_few<few, at_once>(lines, ldx, product.panel(panel), sums);
    });
    if (direct) return to.finish(0, few, column, columns);
    to.store(tile, columns, 0, few, column, (std::min)(columns, s.n - column));
  };
  for (Range panels = next(); panels.begin < panels.end; panels = next()) {
    if (!lines) lines = product.lines(x, ldx, few, scratch.take<T>(few * product.depth()), steps);
    Index i = panels.begin;
    const Index whole = (std::min)(panels.end, s.n / cols);  // the last one alone, as for many rows
    for (; i + side <= whole; i += side) multiply(i, std::integral_constant<int, side>{});
    for (; i < panels.end; ++i) multiply(i, std::integral_constant<int, 1>{});
  }
}

// Rows of x as strips, and where their products go.
template <class P>
class GemmBlock {
 public:
  using T = typename P::Real;

  GemmBlock(const P& product, const T* x, Index ldx, const Destination<T>& to, GemmShape shape, Range rows, T* strips,
            T* steps) noexcept
      : product_(product),
        x_(x),
        ldx_(ldx),
        to_(to),
        shape_(shape),
        rows_(rows),
        strips_(strips),
        steps_(steps),
        in_place_(P::reads_rows && 0 < shape.k && shape.k <= (std::min)(P::chunk, most_in_place / P::rows) &&
                  shape.n <= most_panels * cols && (simd::has_tiles || ldx % one_set != 0)) {}

  Index count() const noexcept { return strip_count(rows_.end - rows_.begin, P::rows); }

  void pack() const noexcept {
    for (Index i = 0; i < count(); ++i) {
      if (stays(i)) continue;
      product_.pack(x_ + row(i) * ldx_, ldx_, valid(i), strips_ + i * product_.strip_size(), steps_of(i));
    }
  }

  // Chunk `from`.. of panel p, times all strips from strip_begin on. Sums wait for the next chunk in tiles, or in y.
  template <class Panel>
  void multiply(Index p, const Panel* panel, Index from, Index depth, T* tiles, Ahead ahead, Index strip_begin = 0) {
    const Index column = p * cols, used = (std::min)(cols, shape_.n - column), total = product_.depth();
    const bool first = from == 0, last = from + depth == total, whole = to_.takes_tiles && used == cols;
    for (Index i = strip_begin; i < count(); ++i, ahead.data += ahead.step * depth) {
      T* tile = tiles + (total > P::chunk ? i * tile_size : P::puts_off ? turn_ : 0);
      const T* strip = strips_ + i * product_.strip_size();
      // int8 adds the bias before it rounds: whole panels have it in the tile, whatever the rows.
      const TileOut<T> y = whole ? to_.tile_at(row(i), column) : TileOut<T>(tile, cols);
      if constexpr (P::puts_off) {
        const bool direct = whole && (P::has_steps || (total <= P::chunk && is_even(i)));
        const TileOut<T> out = direct ? y : TileOut<T>(tile, cols, y.bias);
        TileOut<T> sums = P::has_steps ? TileOut<T>(tile, cols) : out;
        sums.add = !first;
        if (waiting_.sums == tile) complete();  // the only strip
        product_.multiply(valid(i), from, depth, strip, panel, sums, ahead,
                          last ? WriteAhead{to_.y + row(i) * to_.ldy + column, to_.ldy} : WriteAhead{});
        complete();
        if (last) waiting_ = {i, column, sums.data, out, direct};
        turn_ = tile_size - turn_;
      } else {
        const bool direct = whole && is_even(i);
        const TileOut<T> out = direct ? y : TileOut<T>(tile, cols, y.bias);
        if constexpr (P::reads_rows) {
          if (stays(i)) {
            product_.multiply_rows(valid(i), x_ + row(i) * ldx_, ldx_, panel, out, ahead);
            finish(i, column, out.data, direct);
            continue;
          }
        }
        gemm_tile(product_, steps_of(i), valid(i), column, cols, first, last, tile, out,
                  [&](TileOut<T> sums) { product_.multiply(valid(i), from, depth, strip, panel, sums, ahead); });
        if (last) finish(i, column, out.data, direct);
      }
    }
  }

  // Small panels by two and all strips by half, where it pays: rows of y a multiple of 4 KiB apart share one set of the
  // first-level cache, which holds the lines of 6 rows but not of 12. The panels that are left.
  Range multiply_pairs(Range panels, T* tiles) {
    if constexpr (P::has_pairs) {
      constexpr Index most = 16384, set = 4096, half = P::rows / 2;
      const Index depth = product_.depth(), row_bytes = P::panel_row * Index{sizeof(*product_.panel(0))};
      const bool aliased = to_.ldy * Index{sizeof(T)} % set == 0;
      if (!to_.takes_tiles || !aliased || depth == 0 || depth > P::chunk || depth * row_bytes > most) return panels;
      const Index whole = (rows_.end - rows_.begin) / P::rows, step = 2 * row_bytes / std::max<Index>(2 * whole, 1);
      for (const Index end = (std::min)(panels.end, shape_.n / cols); panels.begin + 2 <= end; panels.begin += 2) {
        const Index p = panels.begin;
        Ahead ahead{reinterpret_cast<const std::byte*>(product_.panel(p + 2)), step};
        for (Index i = 0; i < 2 * whole; ++i, ahead.data += step * depth) {
          TileOut<T> out = to_.tile_at(rows_.begin + i * half, p * cols);
          if constexpr (P::has_steps) out.steps = product_.steps(steps_ + i * half, p * cols);
          product_.multiply_pair(strips_ + i / 2 * product_.strip_size(), i % 2, product_.panel(p), out, ahead);
          to_.finish(rows_.begin + i * half, half, p * cols, 2 * cols);
        }
        for (const Index q : {p, p + 1}) multiply(q, product_.panel(q), 0, depth, tiles, {}, whole);
      }
    }
    return panels;
  }

  // What has been put off.
  void complete() {
    if constexpr (P::puts_off) {
      if (waiting_.strip < 0) return;
      const Waiting now = std::exchange(waiting_, {});
      const Index i = now.strip;
      if constexpr (P::has_steps) {
        product_.finish(now.sums, cols, valid(i), cols, steps_of(i), now.column, now.out);
      }
      finish(i, now.column, now.out.data, now.direct);
    }
  }

 private:
  static constexpr Index cols = gemm_cols<T>, tile_size = P::rows * cols;
  static constexpr Index most_in_place = 65536 / Index{sizeof(T)}, most_panels = 8, one_set = 4096 / Index{sizeof(T)};

  // The sums of a strip, and where they are to become numbers: in a tile, or in y (`direct`).
  struct Waiting {
    Index strip = -1, column = 0;
    const T* sums = nullptr;
    TileOut<T> out{nullptr};
    bool direct = false;
  };

  Index row(Index strip) const noexcept { return rows_.begin + strip * P::rows; }
  Index valid(Index strip) const noexcept { return std::min<Index>(P::rows, rows_.end - row(strip)); }
  bool is_even(Index strip) const noexcept { return valid(strip) % P::row_step == 0; }
  // Whether its rows are read where they lie, which is faster with few panels (K = 64: 8 panels 3 %, 2 panels 20 %):
  // not where they share a set of the first-level cache that is too small for them (8 ways; processors with tiles have
  // 12), nor, as a tile would read a row too many, where their number is odd.
  bool stays(Index strip) const noexcept { return in_place_ && is_even(strip); }
  T* steps_of(Index strip) const noexcept { return P::has_steps ? steps_ + strip * P::rows : steps_; }

  void finish(Index strip, Index column, T* numbers, bool direct) const {
    const Index used = (std::min)(cols, shape_.n - column);
    if (direct) {
      to_.finish(row(strip), valid(strip), column, cols);
    } else if (to_.takes_tiles && used == cols) {
      to_.copy(numbers, row(strip), valid(strip), column);
    } else {
      to_.store(numbers, cols, row(strip), valid(strip), column, used);
    }
  }

  const P& product_;
  const T* x_;
  Index ldx_;
  const Destination<T>& to_;
  GemmShape shape_;
  Range rows_;
  T *strips_, *steps_;
  bool in_place_;
  Waiting waiting_ = {};
  Index turn_ = 0;  // of two tiles: one is multiplied while the other waits
};

// The pieces that next() gives, GemmPieces until one of no rows. Strips stay as they are while the rows do.
template <class P, class Next>
void gemm_many(const P& product, const typename P::Real* x, Index ldx, const Destination<typename P::Real>& to,
               GemmShape s, Scratch& scratch, const Next& next) {
  using T = typename P::Real;
  const GemmScratch<P> sizes(product, s);
  T* strips = scratch.take<T>(sizes.strips);
  T* fresh = scratch.take<T>(sizes.fresh);
  T* tiles = scratch.take<T>(sizes.tiles);
  T* steps = scratch.take<T>(sizes.steps);
  [[maybe_unused]] const typename P::Scope scope;
  const Index depth = product.depth(), group = gemm_group(product);
  Index packed = -1;  // the first row of the strips
  for (GemmPiece piece = next(); piece.rows.begin < piece.rows.end; piece = next()) {
    GemmBlock<P> block(product, x, ldx, to, s, piece.rows, strips, steps);
    if (packed != piece.rows.begin) block.pack();
    packed = piece.rows.begin;
    piece.panels = block.multiply_pairs(piece.panels, tiles);
    for (Index first = piece.panels.begin; first < piece.panels.end; first += group) {
      const Index end = (std::min)(first + group, piece.panels.end);
      Index from = 0;
      do {  // chunks of the depth
        const Index count = (std::min)(P::chunk, depth - from);
        for (Index p = first; p < end; ++p) {
          if constexpr (P::makes_panels) {
            if (from == 0) product.make_panel(p, fresh);
            block.multiply(p, fresh + from * P::panel_row, from, count, tiles, {});
          } else {
            const auto* panel = product.panel(p) + from * P::panel_row;
            // What comes next: the group's next panel, its next chunk, the next group.
            const bool turns = p + 1 == end, last = from + count == depth;
            const auto* ahead = product.panel(!turns ? p + 1 : last ? end : first);
            ahead += (!turns ? from : last ? 0 : from + count) * P::panel_row;
            const Index row_bytes = P::panel_row * static_cast<Index>(sizeof(*panel));
            const bool asks = row_bytes * depth * panel_count<T>(s.n) > gemm_small_weight;
            block.multiply(p, panel, from, count, tiles + (p - first) * (block.count() * P::rows * gemm_cols<T>),
                           {reinterpret_cast<const std::byte*>(ahead), asks ? row_bytes / block.count() : 0});
          }
        }
        from += count;
      } while (from < depth);
    }
    block.complete();
  }
}

// At most gemm_few_rows rows, all of them, times canonical rows of W, in place.
template <class T, class Next>
void gemm_rows_in_place(const T* x, Index ldx, const WeightView<T>& w, const Destination<T>& to, GemmShape s,
                        const Next& next) {
  constexpr Index cols = gemm_cols<T>, few = gemm_few_rows;
  alignas(64) T tile[static_cast<std::size_t>(few * cols)];
  for (Range panels = next(); panels.begin < panels.end; panels = next()) {
    for (Index i = panels.begin; i < panels.end; ++i) {
      const Index lanes = (std::min)(cols, s.n - i * cols);
      multiply_few_rows(s.m, s.k, x, ldx, w.rows + i * cols * w.ldw, w.ldw, lanes, tile);
      to.store(tile, cols, 0, s.m, i * cols, lanes);
    }
  }
}

// gemm itself. Not inlined: it is the same for every epilogue.
template <class T>
[[gnu::noinline]] void gemm_pieces(Threads threads, const T* x, Index ldx, const WeightView<T>& w,
                                   const Destination<T>& to, GemmShape s, Numeric mode) {
  with_product(w, s, mode, [&]<class P>(const P& product) {
    P::prepare();
    const bool in_place = s.m <= gemm_few_rows && !w.panels, few = in_place || (s.m <= gemm_few_rows && P::has_few);
    // Few rows take as long as some more would.
    const double work = gemm_flops({std::max<Index>(s.m, 8), s.n, s.k});
    const Index workers = pieces_for(work, threads.count(), 1), wanted = pieces_for(work, workers, 16);
    Index side = few ? (in_place ? 1 : gemm_panels_at_once<1>) : gemm_group(product);
    const auto split_by = [&](Index columns) {
      const Index groups = (panel_count<T>(s.n) + columns - 1) / columns;
      return split_kept(few ? 1 : strip_count(s.m, P::rows), groups, few ? 1 : gemm_block_strips(product, s.m),
                        P::makes_panels ? 1 : workers, wanted);
    };
    GemmSplit split = split_by(side);
    for (; !few && side > 1 && split.count() < (std::min)(wanted, 4 * workers); split = split_by(side)) side /= 2;
    // Workers with rows of their own get the same number, if that takes no more strips.
    const Index strips = strip_count((s.m + split.rows - 1) / split.rows, P::rows);
    const bool evenly = split.rows == workers && split.rows * strips <= strip_count(s.m, P::rows);
    const Index unit = evenly ? P::row_step : P::rows;
    SharedPieces pieces(split.count(), workers);
    threads.run(workers, [&](Index worker, Scratch& scratch) {
      const auto next = [&]() -> GemmPiece {
        const Index i = pieces.take(worker);
        return i < 0 ? GemmPiece{} : piece_of<T>(s, split, i, unit, side);
      };
      const auto next_panels = [&] { return next().panels; };
      if (in_place) return gemm_rows_in_place(x, ldx, w, to, s, next_panels);
      if constexpr (P::has_few) {
        switch (s.m) {
          case 1:
            return gemm_few<1>(product, x, ldx, to, s, scratch, next_panels);
          case 2:
            return gemm_few<2>(product, x, ldx, to, s, scratch, next_panels);
          case 3:
            return gemm_few<3>(product, x, ldx, to, s, scratch, next_panels);
          case 4:
            return gemm_few<4>(product, x, ldx, to, s, scratch, next_panels);
        }
      }
      gemm_many(product, x, ldx, to, s, scratch, next);
    });
  });
}

}  // namespace detail

// Bytes of scratch that a running piece of gemm needs.
template <class T>
constexpr std::size_t gemm_scratch(GemmShape s, const WeightView<T>& w, Numeric mode = Numeric::exact) noexcept {
  return detail::with_product(w, s, mode,
                              [&]<class P>(const P& product) { return detail::GemmScratch<P>(product, s).bytes(); });
}

// y [m, n] = epilogue(x [m, k] W [n, k]^T): torch.nn.functional.linear and what follows it (see gemm_epilogue.hpp).
// `mode` is what may be rounded (core/numeric.hpp): bf16 rounds x if W is stored as bf16, int8 quantises x's rows if W
// is stored as int8 (k <= 133143) and multiplies bf16 weights as bf16 does; all else is exact up to the sums, which are
// in T, k in the order of gemm_tile.hpp. In one mode y's bits depend neither on m, on the rows beside nor on the
// threads; in exact mode nor on whether W comes as rows, panels, or coarser panels of the same values. k = 0: y =
// epilogue(0). y overlaps neither x nor W (the epilogue's operands may be y). 2 m n k operations; memory-bound on W
// below 10 rows.
template <class T, EpilogueOf<T> Epilogue>
void gemm(Threads threads, const T* x, Index ldx, WeightView<T> w, const Epilogue& epilogue, T* y, Index ldy,
          GemmShape s, Numeric mode = Numeric::exact) {
  if (s.m <= 0 || s.n <= 0) return;
  const auto store = [&](const T* tile, Index tile_stride, Index row, Index rows, Index column, Index cols) {
    detail::apply_epilogue(epilogue, tile, tile_stride, row, rows, column, cols, y, ldy);
  };
  detail::Destination<T> to{store, y, ldy};
  if constexpr (requires { detail::plain_store<T>(epilogue); }) {
    to.takes_tiles = true;
    to.plain = detail::plain_store<T>(epilogue);
  }
  detail::gemm_pieces<T>(threads, x, ldx, w, to, s, mode);
}

}  // namespace aulos::inline AULOS_ISA::kernels
