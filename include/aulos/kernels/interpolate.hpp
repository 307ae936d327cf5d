// Resampling of one or two axes: nearest, linear, cubic, and the exact adjoint.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "aulos/core/threads.hpp"
#include "aulos/kernels/rows.hpp"
#include "aulos/simd/for_lanes.hpp"

namespace aulos::inline AULOS_ISA::kernels {

enum class Interpolation { nearest, linear, cubic };

// Inputs of an output along one axis.
constexpr int resample_taps(Interpolation mode) noexcept {
  return mode == Interpolation::nearest ? 1 : mode == Interpolation::linear ? 2 : 4;
}

// What the ends of an axis are: pixels have an extent and the borders coincide (align_corners = False), or pixels are
// points and the first and the last ones coincide (True).
enum class Corners { half_pixel, aligned };

// One axis. `scale` is the step in inputs from one output to the next where corners are not aligned; 0: in / out.
struct ResampleAxis {
  Index in = 1, out = 1;
  double scale = 0;
};

// x [planes, rows.in, columns.in], y [planes, rows.out, columns.out], dense.
struct ResampleShape {
  Index planes = 1;
  ResampleAxis rows{}, columns{};

  constexpr Index plane() const noexcept { return rows.in * columns.in; }
  constexpr Index positions() const noexcept { return rows.out * columns.out; }
};

namespace detail {

// The inputs of output o and their weights, computed in T and by PyTorch's steps, so that roundings agree.
template <class T>
void resample_weights(Interpolation mode, Corners corners, const ResampleAxis& axis, Index o, Index* at,
                      T* weight) noexcept {
  const Index last = axis.in - 1;
  const T step = corners == Corners::aligned && mode != Interpolation::nearest
                     ? (axis.out > 1 ? static_cast<T>(last) / static_cast<T>(axis.out - 1) : T(0))
                 : axis.scale > 0 ? static_cast<T>(axis.scale)
                                  : static_cast<T>(axis.in) / static_cast<T>(axis.out);
  if (mode == Interpolation::nearest) {
    at[0] = (std::min)(static_cast<Index>(std::floor(static_cast<T>(o) * step)), last);
    weight[0] = T(1);
    return;
  }
  if (mode == Interpolation::linear && axis.in == axis.out) {  // whatever the scale
    at[0] = at[1] = o;
    weight[0] = T(1);
    weight[1] = T(0);
    return;
  }
  T source = corners == Corners::aligned ? step * static_cast<T>(o) : step * (static_cast<T>(o) + T(0.5)) - T(0.5);
  if (mode == Interpolation::linear && source < T(0)) source = T(0);
  const Index first = (std::min)(static_cast<Index>(std::floor(source)), last);
  const T t = std::clamp(source - static_cast<T>(first), T(0), T(1));
  if (mode == Interpolation::linear) {
    at[0] = first;
    at[1] = (std::min)(first + 1, last);
    weight[1] = t;
    weight[0] = T(1) - t;
    return;
  }
  constexpr T a = T(-0.75);
  const auto inner = [](T x) { return ((a + T(2)) * x - (a + T(3))) * x * x + T(1); };
  const auto outer = [](T x) { return ((a * x - T(5) * a) * x + T(8) * a) * x - T(4) * a; };
  weight[0] = outer(t + T(1));
  weight[1] = inner(t);
  weight[2] = inner(T(1) - t);
  weight[3] = outer(T(2) - t);
  for (Index k = 0; k < 4; ++k) at[k] = std::clamp<Index>(first - 1 + k, 0, last);
}

// The weights of all outputs of an axis: those of output o from o * taps on.
template <class T>
struct ResampleTable {
  Index* at;
  T* weight;

  static ResampleTable make(Interpolation mode, Corners corners, const ResampleAxis& axis, Scratch& scratch) {
    const Index taps = resample_taps(mode);
    const ResampleTable table{scratch.take<Index>(axis.out * taps), scratch.take<T>(axis.out * taps)};
    for (Index o = 0; o < axis.out; ++o) {
      resample_weights(mode, corners, axis, o, table.at + o * taps, table.weight + o * taps);
    }
    return table;
  }
  static std::size_t bytes(Interpolation mode, const ResampleAxis& axis) noexcept {
    const Index count = axis.out * resample_taps(mode);
    return scratch_size<Index>(count) + scratch_size<T>(count);
  }
};

}  // namespace detail

// Bytes of scratch of both kernels.
template <class T>
std::size_t interpolate_scratch(const ResampleShape& s, Interpolation mode) noexcept {
  return detail::ResampleTable<T>::bytes(mode, s.columns) + detail::ResampleTable<T>::bytes(mode, s.rows) +
         scratch_size<T>(s.columns.in);
}

// y = x sampled at the outputs' places; behind a border the pixel of the border goes on. Rows are blended first, then
// columns, both in T. torch.nn.functional.interpolate, modes nearest, linear / bilinear and bicubic (a = -0.75).
template <class T>
[[gnu::noinline]] void interpolate(Threads threads, const ResampleShape& s, Interpolation mode, Corners corners,
                                   const T* x, T* y) {
  const Index taps = resample_taps(mode), width = s.columns.in;
  if (s.planes * s.positions() <= 0 || s.plane() <= 0) return;
  const Index rows_per_piece = std::max<Index>(1, detail::piece_elements / s.columns.out);
  const Index all = s.planes * s.rows.out;
  threads.run((all + rows_per_piece - 1) / rows_per_piece, [&](Index piece, Scratch& scratch) {
    const auto columns = detail::ResampleTable<T>::make(mode, corners, s.columns, scratch);
    T* blended = scratch.take<T>(width);
    for (Index row = piece * rows_per_piece; row < (std::min)(all, (piece + 1) * rows_per_piece); ++row) {
      Index at[4];
      T weight[4];
      detail::resample_weights(mode, corners, s.rows, row % s.rows.out, at, weight);
      const T* plane = x + row / s.rows.out * s.plane();
      const T* from = plane + at[0] * width;
      if (taps > 1 && s.rows.in > 1) {
        simd::for_lanes<T>(width, [&](Index i, auto part) {
          simd::Batch<T> sum = simd::Batch<T>(weight[0]) * part.load(plane + at[0] * width + i);
          for (Index k = 1; k < taps; ++k) {
            sum = simd::fma(simd::Batch<T>(weight[k]), part.load(plane + at[k] * width + i), sum);
          }
          part.store(blended + i, sum);
        });
        from = blended;
      }
      T* to = y + row * s.columns.out;
      if (taps == 1) {
        for (Index o = 0; o < s.columns.out; ++o) to[o] = from[columns.at[o]];
      } else {
        for (Index o = 0; o < s.columns.out; ++o) {
          T sum = T(0);
          for (Index k = o * taps; k < (o + 1) * taps; ++k) sum += columns.weight[k] * from[columns.at[k]];
          to[o] = sum;
        }
      }
    }
  });
}

// The adjoint, from gy to gx, overwritten: a plane is the work of one thread, its outputs in order.
template <class T>
[[gnu::noinline]] void interpolate_backward(Threads threads, const ResampleShape& s, Interpolation mode,
                                            Corners corners, const T* gy, T* gx) {
  const Index taps = resample_taps(mode), width = s.columns.in;
  if (s.planes * s.plane() <= 0) return;
  const Index planes_per_piece = std::max<Index>(1, detail::piece_elements / std::max<Index>(s.positions(), 1));
  threads.run((s.planes + planes_per_piece - 1) / planes_per_piece, [&](Index piece, Scratch& scratch) {
    const auto columns = detail::ResampleTable<T>::make(mode, corners, s.columns, scratch);
    const auto rows = detail::ResampleTable<T>::make(mode, corners, s.rows, scratch);
    T* gathered = scratch.take<T>(width);
    for (Index p = piece * planes_per_piece; p < (std::min)(s.planes, (piece + 1) * planes_per_piece); ++p) {
      T* plane = gx + p * s.plane();
      std::fill_n(plane, s.plane(), T(0));
      for (Index row = 0; row < s.rows.out; ++row) {
        const T* from = gy + p * s.positions() + row * s.columns.out;
        std::fill_n(gathered, width, T(0));
        for (Index o = 0; o < s.columns.out; ++o)
          for (Index k = o * taps; k < (o + 1) * taps; ++k) gathered[columns.at[k]] += columns.weight[k] * from[o];
        for (Index k = row * taps; k < (row + 1) * taps; ++k) {
          T* to = plane + rows.at[k] * width;
          const simd::Batch<T> by(rows.weight[k]);
          simd::for_lanes<T>(width, [&](Index i, auto part) {
            part.store(to + i, simd::fma(by, part.load(gathered + i), part.load(to + i)));
          });
        }
      }
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
