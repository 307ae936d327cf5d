// Norms of channels that stand in front of positions [B, C, ..]: group norm, and batch norm with given statistics.
#pragma once

#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/group_norm.hpp"
#include "aulos/ops/modulate.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

// Statistics of x's groups, or (running_mean given) of every channel.
template <Real T>
AnyTensor<T> channel_norm(const AnyTensor<T>& x, Index groups, const AnyTensor<T>& weight, const AnyTensor<T>& bias,
                          const AnyTensor<T>& running_mean, const AnyTensor<T>& running_variance, double eps) {
  const bool batch = !running_mean.empty();
  Op op(batch ? "batch_norm" : "group_norm", arg("x", x), optional_arg("weight", weight), optional_arg("bias", bias),
        optional_arg("mean", running_mean), optional_arg("variance", running_variance));
  op.require(x.rank() >= 2, [&] { return concat_text({"x ", x.dims(), ", expected [B, C, ..]"}); });
  const Index channels = x.extent(1);
  op.require(groups >= 1 && channels % groups == 0, [&] {
    return concat_text({groups, " groups of the channels of x ", x.dims()});
  });
  const auto check = [&](const char* what, const AnyTensor<T>& p, bool needed) {
    op.require((p.empty() && !needed) || (!p.empty() && p.rank() == 1 && p.last() == channels), [&] {
      return concat_text({what, " ", p.dims(), " for x ", x.dims(), ", expected [", channels, "]"});
    });
  };
  check("weight", weight, false);
  check("bias", bias, false);
  check("mean", running_mean, batch);
  check("variance", running_variance, batch);
  const AnyTensor<T> in = op.dense(x);
  AnyTensor<T> y = op.like(x);
  Index positions = 1;
  for (int axis = 2; axis < x.rank(); ++axis) positions *= x.extent(axis);
  const kernels::GroupNormShape shape{x.extent(0), channels, positions, groups, eps};
  static_assert(sizeof(kernels::RowMoments) == 2 * sizeof(double));
  const AnyTensor<double> moments =
      op.context().template empty_any<double>(dense_dims({batch ? channels : shape.batch * groups, Index{2}}));
  const auto by_channel = [moments, channels, members = batch ? 0 : channels / groups] {
    return kernels::ChannelMoments{reinterpret_cast<const kernels::RowMoments*>(moments.data()), channels, members};
  };
  const auto pointer = [](const AnyTensor<T>& t) -> const T* { return t.empty() ? nullptr : t.data(); };
  {
    const AnyTensor<double> workspace = op.context().template empty_any<double>(
        dense_dims({batch ? 0 : kernels::group_moments_workspace(shape) / static_cast<Index>(sizeof(double))}));
    op.run(cost_per_element<T>(x.count(), 8, batch ? 2 : 3), [&](Threads threads) {
      auto* const to = reinterpret_cast<kernels::RowMoments*>(moments.mutable_data());
      if (batch)
        kernels::batch_moments<T>(channels, running_mean.data(), running_variance.data(), eps, to);
      else
        kernels::group_moments<T>(threads, shape, in.data(), workspace.mutable_data(), to);
      kernels::normalise_channels<T>(threads, shape, by_channel(), in.data(), pointer(weight), pointer(bias),
                                     y.mutable_data());
    });
  }
  if (op.recording()) {
    op.record(y, [in, weight, shape, by_channel, pointer, batch, gx = op.ghost(x), gweight = op.ghost(weight),
                  gbias = op.ghost(bias)](GradTape& tape, AnyTensor<T> gy) {
      Context& context = tape.context();
      AnyTensor<T> dx = wanted(context, gx);
      AnyTensor<T> dweight = wanted(context, gweight);
      AnyTensor<T> dbias = wanted(context, gbias);
      static_assert(sizeof(kernels::ChannelSums) == 2 * sizeof(double));
      const AnyTensor<double> sums = context.empty_any<double>(dense_dims({shape.rows(), Index{2}}));
      const AnyTensor<double> means = context.empty_any<double>(dense_dims({shape.batch * shape.groups, Index{2}}));
      context.run(batch ? "batch_norm_backward" : "group_norm_backward", cost_per_element<T>(gy.count(), 16, 5),
                  [&](Threads threads) {
                    const auto out = [](const AnyTensor<T>& t) { return t.empty() ? nullptr : t.mutable_data(); };
                    auto* const s = reinterpret_cast<kernels::ChannelSums*>(sums.mutable_data());
                    auto* const m = reinterpret_cast<kernels::ChannelSums*>(means.mutable_data());
                    kernels::channel_sums<T>(threads, shape, by_channel(), in.data(), gy.data(), s, out(dweight),
                                             out(dbias));
                    if (!dx.empty())
                      kernels::normalise_channels_backward<T>(threads, shape, by_channel(), in.data(), pointer(weight),
                                                              gy.data(), s, m, dx.mutable_data());
                  });
      tape.give(gx, std::move(dx));
      tape.give(gweight, std::move(dweight));
      tape.give(gbias, std::move(dbias));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// (x - mean) / sqrt(var + eps) * weight + bias with mean and biased variance, in double, over each group of C / groups
// channels and all positions: x [B, C, ..], weight and bias [C] or empty. One group: global layer norm; C groups:
// instance norm. torch.nn.functional.group_norm.
template <Real T, int Rank>
Tensor<T, Rank> group_norm(const Tensor<T, Rank>& x, Index groups, const Arg<Tensor<T, 1>>& weight,
                           const Arg<Tensor<T, 1>>& bias, double eps) {
  static_assert(Rank >= 2, "group norm takes [B, C, ..]");
  return Tensor<T, Rank>(any::channel_norm<T>(x.any(), groups, weight.any(), bias.any(), {}, {}, eps));
}

// The same with given statistics [C], which have no gradient. torch.nn.functional.batch_norm(training=False).
template <Real T, int Rank>
Tensor<T, Rank> batch_norm(const Tensor<T, Rank>& x, const Arg<Tensor<T, 1>>& mean, const Arg<Tensor<T, 1>>& variance,
                           const Arg<Tensor<T, 1>>& weight, const Arg<Tensor<T, 1>>& bias, double eps) {
  static_assert(Rank >= 2, "batch norm takes [B, C, ..]");
  return Tensor<T, Rank>(any::channel_norm<T>(x.any(), 1, weight.any(), bias.any(), mean.any(), variance.any(), eps));
}

}  // namespace aulos::inline AULOS_ISA
