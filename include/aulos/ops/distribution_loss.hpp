// Losses between logits and distributions over the last axis; gradients reach both sides.
#pragma once

#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/pointwise_loss.hpp"
#include "aulos/ops/reduce.hpp"
#include "aulos/ops/softmax.hpp"

namespace aulos::inline AULOS_ISA {

// The mean over rows of -sum_c target log_softmax(logits): logits and target probabilities [.., C] -> [1]. Not divided
// by the sum of the targets. torch.nn.functional.cross_entropy with probabilities, which wants C as the second axis.
template <Real T, int Rank>
Tensor<T, 1> soft_cross_entropy(const Tensor<T, Rank>& logits, const Arg<Tensor<T, Rank>>& target) {
  if (logits.empty() || target.empty() || logits.shape() != target.shape())
    throw ShapeError(concat_text({"soft_cross_entropy: logits ", logits.any().dims(), " and target ",
                                  target.any().dims(), " differ or are empty"}));
  const AnyTensor<T> terms = any::multiply(target.any(), any::softmax(any::SoftmaxKind::log, logits.any()));
  return Tensor<T, 1>(any::total("soft_cross_entropy", terms, -1.0 / static_cast<double>(logits.any().rows())));
}

// temperature^2 KL(softmax(teacher / temperature) || softmax(student / temperature)), summed over the last axis,
// divided by the number of rows: the loss of distillation, whose gradients do not shrink with the temperature.
template <Real T, int Rank>
Tensor<T, 1> kl_distill(const Tensor<T, Rank>& student, const Arg<Tensor<T, Rank>>& teacher, double temperature) {
  if (!(temperature > 0))
    throw ConfigError("kl_distill: temperature " + std::to_string(temperature) + ", expected more than 0");
  const T by = static_cast<T>(1 / temperature);
  const Tensor<T, Rank> log_p = log_softmax(scale(student, by)), q = softmax(scale(teacher, by));
  const double rows = static_cast<double>(log_p.any().rows());
  return Tensor<T, 1>(any::pointwise_loss<T>("kl_distill", log_p.any(), q.any(), kernels::KlTerm<T>{},
                                             rows / (temperature * temperature)));
}

}  // namespace aulos::inline AULOS_ISA
