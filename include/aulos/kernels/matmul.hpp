// General matrix products: any strides on either side, C assigned or added to, one or many.
#pragma once

#include <algorithm>
#include <cstddef>

#include "aulos/core/threads.hpp"
#include "aulos/kernels/gemm_epilogue.hpp"
#include "aulos/kernels/gemm_pack.hpp"
#include "aulos/kernels/gemm_split.hpp"
#include "aulos/kernels/gemm_tile.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// A matrix with any strides: element (i, j) at data[i * row_stride + j * col_stride].
template <class T>
struct MatrixView {
  T* data;
  Index rows, cols, row_stride, col_stride;

  constexpr MatrixView transposed() const noexcept { return {data, cols, rows, col_stride, row_stride}; }
};

enum class Update { assign, add };

// One product of a batch: a [m, k], b [k, n], c [m, n] with rows ldc apart.
template <class T>
struct MatmulOperands {
  MatrixView<const T> a, b;
  T* c;
  Index ldc;
};

namespace detail {

// Rows of A that are packed at a time: B is packed again for each block of them.
template <class T>
constexpr Index matmul_block_rows(Index m, Index k) noexcept {
  const Index bytes = (std::min)(std::max<Index>(k, 1), gemm_k_chunk) * static_cast<Index>(sizeof(T)) * gemm_rows;
  const Index strips = std::max<Index>(4 * 1024 * 1024 / bytes, 1);
  return (std::min)(strips, strip_count(m)) * gemm_rows;
}

// Rows [rows) x panels [panels) of C. Chunks of k are outermost: C itself holds the sum of those done.
template <class T>
void matmul_piece(const MatmulOperands<T>& o, Update update, GemmShape s, Range rows, Range panels, Scratch& scratch) {
  constexpr Index cols = gemm_cols<T>;
  const Index block = matmul_block_rows<T>(s.m, s.k), depth = (std::min)(s.k, gemm_k_chunk);
  alignas(64) T tile[static_cast<std::size_t>(gemm_rows * cols)];
  T* strips = scratch.take<T>(packed_count<gemm_rows, T>(block, depth));
  T* panel = scratch.take<T>(cols * depth);
  for (Index begin = rows.begin; begin < rows.end; begin += block) {
    const Index end = (std::min)(begin + block, rows.end);
    Index from = 0;
    do {
      const Index chunk = (std::min)(gemm_k_chunk, s.k - from);
      const bool add = from > 0 || update == Update::add;
      for (Index i = begin; i < end; i += gemm_rows) {
        pack_strip<gemm_rows>(o.a.data + i * o.a.row_stride + from * o.a.col_stride, o.a.row_stride, o.a.col_stride,
                              std::min<Index>(gemm_rows, end - i), chunk, strips + (i - begin) * chunk);
      }
      for (Index p = panels.begin; p < panels.end; ++p) {
        const Index lanes = (std::min)(cols, s.n - p * cols);
        pack_strip<gemm_cols<T>>(o.b.data + from * o.b.row_stride + p * cols * o.b.col_stride, o.b.col_stride,
                                 o.b.row_stride, lanes, chunk, panel);
        for (Index i = begin; i < end; i += gemm_rows) {
          const Index valid = std::min<Index>(gemm_rows, end - i);
          multiply_strip<T, Numeric::exact>(valid, chunk, strips + (i - begin) * chunk, panel, tile);
          if (add) {
            apply_epilogue(AddTo<T>{o.c, o.ldc}, tile, cols, i, valid, p * cols, lanes, o.c, o.ldc);
          } else {
            apply_epilogue(NoEpilogue{}, tile, cols, i, valid, p * cols, lanes, o.c, o.ldc);
          }
        }
      }
      from += chunk;
    } while (from < s.k);
  }
}

}  // namespace detail

// Bytes of scratch that a running piece of matmul or batched_matmul needs.
template <class T>
constexpr std::size_t matmul_scratch(GemmShape s) noexcept {
  const Index depth = (std::min)(s.k, detail::gemm_k_chunk);
  const Index strips = detail::packed_count<detail::gemm_rows, T>(detail::matmul_block_rows<T>(s.m, s.k), depth);
  return static_cast<std::size_t>(strips + detail::gemm_cols<T> * depth) * sizeof(T) + 128;
}

// C_i [m, n] (+)= A_i [m, k] B_i [k, n] for i < batch, with at(i) -> MatmulOperands<T>, all of shape {m, n, k}:
// torch.bmm, baddbmm, and the products of a linear layer's gradient. Sums in T, k in the order of gemm_tile.hpp, never
// split among threads; each chunk of k is added to C in order. No C overlaps an operand or another C. 2 batch m n k
// operations; an axis with stride 1 on each side is fast.
template <class T, class At>
void batched_matmul(Threads threads, Index batch, GemmShape s, const At& at, Update update) {
  if (batch <= 0 || s.m <= 0 || s.n <= 0 || (s.k <= 0 && update == Update::add)) return;
  const Index wanted = detail::pieces_for(detail::gemm_flops(s) * static_cast<double>(batch), threads.count(), 4);
  const Index groups = (std::min)(wanted, batch);  // whole products, if there are enough of them
  const detail::GemmSplit split =
      groups == wanted ? detail::GemmSplit{1, 1} : detail::split_gemm<T>(s, threads.count(), true);
  threads.run(groups * split.count(), [&](Index i, Scratch& scratch) {
    const detail::Range items = detail::part_of(batch, groups, i / split.count());
    const detail::GemmPiece piece = detail::piece_of<T>(s, split, i % split.count());
    for (Index item = items.begin; item < items.end; ++item) {
      Scratch own = scratch;
      const MatmulOperands<T> operands = at(item);
      detail::matmul_piece<T>(operands, update, s, piece.rows, piece.panels, own);
    }
  });
}

// C [m, n] (+)= A [m, k] B [k, n]: torch.matmul, addmm. As batched_matmul with one product.
template <class T>
void matmul(Threads threads, MatrixView<const T> a, MatrixView<const T> b, T* c, Index ldc, Update update) {
  batched_matmul<T>(
      threads, 1, {a.rows, b.cols, a.cols},
      [&](Index) {
        return MatmulOperands<T>{a, b, c, ldc};
      },
      update);
}

}  // namespace aulos::inline AULOS_ISA::kernels
