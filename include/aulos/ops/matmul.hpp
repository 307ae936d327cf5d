// Products of two tensors.
#pragma once

#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/matmul.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

// Which operand of a product is taken transposed (its last two axes exchanged, without copying).
enum class Transpose { none, a, b };

namespace any {

// The matrix that batch element i of x [.., rows, columns] is.
template <Real T>
kernels::MatrixView<const T> matrix_at(const AnyTensor<T>& x, Index i, bool transposed) {
  const int r = x.rank();
  Index offset = 0;
  for (int axis = r - 3; axis >= 0; --axis) {
    offset += i % x.extent(axis) * x.stride(axis);
    i /= x.extent(axis);
  }
  const kernels::MatrixView<const T> view{x.data() + offset, x.extent(r - 2), x.extent(r - 1), x.stride(r - 2),
                                          x.stride(r - 1)};
  return transposed ? view.transposed() : view;
}

template <Real T>
AnyTensor<T> matmul(const AnyTensor<T>& a, const AnyTensor<T>& b, Transpose transpose) {
  Op op("matmul", arg("a", a), arg("b", b));
  const int r = a.rank();
  const bool ta = transpose == Transpose::a;
  const bool tb = transpose == Transpose::b;
  bool same = r == b.rank();
  for (int axis = 0; same && axis < r - 2; ++axis) same = a.extent(axis) == b.extent(axis);
  const Index m = a.extent(ta ? r - 1 : r - 2);
  const Index k = a.extent(ta ? r - 2 : r - 1);
  const Index n = same ? b.extent(tb ? r - 2 : r - 1) : 0;
  op.require(same && b.extent(tb ? r - 1 : r - 2) == k, [&] {
    return "a " + to_string(a.dims()) + (ta ? " transposed" : "") + " and b " + to_string(b.dims()) +
           (tb ? " transposed" : "") + " do not fit";
  });
  Dims dims = a.dims();
  dims.extent[r - 2] = m;
  dims.extent[r - 1] = n;
  AnyTensor<T> y = op.empty<T>(dims);
  Index batch = 1;
  for (int axis = 0; axis < r - 2; ++axis) batch *= dims.extent[axis];
  const double flops = 2.0 * static_cast<double>(batch * m * n) * static_cast<double>(k);
  const double bytes = static_cast<double>(sizeof(T)) * static_cast<double>(batch * (m * k + k * n + m * n));
  op.run({flops, bytes, kernels::matmul_scratch<T>({m, n, k})}, [&](Threads threads) {
    kernels::batched_matmul<T>(
        threads, batch, {m, n, k},
        [&](Index i) {
          return kernels::MatmulOperands<T>{matrix_at(a, i, ta), matrix_at(b, i, tb), y.mutable_data() + i * m * n, n};
        },
        kernels::Update::assign);
  });
  if (op.recording()) {
    op.record(y, [a, b, transpose, ga = op.ghost(a), gb = op.ghost(b)](GradTape& tape, AnyTensor<T> gy) {
      if (ga) {
        tape.give(ga, transpose == Transpose::a   ? matmul(b, gy, Transpose::b)
                      : transpose == Transpose::b ? matmul(gy, b, Transpose::none)
                                                  : matmul(gy, b, Transpose::b));
      }
      if (gb) {
        tape.give(gb, transpose == Transpose::a   ? matmul(a, gy, Transpose::none)
                      : transpose == Transpose::b ? matmul(gy, a, Transpose::a)
                                                  : matmul(a, gy, Transpose::a));
      }
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// a b over the last two axes, leading axes equal: [.., M, K] [.., K, N] -> [.., M, N]. torch.matmul without
// broadcasting.
template <Real T, int Rank>
Tensor<T, Rank> matmul(const Tensor<T, Rank>& a, const Arg<Tensor<T, Rank>>& b, Transpose transpose = Transpose::none) {
  static_assert(Rank >= 2, "a product takes tensors of two axes or more");
  return Tensor<T, Rank>(any::matmul(a.any(), b.any(), transpose));
}

}  // namespace aulos::inline AULOS_ISA
