// Limiting elements to a range.
#pragma once

#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/activation.hpp"
#include "aulos/ops/activation.hpp"
#include "aulos/ops/op.hpp"
#include "aulos/simd/batch.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

// min(max(x, low), high), NaN kept; slope 1 inside and at the bounds, 0 outside.
template <Real T>
struct Clamp {
  T low, high;

  template <class V>
  V operator()(V x) const noexcept {
    return (simd::min)((simd::max)(x, V(low)), V(high));
  }
  template <class V>
  V derivative(V x) const noexcept {
    return simd::select((x >= V(low)) & (x <= V(high)), V(T{1}), V(T{0}));
  }
};

template <Real T>
AnyTensor<T> clamp(const AnyTensor<T>& x, T low, T high) {
  Op op("clamp", arg("x", x));
  const Clamp<T> f{low, high};
  const AnyTensor<T> from = op.dense(x);
  AnyTensor<T> y = op.like(x);
  op.run(cost_per_element<T>(x.count(), 2, 2),
         [&](Threads threads) { kernels::activate<T>(threads, 1, y.count(), one_row(from), one_row_out(y), f); });
  if (op.recording()) {
    op.record(y, [from, f, gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gy) {
      AnyTensor<T> dx = tape.context().template empty_any<T>(gy.dims());
      tape.context().run("clamp_backward", cost_per_element<T>(gy.count(), 2, 3), [&](Threads threads) {
        kernels::activate_backward<T>(threads, 1, gy.count(), one_row(from), one_row(gy), one_row_out(dx), f);
      });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// torch.clamp(x, low, high).
template <Real T, int Rank>
Tensor<T, Rank> clamp(const Tensor<T, Rank>& x, std::type_identity_t<T> low, std::type_identity_t<T> high) {
  return Tensor<T, Rank>(any::clamp<T>(x.any(), low, high));
}

}  // namespace aulos::inline AULOS_ISA
