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

// Sets what lies above the diagonal of s [m, m] to 0; of a strict triangle, the diagonal too.
enum class Triangle { lower, strictly_lower };

template <class T>
void keep_triangle(T* s, Index stride, Index m, Triangle triangle) {
  for (Index i = 0; i < m; ++i) {
    const Index kept = triangle == Triangle::lower ? i + 1 : i;
    std::fill_n(s + i * stride + kept, m - kept, T(0));
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::chunk
