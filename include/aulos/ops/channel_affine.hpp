// A factor and an offset for each channel of tokens, and the global layer norm, which ends with them.
#pragma once

#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/channel_affine.hpp"
#include "aulos/kernels/reduce.hpp"
#include "aulos/ops/group_norm.hpp"
#include "aulos/ops/modulate.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

template <Real T>
AnyTensor<T> channel_affine(AnyTensor<T>&& x, const AnyTensor<T>& weight, const AnyTensor<T>& bias) {
  Op op("channel_affine", arg("x", x), optional_arg("weight", weight), optional_arg("bias", bias));
  const auto check = [&](const char* what, const AnyTensor<T>& p) {
    op.require(p.empty() || (p.rank() == 1 && p.last() == x.last()), [&] {
      return std::string(what) + " " + to_string(p.dims()) + " for x " + to_string(x.dims()) + ", expected [" +
             std::to_string(x.last()) + "]";
    });
  };
  check("weight", weight);
  check("bias", bias);
  const Ghost<T> gx = op.ghost(x);
  const bool in_place = !op.recording() && x.sole();
  const RowsOf<T> in = in_place ? RowsOf<T>{} : rows_of(op, x);
  AnyTensor<T> y = in_place ? op.reuse(std::move(x)) : op.like(x);
  x = {};
  const auto pointer = [](const AnyTensor<T>& t) -> const T* { return t.empty() ? nullptr : t.data(); };
  op.run(cost_per_element<T>(y.count(), 2, 2), [&](Threads threads) {
    const kernels::Rows<T> out = rows_out(y);
    kernels::channel_affine<T>(threads, y.rows(), y.last(), in_place ? kernels::Rows<const T>(out) : in.in(),
                               pointer(weight), pointer(bias), out);
  });
  if (op.recording()) {
    op.record(y, [in, weight, pointer, gx, gweight = op.ghost(weight), gbias = op.ghost(bias)](GradTape& tape,
                                                                                               AnyTensor<T> gy) {
      Context& context = tape.context();
      const Index rows = gy.rows(), columns = gy.last();
      const auto sums = [&](const Ghost<T>& of, const T* factors, Index stride) {
        AnyTensor<T> to = tape.into(of);
        context.run("channel_affine_backward", cost_per_element<T>(gy.count(), 1, 2), [&](Threads threads) {
          kernels::column_sum_add<T>(threads, gy.data(), columns, factors, stride, rows, columns, to.mutable_data());
        });
      };
      if (gweight) sums(gweight, context.dry() ? nullptr : in.tensor.data(), in.stride);
      if (gbias) sums(gbias, nullptr, 0);
      if (!gx) return;
      AnyTensor<T> dx = context.empty_any<T>(gy.dims());
      context.run("channel_affine_backward", cost_per_element<T>(gy.count(), 1, 2), [&](Threads threads) {
        kernels::channel_affine<T>(threads, rows, columns, dense_rows(gy), pointer(weight), nullptr, rows_out(dx));
      });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// x weight + bias over the last axis; weight and bias [C] or empty. x is overwritten where nobody else holds it.
template <Real T, int Rank>
Tensor<T, Rank> channel_affine(Tensor<T, Rank> x, const Arg<Tensor<T, 1>>& weight, const Arg<Tensor<T, 1>>& bias) {
  return Tensor<T, Rank>(any::channel_affine(std::move(x).any(), weight.any(), bias.any()));
}

// (x - mean) / sqrt(var + eps) * weight + bias with mean and biased variance, in double, over all tokens and channels
// of a sample: x [B, .., C], weight and bias [C] or empty. The gLN of speech separation; torch.nn.GroupNorm(1, C) with
// the channels last.
template <Real T, int Rank>
Tensor<T, Rank> global_layer_norm(const Tensor<T, Rank>& x, const Arg<Tensor<T, 1>>& weight,
                                  const Arg<Tensor<T, 1>>& bias, double eps) {
  static_assert(Rank >= 2, "the global layer norm takes [B, .., C]");
  // A group of all channels looks at nothing else: tokens stand in the place of its channels.
  Tensor<T, Rank> y = group_norm(x, 1, {}, {}, eps);
  return channel_affine(std::move(y), weight, bias);
}

}  // namespace aulos::inline AULOS_ISA
