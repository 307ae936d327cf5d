// The variational bound of diffusion with learned variances.
#pragma once

#include <cstdint>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/variational_bound.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

template <Real T>
AnyTensor<T> variational_bound(const AnyTensor<T>& x0, const AnyTensor<T>& posterior_mean,
                               const AnyTensor<T>& posterior_log_variance, const AnyTensor<std::uint8_t>& first_step,
                               const AnyTensor<T>& mean, const AnyTensor<T>& log_variance) {
  Op op("variational_bound", arg("x0", x0), arg("posterior_mean", posterior_mean),
        arg("posterior_log_variance", posterior_log_variance), arg("first_step", first_step), arg("mean", mean),
        arg("log_variance", log_variance));
  const auto like_x0 = [&](const char* name, const AnyTensor<T>& x) {
    op.require(x.dims().same_extents(x0.dims()), [&] {
      return std::string(name) + " " + to_string(x.dims()) + " for x0 " + to_string(x0.dims()) + ", expected the same";
    });
  };
  like_x0("posterior_mean", posterior_mean);
  like_x0("mean", mean);
  like_x0("log_variance", log_variance);
  const Index samples = x0.extent(0);
  op.require(posterior_log_variance.count() == samples && first_step.count() == samples, [&] {
    return "posterior_log_variance " + to_string(posterior_log_variance.dims()) + " and first_step " +
           to_string(first_step.dims()) + ", expected [" + std::to_string(samples) + "]";
  });
  const AnyTensor<T> a = op.dense(x0);
  const AnyTensor<T> b = op.dense(posterior_mean);
  const AnyTensor<T> c = op.dense(mean);
  const AnyTensor<T> d = op.dense(log_variance);
  const AnyTensor<T> l = op.dense(posterior_log_variance);
  const AnyTensor<std::uint8_t> first = op.dense(first_step);
  const Index each = samples == 0 ? 0 : x0.count() / samples;
  const auto operands = [=] {
    return kernels::VariationalBoundOperands<T>{a.data(), b.data(), c.data(), d.data(), l.data(), first.data()};
  };
  AnyTensor<T> y = op.like(a);
  op.run(cost_per_element<T>(y.count(), 60, 5),
         [&](Threads threads) { kernels::variational_bound<T>(threads, operands(), samples, each, y.mutable_data()); });
  if (op.recording()) {
    op.record(y, [operands, samples, each, gx = op.ghost(log_variance)](GradTape& tape, AnyTensor<T> gy) {
      if (!gx) return;
      AnyTensor<T> dx = tape.context().template empty_any<T>(gy.dims());
      tape.context().run("variational_bound_backward", cost_per_element<T>(gy.count(), 60, 6), [&](Threads threads) {
        kernels::variational_bound_backward<T>(threads, operands(), samples, each, gy.data(), dx.mutable_data());
      });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// Per element in nats: KL(N(posterior_mean, exp(posterior_log_variance)) || N(mean, exp(log_variance))) or, for samples
// at their first step, -log of the mass around x0. All of x0's shape [B, ..] but posterior_log_variance and first_step
// (0 or 1), [B]. Only log_variance has a gradient: the mean is trained by another loss.
template <Real T, int Rank>
Tensor<T, Rank> variational_bound(const Tensor<T, Rank>& x0, const Arg<Tensor<T, Rank>>& posterior_mean,
                                  const Tensor<T, 1>& posterior_log_variance, const Tensor<std::uint8_t, 1>& first_step,
                                  const Arg<Tensor<T, Rank>>& mean, const Arg<Tensor<T, Rank>>& log_variance) {
  return Tensor<T, Rank>(any::variational_bound(x0.any(), posterior_mean.any(), posterior_log_variance.any(),
                                                first_step.any(), mean.any(), log_variance.any()));
}

}  // namespace aulos::inline AULOS_ISA
