// Convolutions of one and two axes, and transposed ones.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/conv.hpp"
#include "aulos/ops/modulate.hpp"
#include "aulos/ops/op.hpp"
#include "aulos/ops/per_axis.hpp"

namespace aulos::inline AULOS_ISA {

template <int Axes>
struct ConvOptions {
  PerAxis<Index, Axes> stride = 1;
  PerAxis<Sides, Axes> padding = 0;  // zeros
  PerAxis<Index, Axes> dilation = 1;
  Index groups = 1;

  constexpr bool operator==(const ConvOptions&) const = default;
};

template <int Axes>
struct ConvTransposeOptions {
  PerAxis<Index, Axes> stride = 1;
  PerAxis<Sides, Axes> padding = 0;         // elements of the result that are left out
  PerAxis<Index, Axes> output_padding = 0;  // and that are added behind it
  PerAxis<Index, Axes> dilation = 1;
  Index groups = 1;

  constexpr bool operator==(const ConvTransposeOptions&) const = default;
};

namespace any {

// What both kinds have of one axis; the default is that of an axis which is not there.
struct ConvWindow {
  Index stride = 1, before = 0, after = 0, dilation = 1, output_padding = 0;
};

// Options of one or two axes; without a first one it has the extent 1.
struct ConvWindows {
  ConvWindow axis[2];
  Index groups = 1;

  template <class Options, int Axes>
  static ConvWindows of(const Options& options, const PerAxis<Index, Axes>& stride) {
    ConvWindows w;
    w.groups = options.groups;
    for (int i = 0; i < Axes; ++i) {
      const Sides sides = options.padding[i];
      w.axis[2 - Axes + i] = {stride[i], sides.before, sides.after, options.dilation[i], 0};
      if constexpr (requires { options.output_padding; })
        w.axis[2 - Axes + i].output_padding = options.output_padding[i];
    }
    return w;
  }
};

enum class ConvKind { direct, transposed };

// The shape of a convolution, or of the one whose adjoint a transposed convolution is.
template <Real T>
kernels::ConvShape conv_shape(const Op& op, ConvKind kind, const AnyTensor<T>& x, const AnyTensor<T>& w,
                              const AnyTensor<T>& bias, const ConvWindows& windows) {
  const bool direct = kind == ConvKind::direct;
  const Index groups = windows.groups;
  op.require(groups >= 1 && w.extent(0) % groups == 0 && w.count() > 0, [&] {
    return "weight " + to_string(w.dims()) + " in " + std::to_string(groups) + " groups: expected a multiple of them";
  });
  kernels::ConvShape s{x.extent(0), groups, w.extent(1), w.extent(0) / groups, {}, {}};
  const Index takes = direct ? s.in * groups : s.out * groups, gives = direct ? s.out * groups : s.in * groups;
  op.require(x.extent(1) == takes, [&] {
    return "x " + to_string(x.dims()) + " has " + std::to_string(x.extent(1)) + " channels, the weight " +
           to_string(w.dims()) + " in " + std::to_string(groups) + " groups takes " + std::to_string(takes);
  });
  op.require(bias.empty() || (bias.rank() == 1 && bias.last() == gives),
             [&] { return "bias " + to_string(bias.dims()) + ", expected [" + std::to_string(gives) + "]"; });
  for (int axis = 4 - x.rank(); axis < 2; ++axis) {
    const ConvWindow& v = windows.axis[axis];
    const int at = x.rank() - 2 + axis;
    op.require(v.stride >= 1 && v.dilation >= 1 && v.before >= 0 && v.after >= 0 && v.output_padding >= 0 &&
                   v.output_padding < (std::max)(v.stride, v.dilation),
               [&] {
                 return "axis " + std::to_string(at) + ": stride " + std::to_string(v.stride) + ", dilation " +
                        std::to_string(v.dilation) + ", padding " + std::to_string(v.before) + " and " +
                        std::to_string(v.after) + ", output padding " + std::to_string(v.output_padding) +
                        ", expected at least 1, 1, 0, 0, 0 and less output padding than stride or dilation";
               });
    kernels::WindowAxis& to = axis == 0 ? s.rows : s.columns;
    to = {x.extent(at), x.extent(at), w.extent(at), v.stride, v.before, v.dilation};
    if (direct) {
      to.out = kernels::WindowAxis::outputs(to.in, v.before, v.after, to.kernel, v.stride, v.dilation);
    } else {
      to.in = to.out == 0 ? 0 : (to.out - 1) * v.stride - v.before - v.after + to.span() + v.output_padding;
    }
    op.require(direct ? to.out > 0 : (to.in > 0 || to.out == 0), [&] {
      return "axis " + std::to_string(at) + " of x " + to_string(x.dims()) + " is too short for the weight " +
             to_string(w.dims());
    });
  }
  return s;
}

template <Real T>
Cost conv_cost(const kernels::ConvShape& s, std::size_t scratch) {
  const auto elements = static_cast<double>(s.batch * s.groups * (s.in * s.plane() + s.out * s.positions()) +
                                            s.groups * s.out * s.depth());
  return {.flops = s.flops(), .bytes = elements * static_cast<double>(sizeof(T)), .scratch = scratch};
}

template <Real T>
void run_conv(Context& context, const char* name, ConvKind kind, const kernels::ConvShape& s, const AnyTensor<T>& x,
              const AnyTensor<T>& w, const AnyTensor<T>& bias, const AnyTensor<T>& y) {
  const bool direct = kind == ConvKind::direct;
  const std::size_t scratch = direct ? kernels::conv_scratch<T>(s) : kernels::conv_transpose_scratch<T>(s);
  context.run(name, conv_cost<T>(s, scratch), [&](Threads threads) {
    const auto run = direct ? kernels::conv<T> : kernels::conv_transpose<T>;
    run(threads, s, x.data(), w.data(), bias.empty() ? nullptr : bias.data(), y.mutable_data());
  });
}

template <Real T>
AnyTensor<T> conv(ConvKind kind, const AnyTensor<T>& x, const AnyTensor<T>& w, const AnyTensor<T>& bias,
                  const ConvWindows& windows) {
  const bool direct = kind == ConvKind::direct;
  Op op(direct ? "conv" : "conv_transpose", arg("x", x), arg("weight", w), optional_arg("bias", bias));
  const kernels::ConvShape s = conv_shape(op, kind, x, w, bias, windows);
  Dims dims = x.dims();
  dims.extent[1] = direct ? s.groups * s.out : s.groups * s.in;
  dims.extent[dims.rank - 1] = direct ? s.columns.out : s.columns.in;
  if (dims.rank == 4) dims.extent[2] = direct ? s.rows.out : s.rows.in;
  AnyTensor<T> y = op.empty<T>(dims);
  const AnyTensor<T> from = op.dense(x), weight = op.dense(w), offset = op.dense(bias);
  run_conv(op.context(), direct ? "conv" : "conv_transpose", kind, s, from, weight, offset, y);
  if (op.recording()) {
    op.record(y, [kind, s, from, weight, gx = op.ghost(x), gw = op.ghost(w), gb = op.ghost(bias)](GradTape& tape,
                                                                                                  AnyTensor<T> gy) {
      Context& context = tape.context();
      const bool is_direct = kind == ConvKind::direct;
      const char* name = is_direct ? "conv_backward" : "conv_transpose_backward";
      if (gx) {
        AnyTensor<T> dx = wanted(context, gx);
        run_conv(context, name, is_direct ? ConvKind::transposed : ConvKind::direct, s, gy, weight, {}, dx);
        tape.give(gx, std::move(dx));
      }
      if (gw) {
        AnyTensor<T> dw = wanted(context, gw);
        context.run(name, conv_cost<T>(s, kernels::conv_weight_gradient_scratch<T>(s)), [&](Threads threads) {
          kernels::conv_weight_gradient<T>(threads, s, is_direct ? from.data() : gy.data(),
                                           is_direct ? gy.data() : from.data(), dw.mutable_data());
        });
        tape.give(gw, std::move(dw));
      }
      if (gb) {
        AnyTensor<T> db = wanted(context, gb);
        context.run(name, cost_per_element<T>(gy.count(), 1, 1), [&](Threads threads) {
          kernels::channel_sum<T>(threads, s.batch, gy.extent(1), is_direct ? s.positions() : s.plane(), gy.data(),
                                  db.mutable_data());
        });
        tape.give(gb, std::move(db));
      }
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// x [B, groups * in, L], weight [groups * out, in, K], bias [groups * out] or empty -> [B, groups * out, L'].
// L' = (L + padding - dilation (K - 1) - 1) / stride + 1, rounded down. torch.nn.functional.conv1d; causal with
// .padding = causal_padding(K).
template <Real T>
Tensor<T, 3> conv1d(const Tensor<T, 3>& x, const Arg<Tensor<T, 3>>& weight, const Arg<Tensor<T, 1>>& bias,
                    const ConvOptions<1>& options = {}) {
  return Tensor<T, 3>(any::conv(any::ConvKind::direct, x.any(), weight.any(), bias.any(),
                                any::ConvWindows::of(options, options.stride)));
}

// x [B, groups * in, H, W], weight [groups * out, in, P, Q] -> [B, groups * out, H', W']. torch.nn.functional.conv2d.
template <Real T>
Tensor<T, 4> conv2d(const Tensor<T, 4>& x, const Arg<Tensor<T, 4>>& weight, const Arg<Tensor<T, 1>>& bias,
                    const ConvOptions<2>& options = {}) {
  return Tensor<T, 4>(any::conv(any::ConvKind::direct, x.any(), weight.any(), bias.any(),
                                any::ConvWindows::of(options, options.stride)));
}

// x [B, groups * in, L], weight [groups * in, out, K], bias [groups * out] or empty -> [B, groups * out, L'].
// L' = (L - 1) stride - padding + dilation (K - 1) + output_padding + 1. torch.nn.functional.conv_transpose1d: the
// adjoint of conv1d.
template <Real T>
Tensor<T, 3> conv_transpose1d(const Tensor<T, 3>& x, const Arg<Tensor<T, 3>>& weight, const Arg<Tensor<T, 1>>& bias,
                              const ConvTransposeOptions<1>& options = {}) {
  return Tensor<T, 3>(any::conv(any::ConvKind::transposed, x.any(), weight.any(), bias.any(),
                                any::ConvWindows::of(options, options.stride)));
}

// x [B, groups * in, H, W], weight [groups * in, out, P, Q] -> [B, groups * out, H', W'].
// torch.nn.functional.conv_transpose2d.
template <Real T>
Tensor<T, 4> conv_transpose2d(const Tensor<T, 4>& x, const Arg<Tensor<T, 4>>& weight, const Arg<Tensor<T, 1>>& bias,
                              const ConvTransposeOptions<2>& options = {}) {
  return Tensor<T, 4>(any::conv(any::ConvKind::transposed, x.any(), weight.any(), bias.any(),
                                any::ConvWindows::of(options, options.stride)));
}

}  // namespace aulos::inline AULOS_ISA
