// Modulation of tokens by a conditioning vector, and gated residuals.
#pragma once

#include <cstring>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/modulate.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

// Tokens [.., N, C] as rows with one stride.
template <Real T>
struct RowsOf {
  AnyTensor<T> tensor;  // x itself, or a dense copy where its rows have no common stride
  Index stride = 0;

  kernels::Rows<const T> in() const { return {tensor.data(), stride}; }
};

template <Real T>
RowsOf<T> rows_of(const Op& op, const AnyTensor<T>& x) {
  Index stride = 0;
  if (x.dims().uniform_rows(stride)) return {x, stride};
  return {op.dense(x), x.last()};
}

// The rows of a dense tensor, to read or to write; none where it is absent.
template <Real T>
kernels::Rows<const T> dense_rows(const AnyTensor<T>& x) {
  if (x.empty()) return {};
  return {x.data(), x.last()};
}
template <Real T>
kernels::Rows<T> rows_out(const AnyTensor<T>& y) {
  if (y.empty()) return {};
  return {y.mutable_data(), y.last()};
}

// A modulation part seen from the tokens: which of its rows belongs to token row r.
template <Real T>
struct ModulationPart {
  AnyTensor<T> tensor;  // empty: absent
  Index stride = 0;
  Index rows_per_row = 1;

  kernels::SharedRows<const T> rows() const {
    if (tensor.empty()) return {};
    return {tensor.data(), stride, rows_per_row};
  }
  // The same rows of a dense gradient.
  kernels::SharedRows<T> gradient(const AnyTensor<T>& of) const {
    if (of.empty()) return {};
    return {of.mutable_data(), of.last(), rows_per_row};
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
    return concat_text({name, " ", part.dims(), " for x ", x, ", expected a row per sample or one per token"});
  });
  const RowsOf<T> rows = rows_of(op, part);
  return {rows.tensor, rows.stride, per_token ? 1 : tokens};
}

// A fresh tensor for a gradient that somebody asks for, else an empty one.
template <Real T>
AnyTensor<T> wanted(Context& context, const Ghost<T>& of) {
  return of ? context.empty_any<T>(of.dims) : AnyTensor<T>{};
}

// The gradient of a modulation part: where there are no tokens, no kernel writes it.
template <Real T>
AnyTensor<T> wanted_part(Context& context, const Ghost<T>& of, Index rows) {
  AnyTensor<T> gradient = wanted(context, of);
  if (rows == 0 && !gradient.empty() && gradient.count() > 0) {
    context.run("zero_gradient", cost_per_element<T>(gradient.count(), 0, 1), [&](Threads) {
      std::memset(gradient.mutable_data(), 0, static_cast<std::size_t>(gradient.count()) * sizeof(T));
    });
  }
  return gradient;
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
    kernels::modulate<T>(threads, x.rows(), x.last(), in.in(), by_scale.rows(), by_shift.rows(), rows_out(y));
  });
  if (op.recording()) {
    op.record(y, [in, by_shift, by_scale, gx = op.ghost(x), gshift = op.ghost(shift), gscale = op.ghost(scale)](
                     GradTape& tape, AnyTensor<T> gy) {
      AnyTensor<T> dx = wanted(tape.context(), gx);
      AnyTensor<T> dshift = wanted_part(tape.context(), gshift, gy.rows());
      AnyTensor<T> dscale = wanted_part(tape.context(), gscale, gy.rows());
      tape.context().run("modulate_backward", cost_per_element<T>(gy.count(), 4, 3), [&](Threads threads) {
        kernels::modulate_backward<T>(threads, gy.rows(), gy.last(), in.in(), by_scale.rows(), dense_rows(gy),
                                      rows_out(dx), by_scale.gradient(dscale), by_shift.gradient(dshift));
      });
      tape.give(gx, std::move(dx));
      tape.give(gshift, std::move(dshift));
      tape.give(gscale, std::move(dscale));
    });
  }
  return op.result(std::move(y));
}

// y = residual + gate * f; an absent gate is 1.
template <Real T>
AnyTensor<T> gated_residual(AnyTensor<T>&& residual, const AnyTensor<T>& gate, const AnyTensor<T>& f) {
  Op op("gated_residual", arg("residual", residual), optional_arg("gate", gate), arg("f", f));
  op.require(residual.dims().same_extents(f.dims()), [&] {
    return concat_text({"residual ", residual.dims(), " and f ", f.dims(), " differ"});
  });
  const ModulationPart<T> by = modulation_part(op, "gate", gate, f.dims());
  const RowsOf<T> in = rows_of(op, f);
  const Ghost<T> gresidual = op.ghost(residual);
  const bool in_place = residual.sole();
  const RowsOf<T> base = in_place ? RowsOf<T>{} : rows_of(op, residual);
  AnyTensor<T> y = op.reuse(std::move(residual));
  op.run(cost_per_element<T>(f.count(), 2, 3), [&](Threads threads) {
    const kernels::Rows<T> out = rows_out(y);
    kernels::gated_residual<T>(threads, f.rows(), f.last(), in_place ? kernels::Rows<const T>(out) : base.in(),
                               by.rows(), in.in(), out);
  });
  if (op.recording()) {
    op.record(y, [in, by, gresidual, ggate = op.ghost(gate), gf = op.ghost(f)](GradTape& tape, AnyTensor<T> gy) {
      if (by.tensor.empty()) {
        tape.give(gf, gy);
      } else if (gf || ggate) {
        AnyTensor<T> df = wanted(tape.context(), gf);
        AnyTensor<T> dgate = wanted_part(tape.context(), ggate, gy.rows());
        tape.context().run("gated_residual_backward", cost_per_element<T>(gy.count(), 3, 3), [&](Threads threads) {
          kernels::gated_residual_backward<T>(threads, gy.rows(), gy.last(), by.rows(), in.in(), dense_rows(gy),
                                              rows_out(df), by.gradient(dgate));
        });
        tape.give(gf, std::move(df));
        tape.give(ggate, std::move(dgate));
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
