// Pooling over windows of one or two axes, and adaptive average pooling.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/pooling.hpp"
#include "aulos/ops/modulate.hpp"
#include "aulos/ops/op.hpp"
#include "aulos/ops/per_axis.hpp"

namespace aulos::inline AULOS_ISA {

// What does not fill a window at the end is left out (ceil_mode off).
template <int Axes>
struct AvgPoolOptions {
  PerAxis<Index, Axes> kernel = 2;
  PerAxis<Index, Axes> stride = 0;  // 0: the kernel
  PerAxis<Index, Axes> padding = 0;
  kernels::PoolDivisor divisor = kernels::PoolDivisor::window;
};

template <int Axes>
struct MaxPoolOptions {
  PerAxis<Index, Axes> kernel = 2;
  PerAxis<Index, Axes> stride = 0;  // 0: the kernel
  PerAxis<Index, Axes> padding = 0;
  PerAxis<Index, Axes> dilation = 1;
};

namespace any {

struct PoolWindow {
  Index kernel = 1, stride = 1, padding = 0, dilation = 1;
};

struct PoolWindows {
  PoolWindow axis[2];

  template <class Options, int Axes>
  static PoolWindows of(const Options& options, const PerAxis<Index, Axes>& kernel) {
    PoolWindows w;
    for (int i = 0; i < Axes; ++i) {
      const Index stride = options.stride[i] == 0 ? kernel[i] : options.stride[i];
      w.axis[2 - Axes + i] = {kernel[i], stride, options.padding[i], 1};
      if constexpr (requires { options.dilation; }) w.axis[2 - Axes + i].dilation = options.dilation[i];
    }
    return w;
  }
};

// x [.., H, W] or [.., L] as planes.
template <Real T>
kernels::PoolShape pool_shape(const Op& op, const AnyTensor<T>& x, const PoolWindows& windows) {
  kernels::PoolShape s{x.extent(0) * x.extent(1), {}, {}};
  for (int axis = 4 - x.rank(); axis < 2; ++axis) {
    const PoolWindow& v = windows.axis[axis];
    const Index in = x.extent(x.rank() - 2 + axis);
    op.require(v.kernel >= 1 && v.stride >= 1 && v.dilation >= 1 && v.padding >= 0 && v.padding <= v.kernel / 2, [&] {
      return "kernel " + std::to_string(v.kernel) + ", stride " + std::to_string(v.stride) + ", padding " +
             std::to_string(v.padding) + ", dilation " + std::to_string(v.dilation) +
             ", expected at least 1, 1, 0, 1 and a padding of half the kernel at most";
    });
    const Index out = kernels::WindowAxis::outputs(in, v.padding, v.padding, v.kernel, v.stride, v.dilation);
    op.require(in > 0 && out > 0, [&] {
      return "x " + to_string(x.dims()) + " is too short for a kernel of " + std::to_string(v.kernel);
    });
    (axis == 0 ? s.rows : s.columns) = {in, out, v.kernel, v.stride, v.padding, v.dilation};
  }
  return s;
}

// The extents of x with those of the pooled plane.
inline Dims pool_dims(Dims x, const kernels::PoolShape& s) {
  x.extent[x.rank - 1] = s.columns.out;
  if (x.rank == 4) x.extent[2] = s.rows.out;
  return x;
}

template <Real T>
Cost pool_cost(const kernels::PoolShape& s, double taps, std::size_t scratch = 0) {
  const auto in = static_cast<double>(s.planes * s.plane()), out = static_cast<double>(s.planes * s.positions());
  return {.flops = taps * out, .bytes = (in + out) * static_cast<double>(sizeof(T)), .scratch = scratch};
}

template <Real T>
AnyTensor<T> avg_pool(const AnyTensor<T>& x, const PoolWindows& windows, kernels::PoolDivisor divisor) {
  Op op("avg_pool", arg("x", x));
  const kernels::PoolShape s = pool_shape(op, x, windows);
  const AnyTensor<T> from = op.dense(x);
  AnyTensor<T> y = op.empty<T>(pool_dims(x.dims(), s));
  const Cost cost =
      pool_cost<T>(s, static_cast<double>(s.rows.kernel * s.columns.kernel), kernels::avg_pool_scratch<T>(s));
  op.run(cost, [&](Threads threads) { kernels::avg_pool<T>(threads, s, divisor, from.data(), y.mutable_data()); });
  if (op.recording()) {
    op.record(y, [s, divisor, cost, gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gy) {
      AnyTensor<T> dx = wanted(tape.context(), gx);
      tape.context().run("avg_pool_backward", cost, [&](Threads threads) {
        kernels::avg_pool_backward<T>(threads, s, divisor, gy.data(), dx.mutable_data());
      });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

template <Real T>
AnyTensor<T> max_pool(const AnyTensor<T>& x, const PoolWindows& windows) {
  Op op("max_pool", arg("x", x));
  const kernels::PoolShape s = pool_shape(op, x, windows);
  const AnyTensor<T> from = op.dense(x);
  AnyTensor<T> y = op.empty<T>(pool_dims(x.dims(), s));
  AnyTensor<std::int64_t> at;
  if (op.recording()) at = op.context().template empty_any<std::int64_t>(y.dims());
  const Cost cost = pool_cost<T>(s, static_cast<double>(s.rows.kernel * s.columns.kernel));
  op.run(cost, [&](Threads threads) {
    kernels::max_pool<T>(threads, s, from.data(), y.mutable_data(), at.empty() ? nullptr : at.mutable_data());
  });
  if (op.recording()) {
    op.record(y, [s, at, gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gy) {
      AnyTensor<T> dx = wanted(tape.context(), gx);
      tape.context().run("max_pool_backward", pool_cost<T>(s, 1), [&](Threads threads) {
        kernels::max_pool_backward<T>(threads, s, gy.data(), at.data(), dx.mutable_data());
      });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

template <Real T>
AnyTensor<T> adaptive_avg_pool(const AnyTensor<T>& x, Index rows, Index columns) {
  Op op("adaptive_avg_pool", arg("x", x));
  kernels::PoolShape s{x.extent(0) * x.extent(1), {}, {}};
  s.columns.in = x.last();
  s.columns.out = columns;
  if (x.rank() == 4) s.rows.in = x.extent(2);
  s.rows.out = rows;
  op.require(rows >= 1 && columns >= 1 && s.plane() > 0, [&] {
    return "x " + to_string(x.dims()) + " into " + std::to_string(rows) + " by " + std::to_string(columns) +
           " parts, expected at least one element and one part";
  });
  const AnyTensor<T> from = op.dense(x);
  AnyTensor<T> y = op.empty<T>(pool_dims(x.dims(), s));
  const Cost cost =
      pool_cost<T>(s, (std::max)(1.0, static_cast<double>(s.plane()) / static_cast<double>(s.positions())));
  op.run(cost, [&](Threads threads) { kernels::adaptive_avg_pool<T>(threads, s, from.data(), y.mutable_data()); });
  if (op.recording()) {
    op.record(y, [s, cost, gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gy) {
      AnyTensor<T> dx = wanted(tape.context(), gx);
      tape.context().run("adaptive_avg_pool_backward", cost, [&](Threads threads) {
        kernels::adaptive_avg_pool_backward<T>(threads, s, gy.data(), dx.mutable_data());
      });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// Means of windows. [B, C, L] -> [B, C, L'], L' as for a convolution. torch.nn.functional.avg_pool1d.
template <Real T>
Tensor<T, 3> avg_pool1d(const Tensor<T, 3>& x, const AvgPoolOptions<1>& options) {
  return Tensor<T, 3>(any::avg_pool(x.any(), any::PoolWindows::of(options, options.kernel), options.divisor));
}
// [B, C, H, W] -> [B, C, H', W']. torch.nn.functional.avg_pool2d.
template <Real T>
Tensor<T, 4> avg_pool2d(const Tensor<T, 4>& x, const AvgPoolOptions<2>& options) {
  return Tensor<T, 4>(any::avg_pool(x.any(), any::PoolWindows::of(options, options.kernel), options.divisor));
}

// Maxima of windows. [B, C, L] -> [B, C, L']. torch.nn.functional.max_pool1d.
template <Real T>
Tensor<T, 3> max_pool1d(const Tensor<T, 3>& x, const MaxPoolOptions<1>& options) {
  return Tensor<T, 3>(any::max_pool(x.any(), any::PoolWindows::of(options, options.kernel)));
}
// [B, C, H, W] -> [B, C, H', W']. torch.nn.functional.max_pool2d.
template <Real T>
Tensor<T, 4> max_pool2d(const Tensor<T, 4>& x, const MaxPoolOptions<2>& options) {
  return Tensor<T, 4>(any::max_pool(x.any(), any::PoolWindows::of(options, options.kernel)));
}

// Means over `size` parts of the axis. [B, C, L] -> [B, C, size]. torch.nn.functional.adaptive_avg_pool1d.
template <Real T>
Tensor<T, 3> adaptive_avg_pool1d(const Tensor<T, 3>& x, Index size) {
  return Tensor<T, 3>(any::adaptive_avg_pool(x.any(), 1, size));
}
// [B, C, H, W] -> [B, C, size[0], size[1]]. torch.nn.functional.adaptive_avg_pool2d.
template <Real T>
Tensor<T, 4> adaptive_avg_pool2d(const Tensor<T, 4>& x, const PerAxis<Index, 2>& size) {
  return Tensor<T, 4>(any::adaptive_avg_pool(x.any(), size[0], size[1]));
}

}  // namespace aulos::inline AULOS_ISA
