// General matrix products: any strides on either side, C assigned or added to, one or many.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "aulos/core/threads.hpp"
#include "aulos/kernels/gemm_epilogue.hpp"
#include "aulos/kernels/gemm_pack.hpp"
#include "aulos/kernels/gemm_split.hpp"
#include "aulos/kernels/gemm_tile.hpp"
#include "aulos/simd/amx.hpp"
#include "aulos/simd/for_lanes.hpp"

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

// What a piece packs at a time: strips of A, a block for the third-level cache, each of which meets a few panels of B,
// which stay in the second-level one, of 2 MiB where there are tiles.
template <class T>
struct MatmulBlock {
  Index depth, strips, panels;

  constexpr explicit MatmulBlock(GemmShape s) noexcept : depth((std::min)(s.k, gemm_k_chunk)) {
    constexpr Index strip_bytes = 2 * 1024 * 1024, panel_bytes = (simd::has_tiles ? 800 : 200) * 1024;
    const Index line = std::max<Index>(depth, 1) * static_cast<Index>(sizeof(T)), all = strip_count(s.m);
    const Index most = std::max<Index>(strip_bytes / (line * gemm_rows), 1);
    const Index blocks = std::max<Index>((all + most - 1) / most, 1);  // of the same size
    strips = (all + blocks - 1) / blocks;
    panels = (std::min)(std::max<Index>(panel_bytes / (line * gemm_cols<T>), 1), panel_count<T>(s.n));
  }
  constexpr Index strips_size() const noexcept { return strips * gemm_rows * depth + simd::lanes<T>; }
  constexpr Index panels_size() const noexcept { return panels * gemm_cols<T> * depth + simd::lanes<T>; }
};

// Pieces that pack as few elements as possible: each packs its rows of A and its columns of B.
template <class T>
constexpr GemmSplit split_matmul(GemmShape s, Index threads) noexcept {
  const Index pieces = pieces_for(gemm_flops(s), threads, 2);
  Index rows = 1;
  while (rows < pieces && (rows + 1) * (rows + 1) * s.n <= s.m * pieces) ++rows;
  rows = (std::min)(rows, strip_count(s.m));
  return {rows, std::clamp<Index>(pieces / rows, 1, panel_count<T>(s.n))};
}

// `lines` lines of k elements as strips (or panels) of `width` lines one after another, as pack_strip makes them. Where
// lines lie side by side, a few strips are packed at a time: a strip alone would use parts of cache lines.
template <int width, class T>
void pack_strips(const T* p, Index lane_stride, Index k_stride, Index lines, Index k, T* out) noexcept {
  constexpr Index size = static_cast<Index>(sizeof(T)), most = std::max<Index>(512 / (width * size), 1), ahead = 12;
  while (lines > 0) {
    const bool side_by_side = lane_stride == 1 && k_stride != 1 && lines >= width;
    const Index count = side_by_side ? (std::min)(lines / width, most) : 1;
    if (side_by_side) {
      for (Index q = 0; q < k; ++q) {
        const T* row = p + q * k_stride;
        for (Index j = 0; q + ahead < k && j < count * width; j += 64 / size) {
          __builtin_prefetch(row + ahead * k_stride + j, 0, 2);
        }
        for (Index i = 0; i < count; ++i) std::memcpy(out + (i * k + q) * width, row + i * width, width * sizeof(T));
      }
    } else {
      pack_strip<width>(p, lane_stride, k_stride, std::min<Index>(width, lines), k, out);
    }
    p += count * width * lane_stride;
    out += count * width * k;
    lines -= count * width;
  }
}

// `valid` rows x `used` columns of C at c (+)= a packed strip times a packed panel.
template <class T>
void matmul_tile(const T* strip, const T* panel, Index depth, Index valid, Index used, T* c, Index ldc, Update update,
                 Ahead ahead) {
  constexpr Index cols = gemm_cols<T>, line = static_cast<Index>(64 / sizeof(T));
  for (Index r = 0; r < valid; ++r) {
    for (Index j = 0; j < used; j += line) __builtin_prefetch(c + r * ldc + j, 1, 3);
  }
  if (used == cols && valid % 2 == 0) {
    return multiply_strip<T, Numeric::exact>(valid, depth, strip, panel, {c, ldc, nullptr, update == Update::add},
                                             ahead);
  }
  alignas(64) T tile[static_cast<std::size_t>(gemm_rows * cols)];
  multiply_strip<T, Numeric::exact>(valid, depth, strip, panel, tile, ahead);
  if (update == Update::add) {
    apply_epilogue(AddTo<T>{c, ldc}, tile, cols, 0, valid, 0, used, c, ldc);
  } else {
    apply_epilogue(NoEpilogue{}, tile, cols, 0, valid, 0, used, c, ldc);
  }
}

// Rows [rows) x panels [panels) of C. Chunks of k are outermost: C itself holds the sum of those done. While tiles are
// multiplied, what comes next is fetched: the strip after this one, and in the last tiles what the next panels are made
// of, a line of each row at a time (rows are too far apart for the processor to foresee: a fifth of the time where few
// rows of A meet B).
template <class T>
void matmul_piece(const MatmulOperands<T>& o, Update update, GemmShape s, Range rows, Range panels, Scratch& scratch) {
  constexpr Index cols = gemm_cols<T>, size = static_cast<Index>(sizeof(T)), line = 64 / size;
  const MatmulBlock<T> block(s);
  T* strips = scratch.take<T>(block.strips_size());
  T* fresh = scratch.take<T>(block.panels_size());
  const auto address = [](const T* p) { return reinterpret_cast<const std::byte*>(p); };
  Index from = 0;
  do {
    const Index depth = (std::min)(gemm_k_chunk, s.k - from);
    const Update then = from > 0 ? Update::add : update;
    for (Index begin = rows.begin; begin < rows.end; begin += block.strips * gemm_rows) {
      const Index end = (std::min)(begin + block.strips * gemm_rows, rows.end);
      pack_strips<gemm_rows>(o.a.data + begin * o.a.row_stride + from * o.a.col_stride, o.a.row_stride, o.a.col_stride,
                             end - begin, depth, strips);
      for (Index first = panels.begin; first < panels.end; first += block.panels) {
        const Index count = (std::min)(block.panels, panels.end - first), column = first * cols;
        const Index columns = (std::min)(count * cols, s.n - column), rest = s.n - column - columns;
        const T* b = o.b.data + from * o.b.row_stride + column * o.b.col_stride;
        pack_strips<gemm_cols<T>>(b, o.b.col_stride, o.b.row_stride, columns, depth, fresh);
        const Index lines = o.b.col_stride == 1 ? (std::min)(block.panels * cols, rest) / line : 0;
        const Index step = gemm_rows * size / count;
        Index left = strip_count(end - begin) * count;  // tiles
        for (Index i = begin; i < end; i += gemm_rows) {
          const T* strip = strips + (i - begin) * depth;
          const T* next = i + gemm_rows < end ? strip + gemm_rows * depth : strips;
          for (Index p = 0; p < count; ++p, --left) {
            const Ahead ahead = left > lines
                                    ? Ahead{address(next) + p * step * depth, step}
                                    : Ahead{address(b + columns + (lines - left) * line), o.b.row_stride * size};
            matmul_tile(strip, fresh + p * cols * depth, depth, std::min<Index>(gemm_rows, end - i),
                        (std::min)(cols, columns - p * cols), o.c + i * o.ldc + column + p * cols, o.ldc, then, ahead);
          }
        }
      }
    }
    from += depth;
  } while (from < s.k);
}

// Up to here rows of A read B in place: no element of it is used often enough to be packed.
inline constexpr Index matmul_few_rows = 4;
inline constexpr Index matmul_few_columns = 1024;  // whose sums the first-level cache keeps

// to[j] = base[j] + (sum[j] + a_0 b_0[j] + a_1 b_1[j] + ...) over `terms` rows of B; base and sum may be absent.
template <class T>
[[gnu::noinline]] void combine_rows(const T* a, Index a_stride, const T* b, Index ldb, Index terms, Index columns,
                                    const T* base, const T* sum, T* to) {
  simd::for_lanes<T>(columns, [=](Index j, auto part) {
    simd::Batch<T> x = sum != nullptr ? part.load(sum + j) : simd::Batch<T>(T(0));
    for (Index q = 0; q < terms; ++q) x = simd::fma(simd::Batch<T>(a[q * a_stride]), part.load(b + q * ldb + j), x);
    part.store(to + j, base != nullptr ? part.load(base + j) + x : x);
  });
}

// matmul_piece for few rows of A and contiguous ones of B: the same sums.
template <class T>
void matmul_in_place(const MatmulOperands<T>& o, Update update, GemmShape s, Range rows, Range panels,
                     Scratch& scratch) {
  constexpr Index group = 8;  // rows of B at a time
  T* sums = scratch.take<T>(matmul_few_rows * matmul_few_columns);
  const Index end = (std::min)(panels.end * gemm_cols<T>, s.n);
  for (Index j = panels.begin * gemm_cols<T>; j < end; j += matmul_few_columns) {
    const Index columns = (std::min)(matmul_few_columns, end - j);
    Index q = 0;
    do {
      const Index in_chunk = q % gemm_k_chunk;
      const Index terms = (std::min)({group, gemm_k_chunk - in_chunk, s.k - q});
      const bool first = in_chunk == 0, last = q + terms == s.k || in_chunk + terms == gemm_k_chunk;
      const bool add = last && (update == Update::add || q >= gemm_k_chunk);
      for (Index i = rows.begin; i < rows.end; ++i) {
        T* sum = sums + (i - rows.begin) * matmul_few_columns;
        T* c = o.c + i * o.ldc + j;
        combine_rows(o.a.data + i * o.a.row_stride + q * o.a.col_stride, o.a.col_stride,
                     o.b.data + q * o.b.row_stride + j, o.b.row_stride, terms, columns, add ? c : nullptr,
                     first ? nullptr : sum, last ? c : sum);
      }
      q += terms;
    } while (q < s.k);
  }
}

}  // namespace detail

// Bytes of scratch that a running piece of matmul or batched_matmul needs.
template <class T>
constexpr std::size_t matmul_scratch(GemmShape s) noexcept {
  const detail::MatmulBlock<T> block(s);
  const std::size_t packed = scratch_size<T>(block.strips_size()) + scratch_size<T>(block.panels_size());
  return (std::max)(packed, scratch_size<T>(detail::matmul_few_rows * detail::matmul_few_columns));
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
      groups == wanted ? detail::GemmSplit{1, 1} : detail::split_matmul<T>(s, threads.count());
  threads.run(groups * split.count(), [&](Index i, Scratch& scratch) {
    const detail::Range items = detail::part_of(batch, groups, i / split.count());
    const detail::GemmPiece piece = detail::piece_of<T>(s, split, i % split.count());
    for (Index item = items.begin; item < items.end; ++item) {
      Scratch own = scratch;
      const MatmulOperands<T> operands = at(item);
      if (s.m <= detail::matmul_few_rows && operands.b.col_stride == 1) {
        detail::matmul_in_place<T>(operands, update, s, piece.rows, piece.panels, own);
      } else {
        detail::matmul_piece<T>(operands, update, s, piece.rows, piece.panels, own);
      }
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
