// Sequence models along one axis of a grid of tokens: time or space, inside chunks or across them.
#pragma once

#include <concepts>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/tensor.hpp"
#include "aulos/ops/layout.hpp"

namespace aulos::inline AULOS_ISA::path {

// What may be a path: tokens [b, n, C] in, tokens [b, n, C] out. A transformer, a recurrent model, a mixer.
template <class F, class T>
concept SequenceMap = requires(const F& f, const Tensor<T, 3>& x) {
  { f(x) } -> std::same_as<Tensor<T, 3>>;
};

// The axis of a grid [B, M, N, C] that a path runs along; the other one goes into the batch.
enum class Axis {
  inner,  // N: inside chunks, or the space of [B, time, space, C]
  outer,  // M: across chunks, or time
};

// The grid [B, M, N, C] as sequences along an axis: a view [B M, N, C], or a copy [B N, M, C].
template <Real T>
Tensor<T, 3> sequences(const Tensor<T, 4>& grid, Axis axis) {
  const Tensor<T, 4> rows = axis == Axis::inner ? dense(grid) : permute(grid, Shape<4>{0, 2, 1, 3});
  return rows.reshape(Shape<3>{rows.extent(0) * rows.extent(1), rows.extent(2), rows.extent(3)});
}

// The grid [B, M, N, C] of such sequences; across the outer axis it is a view with exchanged axes.
template <Real T>
Tensor<T, 4> grid_of(const Tensor<T, 3>& sequences, Index batch, Axis axis) {
  const Index other = batch == 0 ? 0 : sequences.extent(0) / batch;
  const Tensor<T, 4> grid = dense(sequences).reshape(Shape<4>{batch, other, sequences.extent(1), sequences.extent(2)});
  return axis == Axis::inner ? grid : grid.permute_leading(Shape<4>{0, 2, 1, 3});
}

// f along one axis of the grid [B, M, N, C].
template <Real T, SequenceMap<T> F>
Tensor<T, 4> along(Axis axis, const F& f, const Tensor<T, 4>& grid) {
  return grid_of(f(sequences(grid, axis)), grid.extent(0), axis);
}

}  // namespace aulos::inline AULOS_ISA::path
