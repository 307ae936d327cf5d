// Convolution layers of one and two axes, and transposed ones.
#pragma once

#include <string>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/parameter.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/ops/conv.hpp"

namespace aulos::inline AULOS_ISA::nn {

// [B, in, ..] -> [B, out, ..]. torch.nn.Conv1d, Conv2d; .groups = in makes it depthwise, .padding =
// causal_padding(kernel) causal.
template <Real T, int Axes>
struct Conv {
  using value_type = T;

  Parameter<T, Axes + 2> weight;  // [out, in / groups, kernel..]
  Parameter<T, 1> bias;           // [out], or absent
  ConvOptions<Axes> options;

  Conv() = default;
  Conv(Index in, Index out, PerAxis<Index, Axes> kernel, const ConvOptions<Axes>& how = {}, Bias with_bias = Bias::yes)
      : weight(shape(out, in, kernel, how.groups)), options(how) {
    if (with_bias == Bias::yes) bias = Parameter<T, 1>(Shape<1>{out});
  }

  // Absent: a layer that the model does not have.
  bool empty() const noexcept { return weight.empty(); }

  Tensor<T, Axes + 2> operator()(const Tensor<T, Axes + 2>& x) const {
    if constexpr (Axes == 1) {
      return conv1d(x, weight, bias, options);
    } else {
      return conv2d(x, weight, bias, options);
    }
  }

  void visit(auto&& v) {
    v("weight", weight);
    v("bias", bias);
  }
  bool operator==(const Conv&) const = default;

  // The extents of a weight [outer, inner / groups, kernel..].
  static Shape<Axes + 2> shape(Index outer, Index inner, const PerAxis<Index, Axes>& kernel, Index groups) {
    if (groups < 1 || outer % groups != 0 || inner % groups != 0)
      throw ConfigError("conv: " + std::to_string(inner) + " and " + std::to_string(outer) + " channels in " +
                        std::to_string(groups) + " groups: expected multiples of them");
    Shape<Axes + 2> extents{outer, inner / groups};
    for (int i = 0; i < Axes; ++i) extents[2 + i] = kernel[i];
    return extents;
  }
};

// The adjoint of a Conv from out to in channels: [B, in, ..] -> [B, out, ..]. torch.nn.ConvTranspose1d,
// ConvTranspose2d.
template <Real T, int Axes>
struct ConvTranspose {
  using value_type = T;

  Parameter<T, Axes + 2> weight;  // [in, out / groups, kernel..]
  Parameter<T, 1> bias;           // [out], or absent
  ConvTransposeOptions<Axes> options;

  ConvTranspose() = default;
  ConvTranspose(Index in, Index out, PerAxis<Index, Axes> kernel, const ConvTransposeOptions<Axes>& how = {},
                Bias with_bias = Bias::yes)
      : weight(Conv<T, Axes>::shape(in, out, kernel, how.groups)), options(how) {
    if (with_bias == Bias::yes) bias = Parameter<T, 1>(Shape<1>{out});
  }

  bool empty() const noexcept { return weight.empty(); }

  Tensor<T, Axes + 2> operator()(const Tensor<T, Axes + 2>& x) const {
    if constexpr (Axes == 1) {
      return conv_transpose1d(x, weight, bias, options);
    } else {
      return conv_transpose2d(x, weight, bias, options);
    }
  }

  void visit(auto&& v) {
    v("weight", weight);
    v("bias", bias);
  }
  bool operator==(const ConvTranspose&) const = default;
};

template <Real T>
using Conv1d = Conv<T, 1>;
template <Real T>
using Conv2d = Conv<T, 2>;
template <Real T>
using ConvTranspose1d = ConvTranspose<T, 1>;
template <Real T>
using ConvTranspose2d = ConvTranspose<T, 2>;

}  // namespace aulos::inline AULOS_ISA::nn
