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
#include "aulos/simd/transpose.hpp"
#include "aulos/simd/unroll.hpp"

namespace aulos::inline AULOS_ISA::kernels::chunk {

// Rows `stride` apart as a matrix; its transpose is .transposed().
template <class T>
MatrixView<const T> matrix(const T* data, Index rows, Index columns, Index stride) {
  return {data, rows, columns, stride, 1};
}

namespace detail {

// Rows and batches of columns of a tile: accumulators enough to hide the latency of a multiply-add.
#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr int tile_rows = 8;
#else
inline constexpr int tile_rows = 4;
#endif

// c [valid, width batches] (+)= a b over k, `valid` <= tile_rows. a and b are read where they lie.
template <class T, int width, class Part>
[[gnu::noinline]] void product_tile(MatrixView<const T> a, Index valid, const T* b, Index ldb, T* c, Index ldc,
                                    Update update, Part part) {
  constexpr int rows = tile_rows;
  const T* row[static_cast<std::size_t>(rows)];
  simd::Batch<T> sum[static_cast<std::size_t>(rows)][static_cast<std::size_t>(width)];
  AULOS_UNROLL for (int r = 0; r < rows; ++r) {
    row[r] = a.data + std::min<Index>(r, valid - 1) * a.row_stride;  // one that is no row repeats the last
    AULOS_UNROLL for (int w = 0; w < width; ++w) sum[r][w] = simd::Batch<T>(T(0));
  }
  const Index step = a.col_stride;
  for (Index k = 0, at = 0; k < a.cols; ++k, at += step, b += ldb) {
    simd::Batch<T> column[static_cast<std::size_t>(width)];
    AULOS_UNROLL for (int w = 0; w < width; ++w) column[w] = part.load(b + w * simd::lanes<T>);
    AULOS_UNROLL for (int r = 0; r < rows; ++r) {
      const simd::Batch<T> x(row[r][at]);
      AULOS_UNROLL for (int w = 0; w < width; ++w) sum[r][w] = simd::fma(x, column[w], sum[r][w]);
    }
  }
  AULOS_UNROLL for (int r = 0; r < rows; ++r) {
    if (r >= valid) continue;
    AULOS_UNROLL for (int w = 0; w < width; ++w) {
      T* to = c + r * ldc + w * simd::lanes<T>;
      part.store(to, update == Update::add ? part.load(to) + sum[r][w] : sum[r][w]);
    }
  }
}

// to [cols, rows of a], rows `stride` apart, a whole number of batches: the transpose of a, whose rows are contiguous.
template <class T>
[[gnu::noinline]] void pack_transposed(MatrixView<const T> a, T* to, Index stride) {
  constexpr Index lanes = simd::lanes<T>;
  for (Index r = 0; r < a.rows; r += lanes) {
    for (Index c = 0; c < a.cols; c += lanes) {
      simd::Batch<T> column[static_cast<std::size_t>(lanes)];
      const Index cols = (std::min)(lanes, a.cols - c), rows = (std::min)(lanes, a.rows - r);
      const T* from = a.data + r * a.row_stride + c;
      if (cols == lanes && rows == lanes) {
        simd::load_transposed<T>(from, a.row_stride, lanes, lanes, column);
        AULOS_UNROLL for (Index i = 0; i < lanes; ++i) simd::store(to + (c + i) * stride + r, column[i]);
      } else {
        simd::load_transposed<T>(from, a.row_stride, rows, cols, column);
        for (Index i = 0; i < cols; ++i) simd::store(to + (c + i) * stride + r, column[i]);
      }
    }
  }
}

// Columns of a packed transpose, rows of which start at a batch.
template <class T>
constexpr Index packed_stride(Index columns) noexcept {
  return (columns + simd::lanes<T> - 1) / simd::lanes<T> * simd::lanes<T>;
}

}  // namespace detail

// Asks the memory for rows that will be read or written, a few lines at a time, between the tiles of the products
// before them.
template <class T>
class RowsAhead {
 public:
  enum class Use { read, write };

  void add(const T* data, Index stride, Index rows, Index width, Use use = Use::read) noexcept {
    if (rows > 0 && width > 0) source_[sources_++] = {data, stride, rows, (width + line - 1) / line, use};
  }

  void some() noexcept {
    for (Index left = 32; left > 0 && at_ < sources_;) {
      Source& s = source_[at_];
      const T* p = s.data + done_ * line;
      const Index count = (std::min)(left, s.lines - done_);
      if (s.use == Use::write) {
        for (Index i = 0; i < count; ++i) __builtin_prefetch(p + i * line, 1, 2);
      } else {
        for (Index i = 0; i < count; ++i) __builtin_prefetch(p + i * line, 0, 2);
      }
      left -= count;
      done_ += count;
      if (done_ < s.lines) return;
      done_ = 0;
      s.data += s.stride;
      if (--s.rows == 0) ++at_;
    }
  }

 private:
  static constexpr Index line = 64 / static_cast<Index>(sizeof(T));
  struct Source {
    const T* data;
    Index stride, rows, lines;
    Use use;
  };
  Source source_[4];
  Index sources_ = 0, at_ = 0, done_ = 0;  // done_: lines of the row at hand
};

// Which elements of a product are wanted: with `lower` those above the diagonal may be left as they are.
enum class Cover { all, lower };

// c [m, n] (+)= a [m, k] b [k, n] on this thread: each element a sum in T over k in order. The rows of b or its columns
// are contiguous; in the second case it is copied to what is left of the scratch.
template <class T>
void product(MatrixView<const T> a, MatrixView<const T> b, T* c, Index ldc, Update update, Scratch scratch,
             Cover cover = Cover::all, RowsAhead<T>* ahead = nullptr) {
  constexpr Index lanes = simd::lanes<T>;
  const T* from = b.data;
  Index ldb = b.row_stride;
  if (b.col_stride != 1) {
    ldb = detail::packed_stride<T>(b.cols);
    T* packed = scratch.take<T>(b.rows * ldb);
    detail::pack_transposed(b.transposed(), packed, ldb);
    from = packed;
  }
  for (Index j = 0; j < b.cols;) {
    const bool wide = j + 2 * lanes <= b.cols;
    const Index top = cover == Cover::all ? 0 : j / detail::tile_rows * detail::tile_rows;
    for (Index i = top; i < a.rows; i += detail::tile_rows) {
      const Index valid = std::min<Index>(detail::tile_rows, a.rows - i);
      const MatrixView<const T> rows{a.data + i * a.row_stride, valid, a.cols, a.row_stride, a.col_stride};
      if (wide) {
        detail::product_tile<T, 2>(rows, valid, from + j, ldb, c + i * ldc + j, ldc, update, simd::WholeBatch<T>{});
      } else {
        detail::product_tile<T, 1>(rows, valid, from + j, ldb, c + i * ldc + j, ldc, update,
                                   simd::PartialBatch<T>{(std::min)(lanes, b.cols - j)});
      }
      if (ahead != nullptr) ahead->some();
    }
    j += wide ? 2 * lanes : lanes;
  }
}

// Scratch for any one of the products at a time.
template <class T>
std::size_t product_scratch(std::initializer_list<GemmShape> shapes) {
  std::size_t most = 0;
  for (const GemmShape& shape : shapes) {
    most = (std::max)(most, scratch_size<T>(shape.k * detail::packed_stride<T>(shape.n)));
  }
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
[[gnu::noinline]] void triangle_tile(Triangle triangle, MatrixView<const T> a, Index first, Index valid, const T* b,
                                     Index ldb, T* c, Index ldc, Update update, Part part) {
  constexpr int rows = tile_rows;
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
  const auto some = [&](Index k, Index stop) {
    for (; k < stop; ++k) {
      simd::Batch<T> column[static_cast<std::size_t>(width)];
      AULOS_UNROLL for (int w = 0; w < width; ++w) column[w] = part.load(b + k * ldb + w * simd::lanes<T>);
      AULOS_UNROLL for (int r = 0; r < rows; ++r) {
        if (lower ? k >= first + r + 1 - strict : k < first + r + strict) continue;
        const simd::Batch<T> x(row[r][k * a.col_stride]);
        AULOS_UNROLL for (int w = 0; w < width; ++w) sum[r][w] = simd::fma(x, column[w], sum[r][w]);
      }
    }
  };
  some(begin, (std::min)(from, end));
  for (Index k = (std::max)(begin, from); k < to; ++k) {
    simd::Batch<T> column[static_cast<std::size_t>(width)];
    AULOS_UNROLL for (int w = 0; w < width; ++w) column[w] = part.load(b + k * ldb + w * simd::lanes<T>);
    AULOS_UNROLL for (int r = 0; r < rows; ++r) {
      const simd::Batch<T> x(row[r][k * a.col_stride]);
      AULOS_UNROLL for (int w = 0; w < width; ++w) sum[r][w] = simd::fma(x, column[w], sum[r][w]);
    }
  }
  some((std::max)(begin, to), end);
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
  constexpr Index rows = detail::tile_rows, lanes = simd::lanes<T>;
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
