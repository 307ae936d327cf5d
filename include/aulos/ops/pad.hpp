// Padding of the last one or two axes, or of any.
#pragma once

#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/pad.hpp"
#include "aulos/ops/modulate.hpp"
#include "aulos/ops/op.hpp"
#include "aulos/ops/per_axis.hpp"

namespace aulos::inline AULOS_ISA {

using kernels::PadMode;

namespace any {

// A shape whose axes all stay what they are.
inline kernels::PadShape pad_shape(const Dims& dims) {
  kernels::PadShape s;
  s.rank = dims.rank;
  for (int i = 0; i < dims.rank; ++i) s.axis[i] = {dims.extent[i], dims.extent[i], 0, PadMode::constant, false};
  return s;
}

// What pad, roll and flip have in common.
template <Real T>
AnyTensor<T> rearrange(const Op& op, const char* backward, const AnyTensor<T>& x, const kernels::PadShape& s, T value) {
  Dims dims = x.dims();
  for (int i = 0; i < dims.rank; ++i) dims.extent[i] = s.axis[i].out;
  const AnyTensor<T> from = op.dense(x);
  AnyTensor<T> y = op.empty<T>(dims);
  op.run(cost_per_element<T>(y.count(), 0, 2),
         [&](Threads threads) { kernels::pad<T>(threads, s, value, from.data(), y.mutable_data()); });
  if (op.recording()) {
    op.record(y, [s, backward, gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gy) {
      AnyTensor<T> dx = wanted(tape.context(), gx);
      tape.context().run(backward, cost_per_element<T>(gy.count(), 1, 2),
                         [&](Threads threads) { kernels::pad_backward<T>(threads, s, gy.data(), dx.mutable_data()); });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

// Sides of the last `count` axes, the outermost first; negative ones cut off (constant alone).
template <Real T>
AnyTensor<T> pad(const AnyTensor<T>& x, const Sides* sides, int count, PadMode mode, double value) {
  Op op("pad", arg("x", x));
  kernels::PadShape s = pad_shape(x.dims());
  for (int i = 0; i < count; ++i) {
    const int at = x.rank() - count + i;
    const Index in = x.extent(at);
    const auto [before, after] = sides[i];
    const bool one_length = mode == PadMode::circular  ? before <= in && after <= in
                            : mode == PadMode::reflect ? before < in && after < in
                                                       : true;
    const bool whole = mode == PadMode::constant || (before >= 0 && after >= 0 && in > 0);
    op.require((whole && one_length && in + before + after >= 0) || (before == 0 && after == 0), [&] {
      return "axis " + std::to_string(at) + " of x " + to_string(x.dims()) + " padded by " +
             std::to_string(sides[i].before) + " and " + std::to_string(sides[i].after) +
             (mode == PadMode::constant   ? ", expected an extent of at least 0"
              : mode == PadMode::reflect  ? ", expected from 0 to less than its extent"
              : mode == PadMode::circular ? ", expected from 0 to its extent"
                                          : ", expected at least 0 and an element to repeat");
    });
    s.axis[at] = {in, in + before + after, before, mode, false};
  }
  return rearrange(op, "pad_backward", x, s, static_cast<T>(value));
}

}  // namespace any

// x with elements before and behind its last axes; `value` is what PadMode::constant adds. Negative sides cut elements
// off (constant alone). torch.nn.functional.pad, whose list begins with the last axis:
//     pad(x, {Sides{1, 2}}) is F.pad(x, (1, 2)); pad(x, {Sides{1, 2}, Sides{3, 4}}) is F.pad(x, (3, 4, 1, 2)).
template <Real T, int Rank, std::size_t Count>
Tensor<T, Rank> pad(const Tensor<T, Rank>& x, const Sides (&sides)[Count], PadMode mode = PadMode::constant,
                    double value = 0) {
  static_assert(Count <= static_cast<std::size_t>(Rank), "more sides than axes");
  return Tensor<T, Rank>(any::pad(x.any(), sides, static_cast<int>(Count), mode, value));
}

}  // namespace aulos::inline AULOS_ISA
