// Rows of a matrix as kernels see them, rows shared by groups of rows, and how rows are cut into pieces.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>

#include "aulos/core/config.hpp"
#include "aulos/core/function_ref.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/simd/convert.hpp"
#include "aulos/simd/for_lanes.hpp"
#include "aulos/simd/stream.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// Row r starts at data + r * stride; its columns are contiguous. {} stands for "absent".
template <class T>
struct Rows {
  T* data = nullptr;
  Index stride = 0;

  T* operator[](Index row) const noexcept { return data + row * stride; }
  explicit operator bool() const noexcept { return data != nullptr; }
  operator Rows<const T>() const noexcept requires(!std::is_const_v<T>) { return {data, stride}; }
};

// Row r is the one at data + (r / rows_per) * stride. One row for each sample of N tokens: {p, C, N}; for each token:
// {p, C, 1}; one for all: {p, 0, 1}. {} stands for "absent".
template <class T>
struct SharedRows {
  T* data = nullptr;
  Index stride = 0;
  Index rows_per = 1;

  T* operator[](Index row) const noexcept { return data + row / rows_per * stride; }
  explicit operator bool() const noexcept { return data != nullptr; }
  operator SharedRows<const T>() const noexcept requires(!std::is_const_v<T>) { return {data, stride, rows_per}; }
};

namespace detail {

// Elements of one piece of elementwise work: 5 to 20 microseconds.
inline constexpr Index piece_elements = 16384;

// Runs body(row) for every row, whole rows to a piece. For work whose rows don't depend on each other. `past`: whether
// some go past the caches.
template <class Body>
void for_rows(Threads threads, Index rows, Index columns, const Body& body, bool past = false) {
  if (rows <= 0 || columns <= 0) return;
  const Index per_piece = std::max<Index>(1, piece_elements / columns);
  threads.run((rows + per_piece - 1) / per_piece, [&](Index piece, Scratch&) {
    const Index end = (std::min)(rows, (piece + 1) * per_piece);
    for (Index row = piece * per_piece; row < end; ++row) body(row);
    if (past) simd::stream_fence();
  });
}

// Runs body(row, column, length) on stretches that cover all elements, for elementwise work. `dense`: the rows of all
// operands follow each other without gaps, so that the whole is one row.
[[gnu::noinline]] inline void for_stretches(Threads threads, Index rows, Index columns, bool dense,
                                            FunctionRef<void(Index row, Index column, Index length)> body) {
  if (rows <= 0 || columns <= 0) return;
  if (dense) {
    columns *= rows;
    rows = 1;
  }
  // Nothing to share, so nothing to cut: a team costs a small call a tenth of its time.
  if (threads.count() == 1 || rows * columns <= piece_elements) {
    for (Index row = 0; row < rows; ++row) body(row, 0, columns);
    return;
  }
  const Index stretches = (columns + piece_elements - 1) / piece_elements;
  const Index per_piece = std::max<Index>(1, piece_elements / columns);  // rows; 1 where a row has several stretches
  threads.run((rows + per_piece - 1) / per_piece * stretches, [&](Index piece, Scratch&) {
    const Index column = piece % stretches * piece_elements;
    const Index first = piece / stretches * per_piece;
    const Index end = (std::min)(rows, first + per_piece);
    for (Index row = first; row < end; ++row) body(row, column, (std::min)(piece_elements, columns - column));
  });
}

// Results of this many bytes are gone from the caches before anyone reads them: they are better written past the
// caches, where every row starts at a batch and what was read is not overwritten.
inline constexpr Index past_caches_bytes = 16 * 1024 * 1024;
template <class T>
bool past_caches(const T* read, Rows<T> written, Index rows, Index columns) noexcept {
  constexpr Index size = static_cast<Index>(sizeof(T)), batch = size * simd::lanes<T>;
  return simd::has_stream && read != written.data && rows * columns >= past_caches_bytes / size &&
         reinterpret_cast<std::uintptr_t>(written.data) % static_cast<std::uintptr_t>(batch) == 0 &&
         written.stride * size % batch == 0;
}

// Columns of one piece of column_sums at most: the longer the stretches of rows, the faster memory gives them.
inline constexpr Index sum_columns = 512;

// out[k] of a group = the sum of term_k over the rows of the group, `rows_per` rows to a group (all rows where it is
// 0), for every column. term(row, column, part) gives a batch for each k. In double, the rows in order, so that the
// result depends neither on the threads nor on how columns are cut. Absent outputs are skipped. Without rows there are
// no groups, and sums over all rows are 0.
template <class T, std::size_t K, class Term>
void column_sums(Threads threads, Index rows, Index rows_per, Index columns, const std::array<Rows<T>, K>& out,
                 const Term& term) {
  const Index groups = rows_per == 0 ? 1 : (rows + rows_per - 1) / rows_per;
  if (columns <= 0 || groups == 0) return;
  if (rows_per == 0) rows_per = rows;
  const Index share = (columns * groups + 2 * threads.count() - 1) / (2 * threads.count());
  const Index width =
      (std::min)(sum_columns, ((std::min)(share, columns) + simd::lanes<T> - 1) / simd::lanes<T> * simd::lanes<T>);
  const Index blocks = (columns + width - 1) / width;
  threads.run(groups * blocks, [&](Index piece, Scratch&) {
    const Index group = piece / blocks;
    const Index first = piece % blocks * width;
    const Index count = (std::min)(width, columns - first);
    alignas(64) double sum[K][sum_columns] = {};
    const Index end = (std::min)(rows, (group + 1) * rows_per);
    for (Index row = group * rows_per; row < end; ++row) {
      simd::for_lanes<T>(count, [&](Index i, auto part) {
        const std::array<simd::Batch<T>, K> terms = term(row, first + i, part);
        for (std::size_t k = 0; k < K; ++k) {
          const simd::Doubles<T> wide = simd::widen(terms[k]);
          for (std::size_t j = 0; j < simd::Doubles<T>::count; ++j) {
            double* at = sum[k] + i + static_cast<Index>(j) * simd::lanes<double>;
            simd::store(at, simd::load(at) + wide.part[j]);
          }
        }
      });
    }
    for (std::size_t k = 0; k < K; ++k) {
      if (!out[k]) continue;
      for (Index i = 0; i < count; ++i) out[k][group][first + i] = static_cast<T>(sum[k][i]);
    }
  });
}

// The rows of a gradient that groups of rows share, and how many rows a group has (0: all).
template <class T>
Rows<T> group_rows(const SharedRows<T>& shared) noexcept {
  return {shared.data, shared.stride};
}
template <class T>
Index group_size(const SharedRows<T>& shared) noexcept {
  return shared.stride == 0 ? 0 : shared.rows_per;
}

}  // namespace detail

}  // namespace aulos::inline AULOS_ISA::kernels
