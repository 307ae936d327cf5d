// Images to tokens and back: one token for each patch of the image, row by row.
#pragma once

#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

// The order of a patch's elements inside its token. p, q: row and column in the patch.
enum class PatchOrder {
  channel_first,  // (c, p, q): what a convolution's weight expects
  channel_last,   // (p, q, c): the output layer of DiT and SD3
};

namespace any {

// The image [B, C, Hp * p, Wp * q] seen as [B, Hp, Wp, (c, p, q) or (p, q, c)].
inline Dims patch_view(const Dims& image, Index patch, PatchOrder order) {
  const Index rows = image.stride[2];
  Dims view;
  const auto axis = [&](Index extent, Index stride) {
    view.extent[view.rank] = extent;
    view.stride[view.rank++] = stride;
  };
  axis(image.extent[0], image.stride[0]);
  axis(image.extent[2] / patch, patch * rows);
  axis(image.extent[3] / patch, patch);
  if (order == PatchOrder::channel_first) axis(image.extent[1], image.stride[1]);
  axis(patch, rows);
  axis(patch, 1);
  if (order == PatchOrder::channel_last) axis(image.extent[1], image.stride[1]);
  return view;
}

template <Real T>
AnyTensor<T> patchify(const AnyTensor<T>& x, Index patch, PatchOrder order) {
  Op op("patchify", arg("x", x));
  op.require(patch >= 1 && x.extent(2) % patch == 0 && x.extent(3) % patch == 0, [&] {
    return concat_text({"x ", x.dims(), ": height and width are no multiples of the patch size ", patch});
  });
  const Dims view = patch_view(x.dims(), patch, order);
  const Index tokens = view.extent[1] * view.extent[2];
  AnyTensor<T> y = op.empty<T>(dense_dims({x.extent(0), tokens, x.extent(1) * patch * patch}));
  Dims seen = view;
  seen.make_dense();
  copy_elements(op.context(), "patchify", x.view(view), y.view(seen));
  if (op.recording()) {
    Ghost<T> gx = op.ghost(x);
    gx.dims = view;
    op.record(y, [gx, seen](GradTape& tape, AnyTensor<T> gy) { tape.add(gx, gy.view(seen)); });
  }
  return op.result(std::move(y));
}

template <Real T>
AnyTensor<T> unpatchify(const AnyTensor<T>& x, Index rows, Index columns, Index patch, PatchOrder order) {
  Op op("unpatchify", arg("x", x));
  op.require(
      patch >= 1 && rows >= 0 && columns >= 0 && x.extent(1) == rows * columns && x.last() % (patch * patch) == 0, [&] {
        return concat_text({"x ", x.dims(), ", expected [B, ", rows * columns, ", C * ", patch * patch, "] for ", rows,
                            " by ", columns, " patches"});
      });
  const Index channels = x.last() / (patch * patch);
  AnyTensor<T> y = op.empty<T>(dense_dims({x.extent(0), channels, rows * patch, columns * patch}));
  const AnyTensor<T> from = op.dense(x);
  const Dims view = patch_view(y.dims(), patch, order);
  Dims seen = view;
  seen.make_dense();
  copy_elements(op.context(), "unpatchify", from.view(seen), y.view(view));
  if (op.recording()) {
    op.record(y, [gx = op.ghost(x), patch, order](GradTape& tape, AnyTensor<T> gy) {
      tape.give(gx, patchify(gy, patch, order));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// [B, C, H, W] -> [B, (H / patch)(W / patch), C patch^2]; a linear on it is a convolution with kernel = stride = patch.
template <Real T>
Tensor<T, 3> patchify(const Tensor<T, 4>& x, Index patch, PatchOrder order = PatchOrder::channel_first) {
  return Tensor<T, 3>(any::patchify(x.any(), patch, order));
}

// The inverse: [B, rows * columns, C patch^2] -> [B, C, rows * patch, columns * patch].
template <Real T>
Tensor<T, 4> unpatchify(const Tensor<T, 3>& x, Index rows, Index columns, Index patch, PatchOrder order) {
  return Tensor<T, 4>(any::unpatchify(x.any(), rows, columns, patch, order));
}

}  // namespace aulos::inline AULOS_ISA
