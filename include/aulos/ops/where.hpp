// Choices by a mask.
#pragma once

#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/where.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

// The dims of x over the extents of y, its axes of extent 1 repeated.
inline Dims repeated_over(const Op& op, const char* name, const Dims& x, const Dims& y) {
  Dims dims = x;
  op.require(x.rank == y.rank, [&] { return concat_text({name, " ", x, " for ", y}); });
  for (int axis = 0; axis < x.rank; ++axis) {
    op.require(x.extent[axis] == y.extent[axis] || x.extent[axis] == 1, [&] {
      return concat_text({name, " ", x, " for ", y, ": axis ", axis, " is neither equal nor 1"});
    });
    if (x.extent[axis] == y.extent[axis]) continue;
    dims.extent[axis] = y.extent[axis];
    dims.stride[axis] = 0;
  }
  return dims;
}

// mask ? a : b; an absent one of a and b stands for `fill`.
template <Real T>
AnyTensor<T> where(const char* name, const AnyTensor<std::uint8_t>& mask, const AnyTensor<T>& a, const AnyTensor<T>& b,
                   T fill) {
  Op op(name, arg("mask", mask), optional_arg("a", a), optional_arg(a.empty() ? "x" : "b", b));
  op.require(!a.empty() || !b.empty(), [] { return std::string("both a and b are empty (moved from?)"); });
  const Dims y_dims = a.empty() ? b.dims() : b.empty() ? a.dims() : broadcast(op, a.dims(), b.dims()).y;
  const Dims mask_dims = repeated_over(op, "mask", mask.dims(), y_dims);
  Dims one = y_dims;  // of `fill`
  for (int axis = 0; axis < one.rank; ++axis) one.stride[axis] = 0;
  const Dims a_dims = a.empty() ? one : repeated_over(op, "a", a.dims(), y_dims);
  const Dims b_dims = b.empty() ? one : repeated_over(op, "b", b.dims(), y_dims);
  AnyTensor<T> y = op.empty<T>(y_dims);
  op.run(cost_per_element<T>(y.count(), 1, 3), [&](Threads threads) {
    kernels::where<T>(threads, mask.data(), mask_dims, a.empty() ? &fill : a.data(), a_dims,
                      b.empty() ? &fill : b.data(), b_dims, y.mutable_data(), y.dims());
  });
  if (op.recording()) {
    op.record(y, [mask, ga = op.ghost(a), gb = op.ghost(b)](GradTape& tape, AnyTensor<T> gy) {
      if (ga) give_broadcast(tape, ga, where<T>("where_backward", mask, gy, {}, T{0}));
      if (gb) give_broadcast(tape, gb, where<T>("where_backward", mask, {}, gy, T{0}));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// a where the mask is not 0, b elsewhere; axes of extent 1 are repeated. torch.where.
template <Real T, int Rank>
Tensor<T, Rank> where(const Tensor<std::uint8_t, Rank>& mask, const Tensor<T, Rank>& a, const Arg<Tensor<T, Rank>>& b) {
  if (a.empty() || b.empty())
    throw ShapeError(concat_text({"where: ", a.empty() ? "a" : "b", " is empty (moved from?)"}));
  return Tensor<T, Rank>(any::where<T>("where", mask.any(), a.any(), b.any(), T{0}));
}

// `value` where the mask is not 0, x elsewhere. torch.Tensor.masked_fill.
template <Real T, int Rank>
Tensor<T, Rank> masked_fill(const Tensor<T, Rank>& x, const Tensor<std::uint8_t, Rank>& mask,
                            std::type_identity_t<T> value) {
  if (x.empty()) throw ShapeError("masked_fill: x is empty (moved from?)");
  return Tensor<T, Rank>(any::where<T>("masked_fill", mask.any(), {}, x.any(), value));
}

}  // namespace aulos::inline AULOS_ISA
