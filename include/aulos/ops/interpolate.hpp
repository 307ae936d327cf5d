// Resampling to another size: nearest, (bi)linear, (bi)cubic.
#pragma once

#include <cmath>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/interpolate.hpp"
#include "aulos/ops/modulate.hpp"
#include "aulos/ops/op.hpp"
#include "aulos/ops/per_axis.hpp"

namespace aulos::inline AULOS_ISA {

using kernels::Corners;
using kernels::Interpolation;

// Either a size, or factors: then the size is floor(extent * factor), and samples are 1 / factor apart, as PyTorch does
// it unless recompute_scale_factor is set.
template <int Axes>
struct InterpolateOptions {
  PerAxis<Index, Axes> size = 0;
  PerAxis<double, Axes> factor = 0.0;
  Interpolation mode = Interpolation::nearest;
  Corners corners = Corners::half_pixel;  // align_corners; nearest has none
};

namespace any {

struct Resampling {
  Index size[2] = {1, 1};
  double factor[2] = {0, 0};
  Interpolation mode = Interpolation::nearest;
  Corners corners = Corners::half_pixel;

  template <int Axes>
  static Resampling of(const InterpolateOptions<Axes>& options) {
    Resampling r;
    r.mode = options.mode;
    r.corners = options.corners;
    for (int i = 0; i < Axes; ++i) {
      r.size[2 - Axes + i] = options.size[i];
      r.factor[2 - Axes + i] = options.factor[i];
    }
    return r;
  }
};

template <Real T>
AnyTensor<T> interpolate(const AnyTensor<T>& x, const Resampling& to) {
  Op op("interpolate", arg("x", x));
  kernels::ResampleShape s{x.extent(0) * x.extent(1), {}, {}};
  Dims dims = x.dims();
  for (int axis = 4 - x.rank(); axis < 2; ++axis) {
    const int at = x.rank() - 2 + axis;
    const Index in = x.extent(at);
    const double factor = to.factor[axis];
    op.require((to.size[axis] > 0) != (factor > 0), [&] {
      return "axis " + std::to_string(at) + ": size " + std::to_string(to.size[axis]) + " and factor " +
             std::to_string(factor) + ", expected one of them above 0 and the other 0";
    });
    Index out = to.size[axis];
    if (factor > 0) {
      const double size = std::floor(static_cast<double>(in) * factor);
      op.require(size < 0x1p53, [&] { return "factor " + std::to_string(factor) + " is too large"; });
      out = static_cast<Index>(size);
    }
    op.require(in > 0 && out > 0, [&] {
      return "axis " + std::to_string(at) + " of x " + to_string(x.dims()) + " to " + std::to_string(out) +
             " elements, expected at least 1 of each";
    });
    (axis == 0 ? s.rows : s.columns) = {in, out, factor > 0 ? 1 / factor : 0};
    dims.extent[at] = out;
  }
  const AnyTensor<T> from = op.dense(x);
  AnyTensor<T> y = op.empty<T>(dims);
  const double taps = kernels::resample_taps(to.mode);
  const Cost cost{.flops = 2 * taps * static_cast<double>(s.planes * s.rows.out) *
                           static_cast<double>(s.columns.in + s.columns.out),
                  .bytes = static_cast<double>(sizeof(T)) * static_cast<double>(x.count() + y.count()),
                  .scratch = kernels::interpolate_scratch<T>(s, to.mode)};
  op.run(cost, [&](Threads threads) {
    kernels::interpolate<T>(threads, s, to.mode, to.corners, from.data(), y.mutable_data());
  });
  if (op.recording()) {
    op.record(y, [s, cost, mode = to.mode, corners = to.corners, gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gy) {
      AnyTensor<T> dx = wanted(tape.context(), gx);
      tape.context().run("interpolate_backward", cost, [&](Threads threads) {
        kernels::interpolate_backward<T>(threads, s, mode, corners, gy.data(), dx.mutable_data());
      });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// [B, C, L] -> [B, C, L']. torch.nn.functional.interpolate, modes nearest and linear; and cubic.
template <Real T>
Tensor<T, 3> interpolate(const Tensor<T, 3>& x, const InterpolateOptions<1>& options) {
  return Tensor<T, 3>(any::interpolate(x.any(), any::Resampling::of(options)));
}

// [B, C, H, W] -> [B, C, H', W']. torch.nn.functional.interpolate, modes nearest, bilinear and bicubic.
template <Real T>
Tensor<T, 4> interpolate(const Tensor<T, 4>& x, const InterpolateOptions<2>& options) {
  return Tensor<T, 4>(any::interpolate(x.any(), any::Resampling::of(options)));
}

}  // namespace aulos::inline AULOS_ISA
