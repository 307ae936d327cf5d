// Softmax, log-softmax and log-sum-exp over the last axis.
#pragma once

#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/softmax.hpp"
#include "aulos/ops/modulate.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

enum class SoftmaxKind { plain, log };

template <Real T>
AnyTensor<T> softmax(SoftmaxKind kind, const AnyTensor<T>& x) {
  Op op(kind == SoftmaxKind::plain ? "softmax" : "log_softmax", arg("x", x));
  const RowsOf<T> in = rows_of(op, x);
  AnyTensor<T> y = op.like(x);
  op.run(cost_per_element<T>(x.count(), 10, 2), [&](Threads threads) {
    kind == SoftmaxKind::plain ? kernels::softmax<T>(threads, x.rows(), x.last(), in.in(), rows_out(y))
                               : kernels::log_softmax<T>(threads, x.rows(), x.last(), in.in(), rows_out(y));
  });
  if (op.recording()) {
    const AnyTensor<T> saved = y;
    op.record(y, [saved, kind, gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gy) {
      AnyTensor<T> dx = tape.context().template empty_any<T>(gy.dims());
      tape.context().run("softmax_backward", cost_per_element<T>(gy.count(), 4, 3), [&](Threads threads) {
        kind == SoftmaxKind::plain ? kernels::softmax_backward<T>(threads, gy.rows(), gy.last(), dense_rows(saved),
                                                                  dense_rows(gy), rows_out(dx))
                                   : kernels::log_softmax_backward<T>(threads, gy.rows(), gy.last(), dense_rows(saved),
                                                                      dense_rows(gy), rows_out(dx));
      });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

template <Real T>
AnyTensor<T> logsumexp(const AnyTensor<T>& x) {
  Op op("logsumexp", arg("x", x));
  const RowsOf<T> in = rows_of(op, x);
  AnyTensor<T> y = op.empty<T>(x.dims().with_last(1));
  op.run(cost_per_element<T>(x.count(), 10, 1),
         [&](Threads threads) { kernels::logsumexp<T>(threads, x.rows(), x.last(), in.in(), y.mutable_data()); });
  if (op.recording()) {
    const AnyTensor<T> saved = y;
    op.record(y, [in, saved, gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gy) {
      AnyTensor<T> dx = tape.context().template empty_any<T>(gx.dims);
      tape.context().run("logsumexp_backward", cost_per_element<T>(dx.count(), 10, 2), [&](Threads threads) {
        kernels::logsumexp_backward<T>(threads, dx.rows(), dx.last(), in.in(), saved.data(), gy.data(), rows_out(dx));
      });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// exp(x) / sum exp(x), the maximum taken out first; a row of -inf alone is 0. torch.softmax(x, -1).
template <Real T, int Rank>
Tensor<T, Rank> softmax(const Tensor<T, Rank>& x) {
  return Tensor<T, Rank>(any::softmax(any::SoftmaxKind::plain, x.any()));
}
// x - log sum exp(x). torch.log_softmax(x, -1).
template <Real T, int Rank>
Tensor<T, Rank> log_softmax(const Tensor<T, Rank>& x) {
  return Tensor<T, Rank>(any::softmax(any::SoftmaxKind::log, x.any()));
}
// log sum exp(x) over the last axis, which stays with extent 1. torch.logsumexp(x, -1, keepdim=True).
template <Real T, int Rank>
Tensor<T, Rank> logsumexp(const Tensor<T, Rank>& x) {
  return Tensor<T, Rank>(any::logsumexp(x.any()));
}

}  // namespace aulos::inline AULOS_ISA
