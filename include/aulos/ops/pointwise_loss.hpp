// Losses between predictions and targets, element by element.
#pragma once

#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/pointwise_loss.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

// sum f(x, target) / divisor -> [1], with gradients of both.
template <Real T, class F>
AnyTensor<T> pointwise_loss(const char* name, const AnyTensor<T>& x, const AnyTensor<T>& target, const F& f,
                            double divisor) {
  Op op(name, arg("x", x), arg("target", target));
  op.require(x.dims().same_extents(target.dims()), [&] {  // repeating one of them is hardly ever meant
    return concat_text({"x ", x.dims(), " and target ", target.dims(), " differ"});
  });
  const AnyTensor<T> from = op.dense(x), at = op.dense(target);
  AnyTensor<T> y = op.empty<T>(dense_dims({1}));
  {
    const AnyTensor<double> partial =
        op.context().template empty_any<double>(dense_dims({kernels::loss_chunks(x.count())}));
    op.run(cost_per_element<T>(x.count(), 4, 2), [&](Threads threads) {
      const double sum =
          kernels::pointwise_loss<T>(threads, f, from.count(), from.data(), at.data(), partial.mutable_data());
      *y.mutable_data() = static_cast<T>(sum / divisor);
    });
  }
  if (op.recording()) {
    op.record(y, [from, at, f, divisor, gx = op.ghost(x), gt = op.ghost(target)](GradTape& tape, AnyTensor<T> gy) {
      Context& context = tape.context();
      AnyTensor<T> dx = gx ? context.empty_any<T>(from.dims()) : AnyTensor<T>{};
      AnyTensor<T> dt = gt ? context.empty_any<T>(at.dims()) : AnyTensor<T>{};
      context.run("pointwise_loss_backward", cost_per_element<T>(from.count(), 4, 3), [&](Threads threads) {
        const auto out = [](const AnyTensor<T>& t) { return t.empty() ? nullptr : t.mutable_data(); };
        const T weight = static_cast<T>(static_cast<double>(*gy.data()) / divisor);
        kernels::pointwise_loss_backward<T>(threads, f, from.count(), from.data(), at.data(), weight, out(dx), out(dt));
      });
      tape.give(gx, std::move(dx));
      tape.give(gt, std::move(dt));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// mean |x - target| -> [1]. torch.nn.functional.l1_loss. Of all losses here both arguments have gradients.
template <Real T, int Rank>
Tensor<T, 1> l1_loss(const Tensor<T, Rank>& x, const Arg<Tensor<T, Rank>>& target) {
  return Tensor<T, 1>(any::pointwise_loss<T>("l1_loss", x.any(), target.any(), kernels::AbsoluteError<T>{},
                                             static_cast<double>(x.count())));
}

// The mean of d^2 / (2 beta) where |d| = |x - target| < beta, else |d| - beta / 2; beta > 0.
// torch.nn.functional.smooth_l1_loss.
template <Real T, int Rank>
Tensor<T, 1> smooth_l1_loss(const Tensor<T, Rank>& x, const Arg<Tensor<T, Rank>>& target, double beta = 1) {
  if (!(beta > 0)) throw ConfigError("smooth_l1_loss: beta " + std::to_string(beta) + ", expected more than 0");
  const kernels::HuberError<T> f{static_cast<T>(beta), static_cast<T>(1 / beta)};
  return Tensor<T, 1>(
      any::pointwise_loss<T>("smooth_l1_loss", x.any(), target.any(), f, static_cast<double>(x.count())));
}

// The mean of d^2 / 2 where |d| = |x - target| <= delta, else delta (|d| - delta / 2). torch.nn.functional.huber_loss.
template <Real T, int Rank>
Tensor<T, 1> huber_loss(const Tensor<T, Rank>& x, const Arg<Tensor<T, Rank>>& target, double delta = 1) {
  if (!(delta > 0)) throw ConfigError("huber_loss: delta " + std::to_string(delta) + ", expected more than 0");
  const kernels::HuberError<T> f{static_cast<T>(delta), T(1)};
  return Tensor<T, 1>(any::pointwise_loss<T>("huber_loss", x.any(), target.any(), f, static_cast<double>(x.count())));
}

// The mean of -t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)) of logits x and targets t in [0, 1].
// torch.nn.functional.binary_cross_entropy_with_logits.
template <Real T, int Rank>
Tensor<T, 1> bce_with_logits(const Tensor<T, Rank>& logits, const Arg<Tensor<T, Rank>>& target) {
  return Tensor<T, 1>(any::pointwise_loss<T>("bce_with_logits", logits.any(), target.any(),
                                             kernels::BinaryCrossEntropy<T>{}, static_cast<double>(logits.count())));
}

// KL(target || p) summed over all and divided by the extent of the first axis: log_p log-probabilities, target
// probabilities; 0 log 0 is 0. torch.nn.functional.kl_div(reduction="batchmean").
template <Real T, int Rank>
Tensor<T, 1> kl_div(const Tensor<T, Rank>& log_p, const Arg<Tensor<T, Rank>>& target) {
  const double batch = log_p.empty() ? 1 : static_cast<double>(log_p.extent(0));
  return Tensor<T, 1>(any::pointwise_loss<T>("kl_div", log_p.any(), target.any(), kernels::KlTerm<T>{}, batch));
}

}  // namespace aulos::inline AULOS_ISA
