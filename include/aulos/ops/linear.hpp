// The linear map, alone or fused with what follows it.
#pragma once

#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/gemm.hpp"
#include "aulos/kernels/matmul.hpp"
#include "aulos/kernels/reduce.hpp"
#include "aulos/ops/activation.hpp"
#include "aulos/ops/modulate.hpp"
#include "aulos/ops/op.hpp"
#include "aulos/ops/weight.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

template <Real T>
const T* data_of(const AnyTensor<T>& x) {
  return x.empty() ? nullptr : x.data();
}

template <Real T>
Cost linear_cost(Index rows, const Weight<T>& w, Numeric mode, double outputs = 1) {
  const double m = static_cast<double>(rows);
  const double n = static_cast<double>(w.out());
  const double k = static_cast<double>(w.in());
  return {.flops = 2 * m * n * k,
          .bytes = static_cast<double>(sizeof(T)) * (m * k + outputs * m * n) + static_cast<double>(w.bytes()),
          .scratch = kernels::gemm_scratch<T>({rows, w.out(), w.in()}, w.view(), mode)};
}

template <Real T>
void check_linear(const Op& op, const AnyTensor<T>& x, const Weight<T>& w, const AnyTensor<T>& bias) {
  op.require(!w.empty(), [] { return "weight is absent"; });
  op.require(x.last() == w.in(), [&] {
    return concat_text({"x ", x.dims(), " has ", x.last(), " channels, the weight ", w.shape(), " takes ", w.in()});
  });
  op.require(bias.empty() || (bias.rank() == 1 && bias.last() == w.out()), [&] {
    return concat_text({"bias ", bias.dims(), " of a weight ", w.shape(), ", expected [", w.out(), "]"});
  });
}

inline kernels::Update update_of(GradientSum sum) noexcept {
  return sum == GradientSum::fresh ? kernels::Update::assign : kernels::Update::add;
}

template <Real T>
void linear_backward(GradTape& tape, const AnyTensor<T>& x, const AnyTensor<T>& rows, const Ghost<T>& gx,
                     const Ghost<T>& gw, const Ghost<T>& gb, const AnyTensor<T>& gy) {
  Context& context = tape.context();
  const Index m = gy.rows();
  const Index n = gy.last();
  const Index k = rows.last();
  const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  const double bytes = static_cast<double>(sizeof(T)) * static_cast<double>(m * n + m * k + n * k);
  using View = kernels::MatrixView<const T>;
  const auto dy = [&] { return View{gy.data(), m, n, n, 1}; };
  if (gx) {
    const auto run = [&](AnyTensor<T>& dx, Index stride, kernels::Update update) {
      context.run("linear_backward", {flops, bytes, kernels::matmul_scratch<T>({m, k, n})}, [&](Threads threads) {
        kernels::matmul<T>(threads, dy(), View{rows.data(), n, k, k, 1}, dx.mutable_data(), stride, update);
      });
    };
    Index stride = 0;
    if (gx.dims.uniform_rows(stride) && (m == 1 || stride >= k)) {
      GradientPlace<T> dx = tape.place(gx);
      run(dx.tensor, stride, update_of(dx.sum));
    } else {
      AnyTensor<T> dx = context.empty_any<T>(gx.dims);
      run(dx, k, kernels::Update::assign);
      tape.give(gx, std::move(dx));
    }
  }
  if (gw) {
    Op op("linear_backward", arg("x", x));
    const RowsOf<T> in = rows_of(op, x);
    GradientPlace<T> dw = tape.place(gw);
    context.run("linear_backward", {flops, bytes, kernels::matmul_scratch<T>({n, k, m})}, [&](Threads threads) {
      kernels::matmul<T>(threads, dy().transposed(), View{in.tensor.data(), m, k, in.stride, 1},
                         dw.tensor.mutable_data(), k, update_of(dw.sum));
    });
  }
  if (gb) {
    AnyTensor<T> db = tape.into(gb);
    context.run("linear_backward", cost_per_element<T>(gy.count(), 1, 1), [&](Threads threads) {
      kernels::column_sum_add<T>(threads, gy.data(), n, nullptr, 0, m, n, db.mutable_data());
    });
  }
}

// y = x W^T + bias with the activation applied to it, in one pass unless a gradient is asked for.
template <Real T>
AnyTensor<T> linear(const AnyTensor<T>& x, const Weight<T>& w, const AnyTensor<T>& bias, Activation activation) {
  const AnyTensor<T> rows = w.rows().any();
  Op op("linear", arg("x", x), optional_arg("weight", rows), optional_arg("bias", bias));
  check_linear(op, x, w, bias);
  const bool separate = op.recording() && activation != Activation::identity;
  const RowsOf<T> in = rows_of(op, x);
  const Index m = x.rows();
  AnyTensor<T> y = op.empty<T>(x.dims().with_last(w.out()));
  const Numeric mode = op.context().numeric();
  op.run(linear_cost(m, w, mode), [&](Threads threads) {
    kernels::BiasActivation<T> epilogue{data_of(bias)};
    if (!separate && activation != Activation::identity) epilogue.activation = activation_row<T>(activation).value;
    kernels::gemm<T>(threads, in.tensor.data(), in.stride, w.view(), epilogue, y.mutable_data(), w.out(),
                     {m, w.out(), w.in()}, mode);
  });
  if (op.recording()) {
    op.require(!w.packed(), [] { return "a packed weight has no gradient; call unpack() before training"; });
    op.record(y, [x, rows, gx = op.ghost(x), gw = op.ghost(rows), gb = op.ghost(bias)](
                     GradTape& tape, AnyTensor<T> gy) { linear_backward(tape, x, rows, gx, gw, gb, gy); });
  }
  y = op.result(std::move(y));
  return separate ? any::apply(std::move(y), activation) : y;
}

// y = residual + gate * (x W^T + bias), in one pass unless a gradient is asked for. gate [B, C] or [B, 1, C] holds a
// row per sample, [B, N, C] one per token; empty means 1.
template <Real T>
AnyTensor<T> linear_residual(const AnyTensor<T>& x, const Weight<T>& w, const AnyTensor<T>& bias,
                             const AnyTensor<T>& gate, AnyTensor<T>&& residual) {
  const AnyTensor<T> rows = w.rows().any();
  Op op("linear_residual", arg("x", x), optional_arg("weight", rows), optional_arg("bias", bias),
        optional_arg("gate", gate), arg("residual", residual));
  check_linear(op, x, w, bias);
  op.require(residual.dims().same_extents(x.dims().with_last(w.out())), [&] {
    return concat_text({"residual ", residual.dims(), ", expected ", x.dims().with_last(w.out())});
  });
  if (op.recording()) return gated_residual(std::move(residual), gate, linear(x, w, bias, Activation::identity));
  const ModulationPart<T> by = modulation_part(op, "gate", gate, residual.dims());
  const RowsOf<T> in = rows_of(op, x);
  const Index m = x.rows();
  const RowsOf<T> base = residual.sole() ? RowsOf<T>{{}, w.out()} : rows_of(op, residual);
  AnyTensor<T> y = op.reuse(std::move(residual));
  const Numeric mode = op.context().numeric();
  op.run(linear_cost(m, w, mode, 2), [&](Threads threads) {
    const T* from = base.tensor.empty() ? y.data() : base.tensor.data();
    const kernels::GatedResidual<T> epilogue{data_of(bias),      from,      base.stride,
                                             data_of(by.tensor), by.stride, by.rows_per_row};
    kernels::gemm<T>(threads, in.tensor.data(), in.stride, w.view(), epilogue, y.mutable_data(), w.out(),
                     {m, w.out(), w.in()}, mode);
  });
  return op.result(std::move(y));
}

}  // namespace any

// y = activation(x W^T + bias): [.., in] -> [.., out]. bias may be absent. torch.nn.functional.linear.
template <Real T, int Rank>
Tensor<T, Rank> linear(const Tensor<T, Rank>& x, const Weight<T>& weight, const Arg<Tensor<T, 1>>& bias = {},
                       Activation activation = Activation::identity) {
  return Tensor<T, Rank>(any::linear(x.any(), weight, bias.any(), activation));
}

// y = residual + gate * (x W^T + bias): the end of a transformer sublayer. `residual` is overwritten where nobody else
// holds it. gate: [B, C] per sample or, of the rank of x, [B, 1, C] or [B, N, C]; empty: no gate.
template <Real T, int Rank, int GateRank>
Tensor<T, Rank> linear_residual(const Tensor<T, Rank>& x, const Weight<T>& weight, const Arg<Tensor<T, 1>>& bias,
                                const Tensor<T, GateRank>& gate, Arg<Tensor<T, Rank>>&& residual) {
  return Tensor<T, Rank>(any::linear_residual(x.any(), weight, bias.any(), gate.any(), std::move(residual).any()));
}

}  // namespace aulos::inline AULOS_ISA
