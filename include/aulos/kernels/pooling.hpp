// Averages and maxima over windows of one or two axes, and averages over parts of a plane, with their gradients.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "aulos/core/threads.hpp"
#include "aulos/kernels/rows.hpp"
#include "aulos/kernels/window.hpp"
#include "aulos/simd/batch.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// x [planes, rows.in, columns.in] and y [planes, rows.out, columns.out], dense: a plane for each sample and channel.
struct PoolShape {
  Index planes = 1;
  WindowAxis rows{}, columns{};

  constexpr Index plane() const noexcept { return rows.in * columns.in; }
  constexpr Index positions() const noexcept { return rows.out * columns.out; }
};

// What an average is divided by: all elements of the window, or those that are no padding.
enum class PoolDivisor { window, inside };

namespace detail {

// Elements of window o that lie inside.
constexpr Index window_inside(const WindowAxis& axis, Index o) noexcept {
  Index count = 0;
  for (Index k = 0; k < axis.kernel; ++k) {
    const Index at = axis.source(o, k);
    count += at >= 0 && at < axis.in ? 1 : 0;
  }
  return count;
}

// Calls body(tap column, input row, first output, end) for what window row `row` takes of the rows of a plane.
template <class Body>
void for_pool_taps(const PoolShape& s, Index row, const Body& body) {
  for (Index p = 0; p < s.rows.kernel; ++p) {
    const Index source = s.rows.source(row, p);
    if (source < 0 || source >= s.rows.in) continue;
    for (Index q = 0; q < s.columns.kernel; ++q) {
      const auto hits = s.columns.hits(q, 0, s.columns.in, 0, s.columns.out);
      body(q, source, hits.begin, hits.end);
    }
  }
}

// Factors of one output row.
template <class T>
void pool_factors(const PoolShape& s, PoolDivisor divisor, Index row, T* to) noexcept {
  const bool all = divisor == PoolDivisor::window;
  const Index height = all ? s.rows.kernel : window_inside(s.rows, row);
  for (Index c = 0; c < s.columns.out; ++c) {
    const Index width = all ? s.columns.kernel : window_inside(s.columns, c);
    to[c] = static_cast<T>(1 / static_cast<double>(height * width));
  }
}

// The part of an axis of `in` that output o of `out` averages: torch's adaptive pooling.
struct AdaptivePart {
  Index begin, end;

  static constexpr AdaptivePart of(Index in, Index out, Index o) noexcept {
    return {o * in / out, ((o + 1) * in + out - 1) / out};
  }
  constexpr Index count() const noexcept { return end - begin; }
};

}  // namespace detail

// y = the mean of each window, padding counting as zeros or not at all: torch.nn.functional.avg_pool1d, avg_pool2d
// (count_include_pad = PoolDivisor::window) with ceil_mode off. Sums in T, the window in order.
template <class T>
std::size_t avg_pool_scratch(const PoolShape& s) noexcept {
  return scratch_size<T>(s.columns.out);
}
template <class T>
[[gnu::noinline]] void avg_pool(Threads threads, const PoolShape& s, PoolDivisor divisor, const T* x, T* y) {
  if (s.planes * s.positions() <= 0) return;
  const Index stride = s.columns.stride;
  threads.run(s.planes, [&](Index plane, Scratch& scratch) {
    T* factor = scratch.take<T>(s.columns.out);
    for (Index row = 0; row < s.rows.out; ++row) {
      if (row == 0 || divisor == PoolDivisor::inside) detail::pool_factors(s, divisor, row, factor);
      T* to = y + plane * s.positions() + row * s.columns.out;
      std::fill_n(to, s.columns.out, T(0));
      detail::for_pool_taps(s, row, [&](Index tap, Index source, Index begin, Index end) {
        const T* from = x + plane * s.plane() + source * s.columns.in + s.columns.source(0, tap);
        for (Index c = begin; c < end; ++c) to[c] += from[c * stride];
      });
      for (Index c = 0; c < s.columns.out; ++c) to[c] *= factor[c];
    }
  });
}

// gx, overwritten: every element gets its part of the gradients of the windows that it is in.
template <class T>
[[gnu::noinline]] void avg_pool_backward(Threads threads, const PoolShape& s, PoolDivisor divisor, const T* gy, T* gx) {
  if (s.planes * s.plane() <= 0) return;
  const Index stride = s.columns.stride;
  threads.run(s.planes, [&](Index plane, Scratch& scratch) {
    T* factor = scratch.take<T>(s.columns.out);
    std::fill_n(gx + plane * s.plane(), s.plane(), T(0));
    for (Index row = 0; row < s.rows.out; ++row) {
      if (row == 0 || divisor == PoolDivisor::inside) detail::pool_factors(s, divisor, row, factor);
      const T* from = gy + plane * s.positions() + row * s.columns.out;
      detail::for_pool_taps(s, row, [&](Index tap, Index source, Index begin, Index end) {
        T* to = gx + plane * s.plane() + source * s.columns.in + s.columns.source(0, tap);
        for (Index c = begin; c < end; ++c) to[c * stride] += from[c] * factor[c];
      });
    }
  });
}

// y = the maximum of each window, padding counting as -inf, and where it stands in its plane (null: not wanted): the
// first of equals; NaN is larger than all else. torch.nn.functional.max_pool1d, max_pool2d with ceil_mode off.
template <class T>
[[gnu::noinline]] void max_pool(Threads threads, const PoolShape& s, const T* x, T* y, std::int64_t* at) {
  const Index stride = s.columns.stride;
  detail::for_rows(threads, s.planes * s.rows.out, s.columns.out, [&](Index output) {
    const Index row = output % s.rows.out;
    const T* plane = x + output / s.rows.out * s.plane();
    T* to = y + output * s.columns.out;
    std::int64_t* place = at == nullptr ? nullptr : at + output * s.columns.out;
    std::fill_n(to, s.columns.out, -std::numeric_limits<T>::infinity());
    if (place != nullptr) std::fill_n(place, s.columns.out, std::int64_t{-1});
    detail::for_pool_taps(s, row, [&](Index tap, Index source, Index begin, Index end) {
      const Index first = source * s.columns.in + s.columns.source(0, tap);
      for (Index c = begin; c < end; ++c) {
        const T value = plane[first + c * stride];
        const bool unseen = place != nullptr && place[c] < 0;
        if (!(value > to[c] || simd::is_nan(value) || unseen) || simd::is_nan(to[c])) continue;
        to[c] = value;
        if (place != nullptr) place[c] = first + c * stride;
      }
    });
  });
}

// gx, overwritten: the gradient of each window goes to where its maximum stood.
template <class T>
[[gnu::noinline]] void max_pool_backward(Threads threads, const PoolShape& s, const T* gy, const std::int64_t* at,
                                         T* gx) {
  detail::for_rows(threads, s.planes, s.plane(), [&](Index plane) {
    T* to = gx + plane * s.plane();
    std::fill_n(to, s.plane(), T(0));
    for (Index p = plane * s.positions(); p < (plane + 1) * s.positions(); ++p) {
      if (at[p] >= 0) to[at[p]] += gy[p];
    }
  });
}

// y = means over rows.out by columns.out parts of the plane, which overlap where an extent is no multiple; of the
// windows only `in` and `out` count. Sums in double. torch.nn.functional.adaptive_avg_pool1d, adaptive_avg_pool2d.
template <class T>
[[gnu::noinline]] void adaptive_avg_pool(Threads threads, const PoolShape& s, const T* x, T* y) {
  using Part = detail::AdaptivePart;
  detail::for_rows(threads, s.planes, s.positions(), [&](Index plane) {
    const T* from = x + plane * s.plane();
    T* to = y + plane * s.positions();
    for (Index r = 0; r < s.rows.out; ++r) {
      const Part down = Part::of(s.rows.in, s.rows.out, r);
      for (Index c = 0; c < s.columns.out; ++c) {
        const Part across = Part::of(s.columns.in, s.columns.out, c);
        double sum = 0;
        for (Index i = down.begin; i < down.end; ++i)
          for (Index j = across.begin; j < across.end; ++j) sum += static_cast<double>(from[i * s.columns.in + j]);
        *to++ = static_cast<T>(sum / static_cast<double>(down.count() * across.count()));
      }
    }
  });
}

// gx, overwritten.
template <class T>
[[gnu::noinline]] void adaptive_avg_pool_backward(Threads threads, const PoolShape& s, const T* gy, T* gx) {
  using Part = detail::AdaptivePart;
  detail::for_rows(threads, s.planes, s.plane(), [&](Index plane) {
    const T* from = gy + plane * s.positions();
    T* to = gx + plane * s.plane();
    std::fill_n(to, s.plane(), T(0));
    for (Index r = 0; r < s.rows.out; ++r) {
      const Part down = Part::of(s.rows.in, s.rows.out, r);
      for (Index c = 0; c < s.columns.out; ++c) {
        const Part across = Part::of(s.columns.in, s.columns.out, c);
        const T part =
            static_cast<T>(static_cast<double>(*from++) / static_cast<double>(down.count() * across.count()));
        for (Index i = down.begin; i < down.end; ++i)
          for (Index j = across.begin; j < across.end; ++j) to[i * s.columns.in + j] += part;
      }
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
