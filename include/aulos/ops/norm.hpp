// Layer norm and RMS norm over the last axis, alone or with the modulation that follows them.
#pragma once

#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/norm.hpp"
#include "aulos/ops/modulate.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

enum class NormKind { layer, rms };

template <Real T>
AnyTensor<T> norm(NormKind kind, const AnyTensor<T>& x, const AnyTensor<T>& weight, const AnyTensor<T>& bias,
                  const AnyTensor<T>& shift, const AnyTensor<T>& scale, double eps) {
  Op op(kind == NormKind::layer ? "layer_norm" : "rms_norm", arg("x", x), optional_arg("weight", weight),
        optional_arg("bias", bias), optional_arg("shift", shift), optional_arg("scale", scale));
  const auto check = [&](const char* what, const AnyTensor<T>& p) {
    op.require(p.empty() || (p.rank() == 1 && p.last() == x.last()), [&] {
      return concat_text({what, " ", p.dims(), " for x ", x.dims(), ", expected [", x.last(), "]"});
    });
  };
  check("weight", weight);
  check("bias", bias);
  const ModulationPart<T> by_shift = modulation_part(op, "shift", shift, x.dims());
  const ModulationPart<T> by_scale = modulation_part(op, "scale", scale, x.dims());
  const RowsOf<T> in = rows_of(op, x);
  AnyTensor<T> y = op.like(x);
  const auto operands = [=] {
    return kernels::NormOperands<T>{in.in(), weight.empty() ? nullptr : weight.data(),
                                    bias.empty() ? nullptr : bias.data(), by_scale.rows(), by_shift.rows()};
  };
  const kernels::NormShape shape{x.rows(), x.last(), eps};
  op.run(cost_per_element<T>(x.count(), 8, 2), [&](Threads threads) {
    kind == NormKind::layer ? kernels::layer_norm<T>(threads, shape, operands(), rows_out(y))
                            : kernels::rms_norm<T>(threads, shape, operands(), rows_out(y));
  });
  if (op.recording()) {
    op.record(y, [kind, shape, operands, by_shift, by_scale, gx = op.ghost(x), gweight = op.ghost(weight),
                  gbias = op.ghost(bias), gshift = op.ghost(shift),
                  gscale = op.ghost(scale)](GradTape& tape, AnyTensor<T> gy) {
      Context& context = tape.context();
      AnyTensor<T> dx = wanted(context, gx);
      AnyTensor<T> dweight = wanted_part(context, gweight, shape.rows);
      AnyTensor<T> dbias = wanted_part(context, gbias, shape.rows);
      AnyTensor<T> dshift = wanted_part(context, gshift, shape.rows);
      AnyTensor<T> dscale = wanted_part(context, gscale, shape.rows);
      static_assert(sizeof(kernels::RowMoments) == 2 * sizeof(double));
      const AnyTensor<double> moments = context.empty_any<double>(dense_dims({2 * shape.rows}));
      context.run("norm_backward", cost_per_element<T>(gy.count(), 16, 3), [&](Threads threads) {
        const auto pointer = [](const AnyTensor<T>& t) { return t.empty() ? nullptr : t.mutable_data(); };
        const kernels::NormGradients<T> to{
            dense_rows(gy),           rows_out(dx), pointer(dweight), pointer(dbias), by_scale.gradient(dscale),
            by_shift.gradient(dshift)};
        auto* workspace = reinterpret_cast<kernels::RowMoments*>(moments.mutable_data());
        kind == NormKind::layer ? kernels::layer_norm_backward<T>(threads, shape, operands(), to, workspace)
                                : kernels::rms_norm_backward<T>(threads, shape, operands(), to, workspace);
      });
      tape.give(gx, std::move(dx));
      tape.give(gweight, std::move(dweight));
      tape.give(gbias, std::move(dbias));
      tape.give(gshift, std::move(dshift));
      tape.give(gscale, std::move(dscale));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// (x - mean) / sqrt(var + eps) * weight + bias, biased variance, moments in double. weight and bias [C] or empty.
// torch.nn.functional.layer_norm.
template <Real T, int Rank>
Tensor<T, Rank> layer_norm(const Tensor<T, Rank>& x, const Arg<Tensor<T, 1>>& weight, const Arg<Tensor<T, 1>>& bias,
                           double eps) {
  return Tensor<T, Rank>(any::norm<T>(any::NormKind::layer, x.any(), weight.any(), bias.any(), {}, {}, eps));
}

// x / sqrt(mean(x^2) + eps) * weight. torch.nn.functional.rms_norm.
template <Real T, int Rank>
Tensor<T, Rank> rms_norm(const Tensor<T, Rank>& x, const Arg<Tensor<T, 1>>& weight, double eps) {
  return Tensor<T, Rank>(any::norm<T>(any::NormKind::rms, x.any(), weight.any(), {}, {}, {}, eps));
}

// modulate(layer_norm(x), shift, scale) in one pass; shift and scale as in `modulate`.
template <Real T, int Rank, int PartRank>
Tensor<T, Rank> modulated_layer_norm(const Tensor<T, Rank>& x, const Arg<Tensor<T, 1>>& weight,
                                     const Arg<Tensor<T, 1>>& bias, const Tensor<T, PartRank>& shift,
                                     const Arg<Tensor<T, PartRank>>& scale, double eps) {
  return Tensor<T, Rank>(
      any::norm<T>(any::NormKind::layer, x.any(), weight.any(), bias.any(), shift.any(), scale.any(), eps));
}

// modulate(rms_norm(x), shift, scale) in one pass.
template <Real T, int Rank, int PartRank>
Tensor<T, Rank> modulated_rms_norm(const Tensor<T, Rank>& x, const Arg<Tensor<T, 1>>& weight,
                                   const Tensor<T, PartRank>& shift, const Arg<Tensor<T, PartRank>>& scale,
                                   double eps) {
  return Tensor<T, Rank>(any::norm<T>(any::NormKind::rms, x.any(), weight.any(), {}, shift.any(), scale.any(), eps));
}

}  // namespace aulos::inline AULOS_ISA
