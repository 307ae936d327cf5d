// The readable twin of interpolate.hpp: the formula of a sample in double, the weight of every input by its distance.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "aulos/kernels/interpolate.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

// The kernel of the mode at distance d.
inline double resample_kernel(Interpolation mode, double d) {
  d = std::fabs(d);
  if (mode == Interpolation::linear) return (std::max)(0.0, 1 - d);
  const double a = -0.75;
  if (d <= 1) return (a + 2) * d * d * d - (a + 3) * d * d + 1;
  return d < 2 ? a * d * d * d - 5 * a * d * d + 8 * a * d - 4 * a : 0;
}

// weight[o][i] of input i in output o: pixels behind the border count for the border.
inline std::vector<std::vector<double>> resample_matrix(Interpolation mode, Corners corners, const ResampleAxis& axis) {
  const auto in = static_cast<double>(axis.in), out = static_cast<double>(axis.out);
  const double step = axis.scale > 0 ? axis.scale : in / out;
  std::vector<std::vector<double>> matrix;
  for (Index o = 0; o < axis.out; ++o) {
    std::vector<double> row(static_cast<std::size_t>(axis.in));
    const auto at = [&](Index i) -> double& {
      return row[static_cast<std::size_t>(std::clamp<Index>(i, 0, axis.in - 1))];
    };
    const auto position = static_cast<double>(o);
    if (mode == Interpolation::linear && axis.in == axis.out) {
      at(o) = 1;
    } else if (mode == Interpolation::nearest) {
      at(static_cast<Index>(position * step)) = 1;
    } else {
      double source = (position + 0.5) * step - 0.5;
      if (corners == Corners::aligned) source = axis.out > 1 ? position * (in - 1) / (out - 1) : 0;
      if (mode == Interpolation::linear) source = (std::max)(source, 0.0);
      for (auto i = static_cast<Index>(std::floor(source)) - 1; i <= static_cast<Index>(std::floor(source)) + 2; ++i)
        at(i) += resample_kernel(mode, source - static_cast<double>(i));
    }
    matrix.push_back(row);
  }
  return matrix;
}

// Calls f(output, input, weight) for all pairs whose rows have something in common.
template <class F>
void for_resample_pairs(const ResampleShape& s, Interpolation mode, Corners corners, F&& f) {
  const auto down = resample_matrix(mode, corners, s.rows), across = resample_matrix(mode, corners, s.columns);
  for (Index p = 0; p < s.planes; ++p)
    for (Index r = 0; r < s.rows.out; ++r)
      for (Index i = 0; i < s.rows.in; ++i) {
        const double by_row = down[static_cast<std::size_t>(r)][static_cast<std::size_t>(i)];
        if (by_row == 0) continue;
        for (Index c = 0; c < s.columns.out; ++c)
          for (Index j = 0; j < s.columns.in; ++j)
            f((p * s.rows.out + r) * s.columns.out + c, (p * s.rows.in + i) * s.columns.in + j,
              by_row * across[static_cast<std::size_t>(c)][static_cast<std::size_t>(j)]);
      }
}

template <class T>
std::vector<double> interpolate(const ResampleShape& s, Interpolation mode, Corners corners, const T* x) {
  std::vector<double> y(static_cast<std::size_t>(s.planes * s.positions()));
  for_resample_pairs(s, mode, corners, [&](Index o, Index i, double weight) {
    y[static_cast<std::size_t>(o)] += weight * static_cast<double>(x[i]);
  });
  return y;
}

template <class T>
std::vector<double> interpolate_backward(const ResampleShape& s, Interpolation mode, Corners corners, const T* gy) {
  std::vector<double> gx(static_cast<std::size_t>(s.planes * s.plane()));
  for_resample_pairs(s, mode, corners, [&](Index o, Index i, double weight) {
    gx[static_cast<std::size_t>(i)] += weight * static_cast<double>(gy[o]);
  });
  return gx;
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
