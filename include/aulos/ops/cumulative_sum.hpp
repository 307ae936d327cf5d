// Running sums along an axis.
#pragma once

#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/cumulative_sum.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

using kernels::SumDirection;

namespace any {

template <Real T>
AnyTensor<T> cumulative_sum(const AnyTensor<T>& x, int axis, SumDirection direction) {
  Op op("cumulative_sum", arg("x", x));
  op.require(axis >= 0 && axis < x.rank(), [&] { return concat_text({"axis ", axis, " of x ", x.dims()}); });
  Index outer = 1, inner = 1;
  for (int other = 0; other < axis; ++other) outer *= x.extent(other);
  for (int other = axis + 1; other < x.rank(); ++other) inner *= x.extent(other);
  const AnyTensor<T> from = op.dense(x);
  AnyTensor<T> y = op.like(x);
  op.run(cost_per_element<T>(x.count(), 1, 2), [&](Threads threads) {
    kernels::cumulative_sum<T>(threads, direction, outer, x.extent(axis), inner, from.data(), y.mutable_data());
  });
  if (op.recording()) {
    op.record(y, [axis, direction, gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gy) {
      const bool forward = direction == SumDirection::forward;
      tape.give(gx, cumulative_sum(gy, axis, forward ? SumDirection::backward : SumDirection::forward));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// y[.., i, ..] = sum of x[.., j, ..] over j <= i of an axis (backward: j >= i), in double. torch.cumsum.
template <Real T, int Rank>
Tensor<T, Rank> cumulative_sum(const Tensor<T, Rank>& x, int axis, SumDirection direction = SumDirection::forward) {
  return Tensor<T, Rank>(any::cumulative_sum(x.any(), axis, direction));
}

}  // namespace aulos::inline AULOS_ISA
