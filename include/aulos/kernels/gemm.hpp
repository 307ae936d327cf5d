// The product of activations and a weight: packed panels or canonical rows, a register tile, fused epilogues.
#pragma once

#include <algorithm>
#include <cstddef>

#include "aulos/core/threads.hpp"
#include "aulos/kernels/gemm_epilogue.hpp"
#include "aulos/kernels/gemm_pack.hpp"
#include "aulos/kernels/gemm_split.hpp"
#include "aulos/kernels/gemm_tile.hpp"
#include "aulos/kernels/gemv.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// A weight [n, k]: panels (see pack_weight) where present, else canonical rows, `ldw` elements apart.
template <class T>
struct WeightView {
  const T* rows = nullptr;
  Index ldw = 0;
  const void* panels = nullptr;
  PanelType type = PanelType::same;
};

namespace detail {

// Rows of x that are packed at a time: they stay in the second-level cache, unless panels are made ready for each
// block.
template <class T>
constexpr Index gemm_block_rows(Index m, Index k, bool make_panels) noexcept {
  constexpr Index kib = 1024;
  const Index bytes = make_panels ? 6 * kib * kib : 640 * kib;
  const Index strips = std::max<Index>(bytes / (std::max<Index>(k, 1) * gemm_rows * static_cast<Index>(sizeof(T))), 2);
  return (std::min)(strips, strip_count(m)) * gemm_rows;
}

// True where a panel must be written to scratch before the tile can read it.
template <class T>
constexpr bool makes_panels(const WeightView<T>& w) noexcept {
  return !w.panels || (w.type == PanelType::bf16 && !std::is_same_v<T, float>);
}

// rows x (panels) of y for at most gemm_few_rows rows, weight in panels of a type the tile reads.
template <class T, PanelType type, int rows>
void gemm_few(const T* x, Index ldx, const PanelElement<T, type>* w, StoreTile<T> store, GemmShape s, Index row,
              Range panels) {
  constexpr int side = gemm_many_registers ? (rows <= 2 ? 4 : 2) : (rows == 1 ? 4 : rows == 2 ? 2 : 1);
  constexpr Index cols = gemm_cols<T>;
  alignas(64) T tile[static_cast<std::size_t>(rows * side * cols)];
  const Index stride = cols * s.k;
  Index i = panels.begin;
  for (; i + side <= panels.end; i += side) {
    multiply_tile<T, type, rows, side, false>(s.k, x + row * ldx, ldx, w + i * stride, stride, tile);
    store(tile, side * cols, row, rows, i * cols, (std::min)(side * cols, s.n - i * cols));
  }
  for (; i < panels.end; ++i) {
    multiply_tile<T, type, rows, 1, false>(s.k, x + row * ldx, ldx, w + i * stride, stride, tile);
    store(tile, cols, row, rows, i * cols, (std::min)(cols, s.n - i * cols));
  }
}

// The rows [rows) x panels [panels) of y.
template <class T, PanelType type>
void gemm_piece(const T* x, Index ldx, const WeightView<T>& w, StoreTile<T> store, GemmShape s, Range rows,
                Range panels, Scratch& scratch) {
  constexpr Index cols = gemm_cols<T>;
  constexpr bool readable = type == PanelType::same || std::is_same_v<T, float>;  // by the tile
  const auto* packed = static_cast<const PanelElement<T, type>*>(w.panels);
  alignas(64) T tile[static_cast<std::size_t>(gemm_rows * cols)];
  if (rows.end - rows.begin <= gemm_few_rows) {
    if constexpr (readable) {
      if (packed) {
        switch (rows.end - rows.begin) {
          case 1:
            return gemm_few<T, type, 1>(x, ldx, packed, store, s, rows.begin, panels);
          case 2:
            return gemm_few<T, type, 2>(x, ldx, packed, store, s, rows.begin, panels);
          case 3:
            return gemm_few<T, type, 3>(x, ldx, packed, store, s, rows.begin, panels);
          case 4:
            return gemm_few<T, type, 4>(x, ldx, packed, store, s, rows.begin, panels);
        }
      }
    }
    if (!packed) {
      const Index few = rows.end - rows.begin;
      for (Index i = panels.begin; i < panels.end; ++i) {
        const Index lanes = (std::min)(cols, s.n - i * cols);
        multiply_few_rows(few, s.k, x + rows.begin * ldx, ldx, w.rows + i * cols * w.ldw, w.ldw, lanes, tile);
        store(tile, cols, rows.begin, few, i * cols, lanes);
      }
      return;
    }
  }
  const bool make = makes_panels(w);
  const Index block = gemm_block_rows<T>(s.m, s.k, make);
  T* strips = scratch.take<T>(packed_count<gemm_rows, T>(block, s.k));
  T* fresh = make ? scratch.take<T>(cols * s.k) : nullptr;
  for (Index begin = rows.begin; begin < rows.end; begin += block) {
    const Index end = (std::min)(begin + block, rows.end);
    for (Index i = begin; i < end; i += gemm_rows) {
      const Index valid = std::min<Index>(gemm_rows, end - i);
      pack_strip<gemm_rows>(x + i * ldx, ldx, 1, valid, s.k, strips + (i - begin) * s.k);
    }
    for (Index p = panels.begin; p < panels.end; ++p) {
      const Index lanes = (std::min)(cols, s.n - p * cols);
      if (!packed) pack_strip<gemm_cols<T>>(w.rows + p * cols * w.ldw, w.ldw, 1, lanes, s.k, fresh);
      if constexpr (!readable) widen_panel(packed + p * cols * s.k, s.k, fresh);
      for (Index i = begin; i < end; i += gemm_rows) {
        const Index valid = std::min<Index>(gemm_rows, end - i);
        if constexpr (readable) {
          if (packed) {
            multiply_strip<T, type>(valid, s.k, strips + (i - begin) * s.k, packed + p * cols * s.k, tile);
          } else {
            multiply_strip<T, PanelType::same>(valid, s.k, strips + (i - begin) * s.k, fresh, tile);
          }
        } else {
          multiply_strip<T, PanelType::same>(valid, s.k, strips + (i - begin) * s.k, fresh, tile);
        }
        store(tile, cols, i, valid, p * cols, lanes);
      }
    }
  }
}

// The pieces of gemm. Not inlined: it is the same for every epilogue.
template <class T>
[[gnu::noinline]] void gemm_pieces(Threads threads, const T* x, Index ldx, const WeightView<T>& w, StoreTile<T> store,
                                   GemmShape s) {
  const GemmSplit split = split_gemm<T>(s, threads.count(), makes_panels(w));
  threads.run(split.count(), [&](Index i, Scratch& scratch) {
    const GemmPiece piece = piece_of<T>(s, split, i);
    if (w.panels && w.type == PanelType::bf16) {
      gemm_piece<T, PanelType::bf16>(x, ldx, w, store, s, piece.rows, piece.panels, scratch);
    } else {
      gemm_piece<T, PanelType::same>(x, ldx, w, store, s, piece.rows, piece.panels, scratch);
    }
  });
}

}  // namespace detail

// Bytes of scratch that a running piece of gemm needs.
template <class T>
constexpr std::size_t gemm_scratch(GemmShape s, const WeightView<T>& w) noexcept {
  const bool make = detail::makes_panels(w);
  const Index strips = detail::packed_count<detail::gemm_rows, T>(detail::gemm_block_rows<T>(s.m, s.k, make), s.k);
  const Index panel = make ? detail::gemm_cols<T> * s.k : 0;
  return static_cast<std::size_t>(strips + panel) * sizeof(T) + 128;
}

// y [m, n] = epilogue(x [m, k] W [n, k]^T): torch.nn.functional.linear and what follows it (see gemm_epilogue.hpp).
// Sums in T, k in the order of gemm_tile.hpp: y's bits depend neither on m, on the rows beside, on the threads, nor on
// whether W comes as rows, panels, or bf16 panels of the same values. k = 0: y = epilogue(0). y overlaps neither x nor
// W (the epilogue's operands may be y). 2 m n k operations; memory-bound on W below some 10 rows.
template <class T, EpilogueOf<T> Epilogue>
void gemm(Threads threads, const T* x, Index ldx, WeightView<T> w, const Epilogue& epilogue, T* y, Index ldy,
          GemmShape s) {
  if (s.m <= 0 || s.n <= 0) return;
  detail::gemm_pieces<T>(
      threads, x, ldx, w,
      [&](const T* tile, Index tile_stride, Index row, Index rows, Index column, Index cols) {
        detail::apply_epilogue(epilogue, tile, tile_stride, row, rows, column, cols, y, ldy);
      },
      s);
}

}  // namespace aulos::inline AULOS_ISA::kernels
