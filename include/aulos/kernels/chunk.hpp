// What the chunked recurrences (linear attention, the delta rule) are made of: products of small dense matrices inside
// one piece, and loops over their rows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>

#include "aulos/core/scratch.hpp"
#include "aulos/kernels/matmul.hpp"
#include "aulos/simd/for_lanes.hpp"
#include "aulos/simd/row_sum.hpp"
#include "aulos/simd/unroll.hpp"

namespace aulos::inline AULOS_ISA::kernels::chunk {

// Rows `stride` apart as a matrix; its transpose is .transposed().
template <class T>
MatrixView<const T> matrix(const T* data, Index rows, Index columns, Index stride) {
  return {data, rows, columns, stride, 1};
}

// c [m, n] (+)= a [m, k] b [k, n] on this thread, in the order of `matmul`. Takes its copies from what is left of the
// scratch.
template <class T>
[[gnu::noinline]] void product(MatrixView<const T> a, MatrixView<const T> b, T* c, Index ldc, Update update,
                               Scratch scratch) {
  const GemmShape shape{a.rows, b.cols, a.cols};
  kernels::detail::matmul_piece<T>({a, b, c, ldc}, update, shape, {0, shape.m},
                                   {0, kernels::detail::panel_count<T>(shape.n)}, scratch);
}

// Scratch for any one of the products at a time.
template <class T>
std::size_t product_scratch(std::initializer_list<GemmShape> shapes) {
  std::size_t most = 0;
  for (const GemmShape& shape : shapes) most = (std::max)(most, matmul_scratch<T>(shape));
  return most;
}

// to_r = factor weight[r] from_r; without weights, factor from_r. `to` may be `from`.
template <class T>
[[gnu::noinline]] void copy_rows(T* to, Index to_stride, const T* from, Index from_stride, Index rows, Index width,
                                 T factor, const T* weight = nullptr) {
  for (Index r = 0; r < rows; ++r) {
    const simd::Batch<T> f(weight == nullptr ? factor : factor * weight[r]);
    simd::for_lanes<T>(width, [&](Index c, auto part) {
      part.store(to + r * to_stride + c, f * part.load(from + r * from_stride + c));
    });
  }
}

// to += factor from
template <class T>
void add_row(T* to, const T* from, Index width, T factor) {
  const simd::Batch<T> f(factor);
  simd::for_lanes<T>(
      width, [&](Index c, auto part) { part.store(to + c, simd::fma(f, part.load(from + c), part.load(to + c))); });
}

// a . b
template <class T>
[[gnu::noinline]] double dot(const T* a, const T* b, Index width) {
  return simd::sum_row<T, 1>(width, [&](Index c, auto part, auto& sums) {
    sums[0] = simd::fma(part.load(a + c), part.load(b + c), sums[0]);
  })[0];
}

// to [columns, rows] = the transpose of from [rows, columns], both dense; zeros without from.
template <class T>
void transpose(T* to, const T* from, Index rows, Index columns) {
  if (from == nullptr) {
    std::fill_n(to, rows * columns, T(0));
    return;
  }
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < columns; ++c) to[c * rows + r] = from[r * columns + c];
  }
}

// Which entries of a square matrix count.
enum class Triangle { lower, strictly_lower, upper, strictly_upper };

namespace detail {

// Rows [first, first + valid) of triangle_product, `width` batches of columns from b and c on.
template <class T, int width, class Part>
[[gnu::always_inline]] inline void triangle_tile(Triangle triangle, MatrixView<const T> a, Index first, Index valid,
                                                 const T* b, Index ldb, T* c, Index ldc, Update update, Part part) {
  constexpr int rows = 4;
  const bool lower = triangle == Triangle::lower || triangle == Triangle::strictly_lower;
  const Index strict = triangle == Triangle::lower || triangle == Triangle::upper ? 0 : 1;
  // Row i sums [0, i + 1 - strict) or [i + strict, m): from `begin` to `end` some row of the tile, from `from` to `to`
  // all.
  const Index last = first + valid - 1;
  const Index begin = lower ? 0 : first + strict, end = lower ? last + 1 - strict : a.cols;
  const Index from = lower ? 0 : last + strict, to = lower ? first + 1 - strict : a.cols;
  const T* row[static_cast<std::size_t>(rows)];
  simd::Batch<T> sum[static_cast<std::size_t>(rows)][static_cast<std::size_t>(width)];
  AULOS_UNROLL for (int r = 0; r < rows; ++r) {
    row[r] = a.data + (std::min)(first + r, last) * a.row_stride;  // one that is no row of the tile repeats the last
    AULOS_UNROLL for (int w = 0; w < width; ++w) sum[r][w] = simd::Batch<T>(T(0));
  }
  for (Index k = begin; k < end; ++k) {
    simd::Batch<T> column[static_cast<std::size_t>(width)];
    AULOS_UNROLL for (int w = 0; w < width; ++w) column[w] = part.load(b + k * ldb + w * simd::lanes<T>);
    const bool all = k >= from && k < to;
    AULOS_UNROLL for (int r = 0; r < rows; ++r) {
      const bool in = all || (lower ? k < first + r + 1 - strict : k >= first + r + strict);
      if (!in) continue;
      const simd::Batch<T> x(row[r][k * a.col_stride]);
      AULOS_UNROLL for (int w = 0; w < width; ++w) sum[r][w] = simd::fma(x, column[w], sum[r][w]);
    }
  }
  AULOS_UNROLL for (int r = 0; r < rows; ++r) {
    if (r >= valid) continue;
    AULOS_UNROLL for (int w = 0; w < width; ++w) {
      T* at = c + (first + r) * ldc + w * simd::lanes<T>;
      part.store(at, update == Update::add ? part.load(at) + sum[r][w] : sum[r][w]);
    }
  }
}

}  // namespace detail

// c [m, n] (+)= the triangle of a [m, m] times b [m, n], summed in the order of `product`. Entries outside of the
// triangle are not read and count as nothing, not as zeros: 0 times NaN would take a later token to an earlier row.
template <class T>
[[gnu::noinline]] void triangle_product(Triangle triangle, MatrixView<const T> a, const T* b, Index ldb, Index n, T* c,
                                        Index ldc, Update update) {
  constexpr Index rows = 4, lanes = simd::lanes<T>;
  for (Index first = 0; first < a.rows; first += rows) {
    const Index valid = (std::min)(rows, a.rows - first);
    Index j = 0;
    for (; j + 2 * lanes <= n; j += 2 * lanes)
      detail::triangle_tile<T, 2>(triangle, a, first, valid, b + j, ldb, c + j, ldc, update, simd::WholeBatch<T>{});
    for (; j < n; j += lanes)
      detail::triangle_tile<T, 1>(triangle, a, first, valid, b + j, ldb, c + j, ldc, update,
                                  simd::PartialBatch<T>{(std::min)(lanes, n - j)});
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::chunk
