// Ops that move elements: dense copies, permutations, concatenation and splitting.
#pragma once

#include <array>
#include <span>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/copy.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

template <Real T>
void copy_elements(Context& context, const char* name, const AnyTensor<T>& from, const AnyTensor<T>& to) {
  context.run(name, cost_per_element<T>(from.count(), 0, 2),
              [&](Threads threads) { kernels::copy(threads, from.data(), from.dims(), to.mutable_data(), to.dims()); });
}

// A dense tensor of x's elements: x itself where it is dense already.
template <Real T>
AnyTensor<T> dense(const AnyTensor<T>& x) {
  Op op("dense", arg("x", x));
  if (x.dims().dense()) return x;
  AnyTensor<T> y = op.like(x);
  copy_elements(op.context(), "dense", x, y);
  if (op.recording()) {
    op.record(y, [gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gy) { tape.give(gx, std::move(gy)); });
  }
  return op.result(std::move(y));
}

template <Real T>
AnyTensor<T> permute(const AnyTensor<T>& x, std::span<const Index> order) {
  Op op("permute", arg("x", x));
  Dims view;
  view.rank = x.rank();
  bool seen[max_rank] = {};
  for (int axis = 0; axis < x.rank(); ++axis) {
    const Index from = order[static_cast<std::size_t>(axis)];
    op.require(from >= 0 && from < x.rank() && !seen[from], [&] {
      return concat_text({"order ", to_string(order.data(), x.rank()), " of x ", x.dims(), " is no permutation"});
    });
    seen[from] = true;
    view.extent[axis] = x.extent(static_cast<int>(from));
    view.stride[axis] = x.stride(static_cast<int>(from));
  }
  AnyTensor<T> y = op.empty<T>(view);
  copy_elements(op.context(), "permute", x.view(view), y);
  if (op.recording()) {
    Ghost<T> gx = op.ghost(x);
    gx.dims = view;
    op.record(y, [gx](GradTape& tape, AnyTensor<T> gy) { tape.add(gx, gy); });
  }
  return op.result(std::move(y));
}

template <Real T>
AnyTensor<T> concat(std::span<const AnyTensor<T>> x, int axis) {
  if (x.empty()) throw ShapeError("concat: no tensors");
  const Op op = Op::over("concat", [&](auto&& visit) {
    for (const AnyTensor<T>& part : x) visit(arg("x", part));
  });
  Dims dims = x[0].dims();
  op.require(axis >= 0 && axis < dims.rank, [&] { return concat_text({"axis ", axis, " of ", dims}); });
  dims.extent[axis] = 0;
  for (const AnyTensor<T>& part : x) {
    bool fits = part.rank() == dims.rank;
    for (int other = 0; fits && other < dims.rank; ++other)
      fits = other == axis || part.extent(other) == dims.extent[other];
    op.require(fits, [&] { return concat_text({x[0].dims(), " and ", part.dims(), " differ outside axis ", axis}); });
    dims.extent[axis] += part.extent(axis);
  }
  AnyTensor<T> y = op.empty<T>(dims);
  Index begin = 0;
  for (const AnyTensor<T>& part : x) {
    Dims place = y.dims();
    place.extent[axis] = part.extent(axis);
    copy_elements(op.context(), "concat", part, y.view(place, begin * y.stride(axis)));
    begin += part.extent(axis);
  }
  if (op.recording()) {
    constexpr std::size_t most = 8;
    op.require(x.size() <= most, [] { return "more than 8 tensors under a tape"; });
    std::array<Ghost<T>, most> ghosts;
    for (std::size_t i = 0; i < x.size(); ++i) ghosts[i] = op.ghost(x[i]);
    std::array<Index, most> extents{};
    for (std::size_t i = 0; i < x.size(); ++i) extents[i] = x[i].extent(axis);
    op.record(y, [ghosts, extents, axis](GradTape& tape, AnyTensor<T> gy) {
      Index at = 0;
      for (std::size_t i = 0; i < most; ++i) {
        Dims part = gy.dims();
        part.extent[axis] = extents[i];
        if (ghosts[i]) tape.give(ghosts[i], gy.view(part, at * gy.stride(axis)));
        at += extents[i];
      }
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// x with its elements side by side; x itself where they are. torch.Tensor.contiguous.
template <Real T, int Rank>
Tensor<T, Rank> dense(const Tensor<T, Rank>& x) {
  return Tensor<T, Rank>(any::dense(x.any()));
}

// Axis i of the result is axis order[i] of x, copied. torch.permute(x, order).contiguous().
template <Real T, int Rank>
Tensor<T, Rank> permute(const Tensor<T, Rank>& x, const Shape<Rank>& order) {
  return Tensor<T, Rank>(any::permute(x.any(), std::span<const Index>(order.extents)));
}

// The tensors one behind the other along `axis`. torch.cat.
template <Real T, int Rank, std::size_t Count>
Tensor<T, Rank> concat(const std::array<Tensor<T, Rank>, Count>& x, int axis) {
  std::array<AnyTensor<T>, Count> parts;
  for (std::size_t i = 0; i < Count; ++i) parts[i] = x[i].any();
  return Tensor<T, Rank>(any::concat(std::span<const AnyTensor<T>>(parts), axis));
}

// N equal parts of an axis, as views. torch.chunk.
template <std::size_t Count, Real T, int Rank>
std::array<Tensor<T, Rank>, Count> chunk(const Tensor<T, Rank>& x, int axis) {
  if (x.empty() || axis < 0 || axis >= Rank || x.extent(axis) % static_cast<Index>(Count) != 0)
    throw ShapeError("chunk: axis " + std::to_string(axis) + " of " +
                     (x.empty() ? "an empty tensor" : to_string(x.any().dims())) + " into " + std::to_string(Count) +
                     " equal parts");
  const Index part = x.extent(axis) / static_cast<Index>(Count);
  std::array<Tensor<T, Rank>, Count> parts;
  for (std::size_t i = 0; i < Count; ++i)
    parts[i] = x.slice(axis, static_cast<Index>(i) * part, static_cast<Index>(i + 1) * part);
  return parts;
}

}  // namespace aulos::inline AULOS_ISA
