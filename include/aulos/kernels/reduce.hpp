// Sums, means and maxima over one axis, in double; the order of a sum never depends on the number of threads.
#pragma once

#include <algorithm>
#include <type_traits>

#include "aulos/core/config.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/simd/batch.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// Rows of one chunk of a sum over rows: fixed, so that results do not follow the thread count.
inline constexpr Index reduce_chunk_rows = 64;
// Columns of one piece at most: the longer the stretches of rows, the faster memory gives them.
inline constexpr Index reduce_piece_columns = 512;

namespace detail {

// sum_i f(i) over [0, count), in fixed interleaved lanes of double.
template <class F>
double sum_lanes(Index count, const F& f) {
  constexpr Index lanes = 8;
  double lane[lanes] = {};
  Index i = 0;
  for (; i + lanes <= count; i += lanes)
    for (Index l = 0; l < lanes; ++l) lane[l] += f(i + l);
  for (Index l = 0; i + l < count; ++l) lane[l] += f(i + l);
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

}  // namespace detail

// y[r] (+)= factor * sum_c x[r, c], or * sum_c x[r, c] z[r, c] with z. Rows `ldx`, `ldz` apart. torch.sum(-1).
template <class T>
void row_sum(Threads threads, const T* x, Index ldx, const T* z, Index ldz, Index rows, Index columns, double factor,
             T* y) {
  const Index rows_per_piece = std::max<Index>(1, 8192 / std::max<Index>(1, columns));
  threads.run((rows + rows_per_piece - 1) / rows_per_piece, [&](Index piece, Scratch&) {
    const Index end = (std::min)(rows, (piece + 1) * rows_per_piece);
    for (Index r = piece * rows_per_piece; r < end; ++r) {
      const T* a = x + r * ldx;
      const T* b = z == nullptr ? nullptr : z + r * ldz;
      const double sum = b == nullptr ? detail::sum_lanes(columns, [a](Index c) { return static_cast<double>(a[c]); })
                                      : detail::sum_lanes(columns, [a, b](Index c) {
                                          return static_cast<double>(a[c]) * static_cast<double>(b[c]);
                                        });
      y[r] = static_cast<T>(factor * sum);
    }
  });
}

// y[c] += sum_r x[r, c], or sum_r x[r, c] z[r, c] with z: gradients of biases and of norms' weights. Chunks of rows are
// summed in double and added in order. y has `columns` elements and is added to.
template <class T>
void column_sum_add(Threads threads, const T* x, Index ldx, const T* z, Index ldz, Index rows, Index columns, T* y) {
  if (rows == 0 || columns == 0) return;
  constexpr Index least = 64;
  const Index share = (columns + 2 * threads.count() - 1) / (2 * threads.count());
  const Index most = (std::min)(reduce_piece_columns, (share + least - 1) / least * least);
  threads.run((columns + most - 1) / most, [&](Index piece, Scratch&) {
    const Index begin = piece * most;
    const Index width = (std::min)(most, columns - begin);
    double total[reduce_piece_columns] = {};
    for (Index r0 = 0; r0 < rows; r0 += reduce_chunk_rows) {
      double chunk[reduce_piece_columns] = {};
      for (Index r = r0; r < (std::min)(rows, r0 + reduce_chunk_rows); ++r) {
        const T* a = x + r * ldx + begin;
        if (z == nullptr) {
          for (Index c = 0; c < width; ++c) chunk[c] += static_cast<double>(a[c]);
        } else {
          const T* b = z + r * ldz + begin;
          for (Index c = 0; c < width; ++c) chunk[c] += static_cast<double>(a[c]) * static_cast<double>(b[c]);
        }
      }
      for (Index c = 0; c < width; ++c) total[c] += chunk[c];
    }
    for (Index c = 0; c < width; ++c) y[begin + c] += static_cast<T>(total[c]);
  });
}

// The sum of all elements of x (of x * z with z), dense, in double: chunks of 4096 elements in order.
template <class T>
double total_sum(const T* x, const T* z, Index count) {
  constexpr Index chunk = 4096;
  double total = 0;
  for (Index begin = 0; begin < count; begin += chunk) {
    const Index length = (std::min)(chunk, count - begin);
    const T* a = x + begin;
    const T* b = z == nullptr ? nullptr : z + begin;
    total += b == nullptr ? detail::sum_lanes(length, [a](Index i) { return static_cast<double>(a[i]); })
                          : detail::sum_lanes(length, [a, b](Index i) {
                              return static_cast<double>(a[i]) * static_cast<double>(b[i]);
                            });
  }
  return total;
}

// value[r] = max_c x[r, c] and at[r] its first column; a NaN is the maximum, as in torch.max(dim=-1). columns > 0.
template <class T>
void row_max(Threads threads, const T* x, Index ldx, Index rows, Index columns, T* value, std::int64_t* at) {
  const Index rows_per_piece = std::max<Index>(1, 8192 / std::max<Index>(1, columns));
  threads.run((rows + rows_per_piece - 1) / rows_per_piece, [&](Index piece, Scratch&) {
    const Index end = (std::min)(rows, (piece + 1) * rows_per_piece);
    for (Index r = piece * rows_per_piece; r < end; ++r) {
      const T* a = x + r * ldx;
      Index best = 0;
      for (Index c = 1; c < columns && !simd::is_nan(a[best]); ++c)
        if (a[c] > a[best] || simd::is_nan(a[c])) best = c;
      value[r] = a[best];
      at[r] = best;
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
