// Turning an axis around: roll and flip.
#pragma once

#include <string>

#include "aulos/core/config.hpp"
#include "aulos/ops/pad.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

template <Real T>
AnyTensor<T> roll(const AnyTensor<T>& x, Index shift, int axis) {
  Op op("roll", arg("x", x));
  op.require(axis >= 0 && axis < x.rank(),
             [&] { return "axis " + std::to_string(axis) + " of " + to_string(x.dims()); });
  kernels::PadShape s = pad_shape(x.dims());
  const Index in = x.extent(axis);
  if (in > 0) s.axis[axis] = {in, in, (shift % in + in) % in, PadMode::circular, false};
  return rearrange(op, "roll_backward", x, s, T(0));
}

template <Real T>
AnyTensor<T> flip(const AnyTensor<T>& x, int axis) {
  Op op("flip", arg("x", x));
  op.require(axis >= 0 && axis < x.rank(),
             [&] { return "axis " + std::to_string(axis) + " of " + to_string(x.dims()); });
  kernels::PadShape s = pad_shape(x.dims());
  s.axis[axis].flip = true;
  return rearrange(op, "flip_backward", x, s, T(0));
}

}  // namespace any

// Element i of the axis moves to (i + shift) modulo its extent. torch.roll; two axes are two rolls.
template <Real T, int Rank>
Tensor<T, Rank> roll(const Tensor<T, Rank>& x, Index shift, int axis) {
  return Tensor<T, Rank>(any::roll(x.any(), shift, axis));
}

// The axis backwards. torch.flip.
template <Real T, int Rank>
Tensor<T, Rank> flip(const Tensor<T, Rank>& x, int axis) {
  return Tensor<T, Rank>(any::flip(x.any(), axis));
}

}  // namespace aulos::inline AULOS_ISA
