// Loads a block of rows transposed: what packs a matrix whose rows are contiguous into lanes that run across its rows.
#pragma once

#include <bit>
#include <cstring>
#include <utility>

#include "aulos/simd/batch.hpp"

namespace aulos::inline AULOS_ISA::simd {

// Columns that load_transposed reads at once: 16 bytes of each row.
template <class T>
inline constexpr Index transpose_width = static_cast<Index>(16 / sizeof(T));

namespace detail {

template <class T, std::size_t bytes>
struct Wide {
  typedef T Type __attribute__((vector_size(bytes)));
};
template <class T, std::size_t bytes>
using WideOf = typename Wide<T, bytes>::Type;  // a compiler vector: any width, shuffled by constant indices

template <class T, std::size_t bytes, std::size_t... i>
inline WideOf<T, 2 * bytes> concat(WideOf<T, bytes> a, WideOf<T, bytes> b, std::index_sequence<i...>) noexcept {
  return __builtin_shufflevector(a, b, static_cast<int>(i)...);
}

// Within each 16 bytes: a and b interleaved, of their lower (half = 0) or upper (half = 1) halves.
template <class T, int half, std::size_t bytes, std::size_t... i>
inline WideOf<T, bytes> zip(WideOf<T, bytes> a, WideOf<T, bytes> b, std::index_sequence<i...>) noexcept {
  constexpr int width = static_cast<int>(transpose_width<T>), n = static_cast<int>(sizeof...(i));
  return __builtin_shufflevector(a, b,
                                 (static_cast<int>(i) / width * width + half * width / 2 +
                                  static_cast<int>(i) % width / 2 + static_cast<int>(i) % 2 * n)...);
}

// 16 bytes of each of `bytes / 16` rows, `step` rows apart; rows from `rows` on are zero and are not read.
template <class T, std::size_t bytes, int rows, int row, int step>
inline WideOf<T, bytes> gather_rows(const T* p, Index ld) noexcept {
  if constexpr (bytes == 16) {
    WideOf<T, 16> x = {};
    if constexpr (row < rows) std::memcpy(&x, p + row * ld, 16);
    return x;
  } else {
    constexpr int half = static_cast<int>(bytes / 32) * step;
    return concat<T, bytes / 2>(gather_rows<T, bytes / 2, rows, row, step>(p, ld),
                                gather_rows<T, bytes / 2, rows, row + half, step>(p, ld),
                                std::make_index_sequence<bytes / sizeof(T)>{});
  }
}

}  // namespace detail

// column[e], lane r = p[r * ld + e] for r < rows (<= lanes) and e < transpose_width; the other lanes are zero. Reads
// 16 bytes of each row and shuffles within 16 bytes only (log2(transpose_width) shuffles per column).
template <int rows, class T>
inline void load_transposed(const T* p, Index ld, Batch<T> (&column)[static_cast<std::size_t>(transpose_width<T>)]) {
  constexpr std::size_t bytes = sizeof(T) * static_cast<std::size_t>(lanes<T>);
  constexpr int width = static_cast<int>(transpose_width<T>);
  static_assert(rows >= 1 && rows <= lanes<T>);
  using Lanes = std::make_index_sequence<static_cast<std::size_t>(lanes<T>)>;
  using Register = typename Batch<T>::Native::register_type;
  auto lo = [](auto a, auto b) { return detail::zip<T, 0, bytes>(a, b, Lanes{}); };
  auto hi = [](auto a, auto b) { return detail::zip<T, 1, bytes>(a, b, Lanes{}); };
  auto batch = [](detail::WideOf<T, bytes> x) {
    return Batch<T>(typename Batch<T>::Native(std::bit_cast<Register>(x)));
  };
  const auto x0 = detail::gather_rows<T, bytes, rows, 0, width>(p, ld);
  const auto x1 = detail::gather_rows<T, bytes, rows, 1, width>(p, ld);
  if constexpr (width == 2) {
    column[0] = batch(lo(x0, x1));
    column[1] = batch(hi(x0, x1));
  } else {
    const auto x2 = detail::gather_rows<T, bytes, rows, 2, width>(p, ld);
    const auto x3 = detail::gather_rows<T, bytes, rows, 3, width>(p, ld);
    const auto even0 = lo(x0, x2), even1 = hi(x0, x2), odd0 = lo(x1, x3), odd1 = hi(x1, x3);
    column[0] = batch(lo(even0, odd0));
    column[1] = batch(hi(even0, odd0));
    column[2] = batch(lo(even1, odd1));
    column[3] = batch(hi(even1, odd1));
  }
}

}  // namespace aulos::inline AULOS_ISA::simd
