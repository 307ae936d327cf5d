// Sums, means and maxima.
#pragma once

#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/reduce.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

// gradient, repeated over the axes in which `like` is larger, into a fresh dense tensor of those extents.
template <Real T>
AnyTensor<T> spread(Context& context, const AnyTensor<T>& gradient, const Dims& like, double factor) {
  AnyTensor<T> y = context.empty_any<T>(like);
  Dims repeated = y.dims();
  for (int axis = 0; axis < repeated.rank; ++axis) repeated.stride[axis] = 0;
  if (gradient.count() > 1)
    for (int axis = 0; axis + 1 < repeated.rank; ++axis) repeated.stride[axis] = gradient.stride(axis);
  const T by = static_cast<T>(factor);
  context.run("spread", cost_per_element<T>(y.count(), 1, 1), [&](Threads threads) {
    Dims one = y.dims();
    for (int axis = 0; axis < one.rank; ++axis) one.stride[axis] = 0;
    kernels::binary(threads, gradient.data(), repeated, &by, one, y.mutable_data(), y.dims(), kernels::Multiply{});
  });
  return y;
}

// factor * sum of all elements, [1].
template <Real T>
AnyTensor<T> total(const char* name, const AnyTensor<T>& x, double factor) {
  Op op(name, arg("x", x));
  const AnyTensor<T> from = op.dense(x);
  AnyTensor<T> y = op.empty<T>(dense_dims({1}));
  op.run(cost_per_element<T>(x.count(), 1, 1), [&](Threads) {
    *y.mutable_data() = static_cast<T>(factor * kernels::total_sum<T>(from.data(), nullptr, from.count()));
  });
  if (op.recording()) {
    op.record(y, [gx = op.ghost(x), factor](GradTape& tape, AnyTensor<T> gy) {
      tape.give(gx, spread(tape.context(), gy, gx.dims, factor));
    });
  }
  return op.result(std::move(y));
}

// factor * sum over the last axis, which becomes 1.
template <Real T>
AnyTensor<T> sum_last(const char* name, const AnyTensor<T>& x, double factor) {
  Op op(name, arg("x", x));
  const AnyTensor<T> from = op.dense(x);
  AnyTensor<T> y = op.empty<T>(x.dims().with_last(1));
  op.run(cost_per_element<T>(x.count(), 1, 1), [&](Threads threads) {
    kernels::row_sum<T>(threads, from.data(), from.last(), nullptr, 0, from.rows(), from.last(), factor,
                        y.mutable_data());
  });
  if (op.recording()) {
    op.record(y, [gx = op.ghost(x), factor](GradTape& tape, AnyTensor<T> gy) {
      tape.give(gx, spread(tape.context(), gy, gx.dims, factor));
    });
  }
  return op.result(std::move(y));
}

template <Real T>
AnyTensor<T> max_last(const AnyTensor<T>& x) {
  Op op("max_last", arg("x", x));
  op.require(x.last() > 0, [&] { return concat_text({"x ", x.dims(), " has no elements to choose from"}); });
  const AnyTensor<T> from = op.dense(x);
  AnyTensor<T> y = op.empty<T>(x.dims().with_last(1));
  AnyTensor<std::int64_t> at = op.context().template empty_any<std::int64_t>(y.dims());
  op.run(cost_per_element<T>(x.count(), 1, 1), [&](Threads threads) {
    kernels::row_max<T>(threads, from.data(), from.last(), from.rows(), from.last(), y.mutable_data(),
                        at.mutable_data());
  });
  if (op.recording()) {
    op.record(y, [at, gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gy) {
      AnyTensor<T> dx = tape.context().template empty_any<T>(gx.dims);
      tape.context().run("max_last_backward", cost_per_element<T>(dx.count(), 0, 1), [&](Threads) {
        T* out = dx.mutable_data();
        for (Index i = 0; i < dx.count(); ++i) out[i] = T{0};
        for (Index r = 0; r < gy.count(); ++r) out[r * dx.last() + at.data()[r]] = gy.data()[r];
      });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// Of all elements, in double: [1].
template <Real T, int Rank>
Tensor<T, 1> sum(const Tensor<T, Rank>& x) {
  return Tensor<T, 1>(any::total("sum", x.any(), 1.0));
}
template <Real T, int Rank>
Tensor<T, 1> mean(const Tensor<T, Rank>& x) {
  return Tensor<T, 1>(any::total("mean", x.any(), 1.0 / static_cast<double>(x.count())));
}

// Over the last axis, which stays with extent 1: torch.sum / mean / max(dim=-1, keepdim=True).
template <Real T, int Rank>
Tensor<T, Rank> sum_last(const Tensor<T, Rank>& x) {
  return Tensor<T, Rank>(any::sum_last("sum_last", x.any(), 1.0));
}
template <Real T, int Rank>
Tensor<T, Rank> mean_last(const Tensor<T, Rank>& x) {
  return Tensor<T, Rank>(any::sum_last("mean_last", x.any(), 1.0 / static_cast<double>(x.extent(Rank - 1))));
}
template <Real T, int Rank>
Tensor<T, Rank> max_last(const Tensor<T, Rank>& x) {
  return Tensor<T, Rank>(any::max_last(x.any()));
}

}  // namespace aulos::inline AULOS_ISA
