// Modulation of tokens by a conditioning vector, and gated residuals.
#pragma once

#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/modulate.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

// Tokens [.., N, C] as rows with one stride.
template <Real T>
struct RowsOf {
  AnyTensor<T> tensor;  // x itself, or a dense copy where its rows have no common stride
  Index stride = 0;

  kernels::Rows<const T> in() const { return {tensor.data(), tensor.rows(), tensor.last(), stride}; }
};

template <Real T>
RowsOf<T> rows_of(const Op& op, const AnyTensor<T>& x) {
  Index stride = 0;
  if (x.dims().uniform_rows(stride)) return {x, stride};
  return {op.dense(x), x.last()};
}

template <Real T>
kernels::Rows<T> rows_out(const AnyTensor<T>& y) {
  return {y.mutable_data(), y.rows(), y.last(), y.last()};
}

// A modulation part seen from the tokens: which of its rows belongs to token row r.
template <Real T>
struct ModulationPart {
  AnyTensor<T> tensor;  // empty: absent
  Index stride = 0;
  Index rows_per_row = 1;

  kernels::ModulationRows<T> rows() const {
    if (tensor.empty()) return {};
    return {tensor.data(), stride, rows_per_row};
  }
};

// `part` is [B, C], or of the rank of x with every axis that of x or, but for the first and last, 1 throughout.
template <Real T>
ModulationPart<T> modulation_part(const Op& op, const char* name, const AnyTensor<T>& part, const Dims& x) {
  if (part.empty()) return {};
  const Index tokens = x.extent[0] == 0 ? 0 : x.rows() / x.extent[0];
  bool per_token = part.rank() == x.rank;
  bool per_sample = part.last() == x.last() && part.extent(0) == x.extent[0];
  for (int axis = 0; axis < part.rank(); ++axis) {
    per_token = per_token && part.extent(axis) == x.extent[axis];
    if (axis > 0 && axis + 1 < part.rank()) per_sample = per_sample && part.extent(axis) == 1;
  }
  op.require(per_token || (per_sample && (part.rank() == 2 || part.rank() == x.rank)), [&] {
    return std::string(name) + " " + to_string(part.dims()) + " for x " + to_string(x) +
           ", expected a row per sample or one per token";
  });
  const RowsOf<T> rows = rows_of(op, part);
  return {rows.tensor, rows.stride, per_token ? 1 : tokens};
}

// The gradient of a modulation part: the sum over its token rows of a (* b).
template <Real T>
void give_modulation(GradTape& tape, const Ghost<T>& part, Index rows_per_row, const AnyTensor<T>& a,
                     const AnyTensor<T>& b) {
  if (!part) return;
  AnyTensor<T> sum = tape.context().template empty_any<T>(part.dims);
  tape.context().run("modulate_backward", cost_per_element<T>(a.count(), 2, 2), [&](Threads threads) {
    const kernels::Rows<const T> second =
        b.empty() ? kernels::Rows<const T>{} : kernels::Rows<const T>{b.data(), b.rows(), b.last(), b.last()};
    kernels::grouped_column_sum<T>(threads, {a.data(), a.rows(), a.last(), a.last()}, second, rows_per_row,
                                   sum.mutable_data());
  });
  tape.give(part, std::move(sum));
}

// y = x (1 + scale) + shift; either part may be absent.
template <Real T>
AnyTensor<T> modulate(const AnyTensor<T>& x, const AnyTensor<T>& shift, const AnyTensor<T>& scale) {
  Op op("modulate", arg("x", x), optional_arg("shift", shift), optional_arg("scale", scale));
  const ModulationPart<T> by_shift = modulation_part(op, "shift", shift, x.dims());
  const ModulationPart<T> by_scale = modulation_part(op, "scale", scale, x.dims());
  const RowsOf<T> in = rows_of(op, x);
  AnyTensor<T> y = op.like(x);
  op.run(cost_per_element<T>(x.count(), 2, 2), [&](Threads threads) {
    kernels::modulate<T>(threads, in.in(), by_shift.rows(), by_scale.rows(), rows_out(y));
  });
  if (op.recording()) {
    op.record(y, [x = op.dense(x), by_shift, by_scale, gx = op.ghost(x), gshift = op.ghost(shift),
                  gscale = op.ghost(scale)](GradTape& tape, AnyTensor<T> gy) {
      give_modulation(tape, gshift, by_shift.rows_per_row, gy, {});
      give_modulation(tape, gscale, by_scale.rows_per_row, gy, x);
      if (gx) tape.give(gx, modulate(gy, {}, by_scale.tensor));
    });
  }
  return op.result(std::move(y));
}

// y = residual + gate * f; an absent gate is 1.
template <Real T>
AnyTensor<T> gated_residual(AnyTensor<T>&& residual, const AnyTensor<T>& gate, const AnyTensor<T>& f) {
  Op op("gated_residual", arg("residual", residual), optional_arg("gate", gate), arg("f", f));
  op.require(residual.dims().same_extents(f.dims()),
             [&] { return "residual " + to_string(residual.dims()) + " and f " + to_string(f.dims()) + " differ"; });
  const ModulationPart<T> by = modulation_part(op, "gate", gate, f.dims());
  const RowsOf<T> in = rows_of(op, f);
  const Ghost<T> gresidual = op.ghost(residual);
  const bool in_place = residual.sole();
  const RowsOf<T> base = in_place ? RowsOf<T>{} : rows_of(op, residual);
  AnyTensor<T> y = op.reuse(std::move(residual));
  op.run(cost_per_element<T>(f.count(), 2, 3), [&](Threads threads) {
    const kernels::Rows<T> out = rows_out(y);
    const kernels::Rows<const T> from =
        in_place ? kernels::Rows<const T>{out.data, out.rows, out.cols, out.stride} : base.in();
    kernels::gated_residual<T>(threads, from, by.rows(), in.in(), out);
  });
  if (op.recording()) {
    op.record(
        y, [f = op.dense(f), by, gresidual, ggate = op.ghost(gate), gf = op.ghost(f)](GradTape& tape, AnyTensor<T> gy) {
          give_modulation(tape, ggate, by.rows_per_row, gy, f);
          if (gf) {
            if (by.tensor.empty()) {
              tape.give(gf, gy);
            } else {
              AnyTensor<T> df = tape.context().template empty_any<T>(gy.dims());
              tape.context().run("modulate_backward", cost_per_element<T>(gy.count(), 1, 2), [&](Threads threads) {
                kernels::gated<T>(threads, {gy.data(), gy.rows(), gy.last(), gy.last()}, by.rows(), rows_out(df));
              });
              tape.give(gf, std::move(df));
            }
          }
          tape.give(gresidual, std::move(gy));
        });
  }
  return op.result(std::move(y));
}

}  // namespace any

// x (1 + scale) + shift. x [B, N, C] (or [B, .., C]); shift and scale [B, C], [B, 1, C] (a row per sample) or of x's
// shape (one per token), or empty.
template <Real T, int Rank, int PartRank>
Tensor<T, Rank> modulate(const Tensor<T, Rank>& x, const Tensor<T, PartRank>& shift,
                         const Arg<Tensor<T, PartRank>>& scale) {
  return Tensor<T, Rank>(any::modulate(x.any(), shift.any(), scale.any()));
}

// residual + gate * f; `residual` is overwritten where nobody else holds it. gate as shift above; empty: 1.
template <Real T, int Rank, int PartRank>
Tensor<T, Rank> gated_residual(Arg<Tensor<T, Rank>>&& residual, const Tensor<T, PartRank>& gate,
                               const Tensor<T, Rank>& f) {
  return Tensor<T, Rank>(any::gated_residual(std::move(residual).any(), gate.any(), f.any()));
}

}  // namespace aulos::inline AULOS_ISA
