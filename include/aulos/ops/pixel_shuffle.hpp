// Channels to pixels and back.
#pragma once

#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

// An image [B, C, H r, W r] seen as [B, C, r, r, H, W]: in the order of [B, C r^2, H, W].
inline Dims pixel_view(const Dims& image, Index r) {
  Dims view;
  const auto axis = [&](Index extent, Index stride) {
    view.extent[view.rank] = extent;
    view.stride[view.rank++] = stride;
  };
  axis(image.extent[0], image.stride[0]);
  axis(image.extent[1], image.stride[1]);
  axis(r, image.stride[2]);
  axis(r, image.stride[3]);
  axis(image.extent[2] / r, image.stride[2] * r);
  axis(image.extent[3] / r, image.stride[3] * r);
  return view;
}

template <Real T>
AnyTensor<T> pixel_unshuffle(const AnyTensor<T>& x, Index r) {
  Op op("pixel_unshuffle", arg("x", x));
  op.require(r >= 1 && x.extent(2) % r == 0 && x.extent(3) % r == 0, [&] {
    return "x " + to_string(x.dims()) + ": height and width are no multiples of the factor " + std::to_string(r);
  });
  const Dims view = pixel_view(x.dims(), r);
  Dims seen = view;
  seen.make_dense();
  AnyTensor<T> y = op.empty<T>(dense_dims({x.extent(0), x.extent(1) * r * r, x.extent(2) / r, x.extent(3) / r}));
  copy_elements(op.context(), "pixel_unshuffle", x.view(view), y.view(seen));
  if (op.recording()) {
    Ghost<T> gx = op.ghost(x);
    gx.dims = view;
    op.record(y, [gx, seen](GradTape& tape, AnyTensor<T> gy) { tape.add(gx, gy.view(seen)); });
  }
  return op.result(std::move(y));
}

template <Real T>
AnyTensor<T> pixel_shuffle(const AnyTensor<T>& x, Index r) {
  Op op("pixel_shuffle", arg("x", x));
  op.require(r >= 1 && x.extent(1) % (r * r) == 0, [&] {
    return "x " + to_string(x.dims()) + " has " + std::to_string(x.extent(1)) +
           " channels, expected a multiple of the square of the factor " + std::to_string(r);
  });
  AnyTensor<T> y = op.empty<T>(dense_dims({x.extent(0), x.extent(1) / (r * r), x.extent(2) * r, x.extent(3) * r}));
  const AnyTensor<T> from = op.dense(x);
  const Dims view = pixel_view(y.dims(), r);
  Dims seen = view;
  seen.make_dense();
  copy_elements(op.context(), "pixel_shuffle", from.view(seen), y.view(view));
  if (op.recording()) {
    op.record(y, [gx = op.ghost(x), r](GradTape& tape, AnyTensor<T> gy) { tape.give(gx, pixel_unshuffle(gy, r)); });
  }
  return op.result(std::move(y));
}

}  // namespace any

// [B, C r^2, H, W] -> [B, C, H r, W r]: channel (c, i, j) is pixel (i, j) of each r by r block.
// torch.nn.functional.pixel_shuffle.
template <Real T>
Tensor<T, 4> pixel_shuffle(const Tensor<T, 4>& x, Index factor) {
  return Tensor<T, 4>(any::pixel_shuffle(x.any(), factor));
}

// The inverse: [B, C, H r, W r] -> [B, C r^2, H, W]. torch.nn.functional.pixel_unshuffle.
template <Real T>
Tensor<T, 4> pixel_unshuffle(const Tensor<T, 4>& x, Index factor) {
  return Tensor<T, 4>(any::pixel_unshuffle(x.any(), factor));
}

}  // namespace aulos::inline AULOS_ISA
