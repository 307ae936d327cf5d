// The product of activations and a weight: packed panels or canonical rows, a register tile, fused epilogues.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "aulos/core/numeric.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/kernels/gemm_epilogue.hpp"
#include "aulos/kernels/gemm_product.hpp"
#include "aulos/kernels/gemm_split.hpp"
#include "aulos/kernels/gemm_tile.hpp"
#include "aulos/kernels/gemv.hpp"

namespace aulos::inline AULOS_ISA::kernels {
namespace detail {

// What strips may take of the second-level cache: of 1 MiB, or of the 2 MiB of processors with tiles. Panels that are
// made for each block anew need more rows to be worth it.
template <class P>
inline constexpr Index gemm_block_bytes = (P::makes_panels   ? 6144
                                           : simd::has_tiles ? 1280
                                                             : 640) *
                                          Index{1024};

// Panels whose chunks take turns, so that a chunk of the strips is used for each before it leaves the cache: where
// tiles outrun the third level (24 GB/s measured; at 63 GB/s one panel after another is faster).
template <class P>
inline constexpr Index gemm_panel_group = simd::has_tiles && !P::makes_panels ? 4 : 1;

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
    tiles = (product.depth() > P::chunk ? block * gemm_panel_group<P> : 1) * (P::rows * cols);
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
    if (P::fuses_steps && product.depth() <= P::chunk) {
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
    const bool direct = to.y && column + columns <= s.n;
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
    for (; i + side <= panels.end; i += side) multiply(i, std::integral_constant<int, side>{});
    for (; i < panels.end; ++i) multiply(i, std::integral_constant<int, 1>{});
  }
}

// Rows of x as strips, and where their products go.
template <class P>
struct GemmBlock {
  using T = typename P::Real;

  const P& product;
  const Destination<T>& to;
  GemmShape shape;
  Range rows;
  T* strips;
  T* steps;

  Index count() const noexcept { return strip_count(rows.end - rows.begin, P::rows); }

  void pack(const T* x, Index ldx) const noexcept {
    for (Index i = 0; i < count(); ++i) {
      product.pack(x + row(i) * ldx, ldx, valid(i), strips + i * product.strip_size(), steps_of(i));
    }
  }

  // Chunk `from`.. of panel p, times all strips. Sums wait for the next chunk in tiles, or in y.
  template <class Panel>
  void multiply(Index p, const Panel* panel, Index from, Index depth, T* tiles, Ahead ahead) const {
    constexpr Index cols = gemm_cols<T>;
    const Index column = p * cols, used = (std::min)(cols, shape.n - column), total = product.depth();
    const bool first = from == 0, last = from + depth == total, whole = to.y && used == cols;
    for (Index i = 0; i < count(); ++i, ahead.data += ahead.step * depth) {
      T* tile = total > P::chunk ? tiles + i * (P::rows * cols) : tiles;
      const bool direct = whole && (!P::even_rows || valid(i) % 2 == 0);
      const TileOut<T> out = direct ? to.tile_at(row(i), column) : TileOut<T>(tile, cols);
      gemm_tile(product, steps_of(i), valid(i), column, cols, first, last, tile, out, [&](TileOut<T> sums) {
        product.multiply(valid(i), from, depth, strips + i * product.strip_size(), panel, sums, ahead);
      });
      if (!last) continue;
      if (direct) {
        to.finish(row(i), valid(i), column, cols);
      } else {
        to.store(tile, cols, row(i), valid(i), column, used);
      }
    }
  }

 private:
  Index row(Index strip) const noexcept { return rows.begin + strip * P::rows; }
  Index valid(Index strip) const noexcept { return std::min<Index>(P::rows, rows.end - row(strip)); }
  T* steps_of(Index strip) const noexcept { return P::has_steps ? steps + strip * P::rows : steps; }
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
  const Index depth = product.depth(), group = depth > P::chunk ? gemm_panel_group<P> : 1;
  Index packed = -1;  // the first row of the strips
  for (GemmPiece piece = next(); piece.rows.begin < piece.rows.end; piece = next()) {
    const GemmBlock<P> block{product, to, s, piece.rows, strips, steps};
    if (packed != piece.rows.begin) block.pack(x, ldx);
    packed = piece.rows.begin;
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
            block.multiply(p, panel, from, count, tiles + (p - first) * (block.count() * P::rows * gemm_cols<T>),
                           {reinterpret_cast<const std::byte*>(ahead), row_bytes / block.count()});
          }
        }
        from += count;
      } while (from < depth);
    }
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
    const Index side = few ? (in_place ? 1 : gemm_panels_at_once<1>) : gemm_panel_group<P>;
    const Index groups = (panel_count<T>(s.n) + side - 1) / side;
    const GemmSplit split =
        split_kept(few ? 1 : strip_count(s.m, P::rows), groups, few ? 1 : gemm_block_strips(product, s.m),
                   P::makes_panels ? 1 : workers, wanted);
    SharedPieces pieces(split.count(), workers);
    threads.run(workers, [&](Index worker, Scratch& scratch) {
      const auto next = [&]() -> GemmPiece {
        const Index i = pieces.take(worker);
        return i < 0 ? GemmPiece{} : piece_of<T>(s, split, i, P::rows, side);
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
  detail::Destination<T> to{store};
  if constexpr (requires { detail::plain_store<T>(epilogue); }) to = {store, y, ldy, detail::plain_store<T>(epilogue)};
  detail::gemm_pieces<T>(threads, x, ldx, w, to, s, mode);
}

}  // namespace aulos::inline AULOS_ISA::kernels
