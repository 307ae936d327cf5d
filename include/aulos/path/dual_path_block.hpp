// The dual-path block: one grid of tokens, mixed along its inner axis and along its outer axis, in turn or in parallel.
#pragma once

#include <concepts>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/segment.hpp"
#include "aulos/path/axes.hpp"

namespace aulos::inline AULOS_ISA::path {

// What stands between a path and its residual: a norm of the grid, or nothing.
template <class Norm, class T>
concept GridNorm = requires(const Norm& norm, const Tensor<T, 4>& x) {
  { norm(x) } -> std::same_as<Tensor<T, 4>>;
};

struct NoGridNorm {
  template <Real T>
  Tensor<T, 4> operator()(Tensor<T, 4> x) const {
    return x;
  }
  void visit(auto&&) {}
  bool operator==(const NoGridNorm&) const = default;
};

// in_turn: the outer path reads the result of the inner one. parallel: both read the input, their results add up.
enum class Fusion { in_turn, parallel };
// Whether a path's input is added to its result.
enum class Skip { no, yes };

// x [B, M, N, C] -> [B, M, N, C]. In turn: u = norm(inner(x)) (+ x), y = norm(outer(u)) (+ u). In parallel:
// y = norm(inner(x)) + norm(outer(x)) (+ x, with the inner skip). A path is anything that maps tokens [b, n, C] to
// tokens: a transformer, a recurrent model, a mixer. DPRNN, SepFormer; attention divided over space and time.
template <Real T, SequenceMap<T> InnerPath, SequenceMap<T> OuterPath = InnerPath, GridNorm<T> Norm = NoGridNorm>
struct DualPathBlock {
  using value_type = T;

  InnerPath inner;
  OuterPath outer;
  Norm inner_norm, outer_norm;
  Skip inner_skip = Skip::yes, outer_skip = Skip::yes;
  Fusion fusion = Fusion::in_turn;

  Tensor<T, 4> operator()(const Tensor<T, 4>& x) const {
    const Tensor<T, 4> u = joined(inner_norm(along(Axis::inner, inner, x)), x, inner_skip);
    if (fusion == Fusion::parallel) return add(outer_norm(along(Axis::outer, outer, x)), u);
    return joined(outer_norm(along(Axis::outer, outer, u)), u, outer_skip);
  }

  void visit(auto&& v) {
    v("inner", inner);
    v("outer", outer);
    v("inner_norm", inner_norm);
    v("outer_norm", outer_norm);
  }
  bool operator==(const DualPathBlock&) const = default;

 private:
  static Tensor<T, 4> joined(Tensor<T, 4> y, const Tensor<T, 4>& x, Skip skip) {
    return skip == Skip::yes ? add(y, x) : y;
  }
};

// The blocks over a sequence [B, L, C]: cut by the table, mixed, added back together (half-overlapping chunks give
// every token twice).
template <Real T, class Blocks>
Tensor<T, 3> segmented(const Tensor<T, 3>& x, const ChunkTable& table, const Blocks& blocks) {
  return overlap_add(Tensor<T, 4>(blocks(segment(x, table))), table);
}

}  // namespace aulos::inline AULOS_ISA::path
