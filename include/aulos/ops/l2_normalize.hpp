// Rows divided by their Euclidean length.
#pragma once

#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/l2_normalize.hpp"
#include "aulos/ops/modulate.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

template <Real T>
AnyTensor<T> l2_normalize(const AnyTensor<T>& x, double eps) {
  Op op("l2_normalize", arg("x", x));
  const RowsOf<T> in = rows_of(op, x);
  AnyTensor<T> y = op.like(x);
  op.run(cost_per_element<T>(x.count(), 3, 2),
         [&](Threads threads) { kernels::l2_normalize<T>(threads, x.rows(), x.last(), eps, in.in(), rows_out(y)); });
  if (op.recording()) {
    op.record(y, [in, eps, gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gy) {
      AnyTensor<T> dx = tape.context().template empty_any<T>(gy.dims());
      tape.context().run("l2_normalize_backward", cost_per_element<T>(gy.count(), 8, 3), [&](Threads threads) {
        kernels::l2_normalize_backward<T>(threads, gy.rows(), gy.last(), eps, in.in(), dense_rows(gy), rows_out(dx));
      });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// x / max(|x|, eps) over the last axis. torch.nn.functional.normalize(x, dim=-1). The form x / sqrt(sum x^2 + eps) is
// rms_norm with eps / C, divided by sqrt(C).
template <Real T, int Rank>
Tensor<T, Rank> l2_normalize(const Tensor<T, Rank>& x, double eps = 1e-12) {
  return Tensor<T, Rank>(any::l2_normalize(x.any(), eps));
}

}  // namespace aulos::inline AULOS_ISA
