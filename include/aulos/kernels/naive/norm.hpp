// The readable twin of norm.hpp: the formulas in double, row by row.
#pragma once

#include <cmath>
#include <vector>

#include "aulos/kernels/norm.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

enum class Norm { layer, rms };

// xhat = (x - mean) / sqrt(var + eps), or x / sqrt(mean(x^2) + eps); 1 / sqrt(...) is also given back.
template <class T>
std::vector<double> normalized(Norm kind, const T* x, Index columns, double eps, double& rstd) {
  std::vector<double> xhat(static_cast<std::size_t>(columns));
  double mean = 0, square = 0;
  if (kind == Norm::layer) {
    for (Index c = 0; c < columns; ++c) mean += static_cast<double>(x[c]) / static_cast<double>(columns);
  }
  for (Index c = 0; c < columns; ++c) xhat[static_cast<std::size_t>(c)] = static_cast<double>(x[c]) - mean;
  for (const double d : xhat) square += d * d / static_cast<double>(columns);
  rstd = 1 / std::sqrt(square + eps);
  for (double& d : xhat) d *= rstd;
  return xhat;
}

template <class T>
double or_else(const T* p, Index c, double otherwise) {
  return p == nullptr ? otherwise : static_cast<double>(p[c]);
}

template <class T>
void norm(Norm kind, const NormShape& shape, const NormOperands<T>& in, Rows<T> y) {
  for (Index r = 0; r < shape.rows; ++r) {
    double rstd;
    const std::vector<double> xhat = normalized(kind, in.x[r], shape.columns, shape.eps, rstd);
    for (Index c = 0; c < shape.columns; ++c) {
      const double affine = xhat[static_cast<std::size_t>(c)] * or_else(in.weight, c, 1) + or_else(in.bias, c, 0);
      const double scale = in.scale ? static_cast<double>(in.scale[r][c]) : 0;
      const double shift = in.shift ? static_cast<double>(in.shift[r][c]) : 0;
      y[r][c] = static_cast<T>(affine * (1 + scale) + shift);
    }
  }
}

// All gradients in double; those of groups have one row for each of `groups`.
struct NormGradientValues {
  std::vector<double> x, weight, bias, scale, shift;
};

template <class T>
NormGradientValues norm_backward(Norm kind, const NormShape& shape, const NormOperands<T>& in, Rows<const T> gy,
                                 Index rows_per, Index groups) {
  const auto n = static_cast<std::size_t>(shape.columns);
  NormGradientValues g;
  g.x.resize(static_cast<std::size_t>(shape.rows) * n);
  g.weight.resize(n);
  g.bias.resize(n);
  g.scale.resize(static_cast<std::size_t>(groups) * n);
  g.shift.resize(static_cast<std::size_t>(groups) * n);
  for (Index r = 0; r < shape.rows; ++r) {
    double rstd;
    const std::vector<double> xhat = normalized(kind, in.x[r], shape.columns, shape.eps, rstd);
    const auto group = static_cast<std::size_t>(r / rows_per) * n;
    std::vector<double> h(n);
    double mean_h = 0, mean_h_xhat = 0;
    for (std::size_t c = 0; c < n; ++c) {
      const auto i = static_cast<Index>(c);
      const double top = static_cast<double>(gy[r][i]);
      const double scaled = top * (1 + (in.scale ? static_cast<double>(in.scale[r][i]) : 0));
      h[c] = scaled * or_else(in.weight, i, 1);
      mean_h += h[c] / static_cast<double>(shape.columns);
      mean_h_xhat += h[c] * xhat[c] / static_cast<double>(shape.columns);
      g.weight[c] += scaled * xhat[c];
      g.bias[c] += scaled;
      g.scale[group + c] += top * (xhat[c] * or_else(in.weight, i, 1) + or_else(in.bias, i, 0));
      g.shift[group + c] += top;
    }
    if (kind == Norm::rms) mean_h = 0;
    for (std::size_t c = 0; c < n; ++c) {
      g.x[static_cast<std::size_t>(r) * n + c] = rstd * (h[c] - mean_h - xhat[c] * mean_h_xhat);
    }
  }
  return g;
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
