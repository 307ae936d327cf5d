// Losses between pairs of vectors: cosine and contrastive.
#pragma once

#include <array>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/l2_normalize.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/loss.hpp"
#include "aulos/ops/matmul.hpp"
#include "aulos/ops/reduce.hpp"

namespace aulos::inline AULOS_ISA {

// a . b / (max(|a|, eps) max(|b|, eps)) over the last axis, which becomes 1. torch.cosine_similarity (keepdim; before
// PyTorch 2 the product of both lengths is limited instead).
template <Real T, int Rank>
Tensor<T, Rank> cosine_similarity(const Tensor<T, Rank>& a, const Arg<Tensor<T, Rank>>& b, double eps = 1e-8) {
  return sum_last(multiply(l2_normalize(a, eps), l2_normalize<T, Rank>(b, eps)));
}

// mean(1 - cosine_similarity(a, b)) -> [1]. torch.nn.functional.cosine_embedding_loss for pairs that belong together.
template <Real T, int Rank>
Tensor<T, 1> cosine_loss(const Tensor<T, Rank>& a, const Arg<Tensor<T, Rank>>& b) {
  return scale(mean(cosine_similarity(a, b)), T{-1}, T{1});
}

// The mean of the cross entropies of the rows and of the columns of logits [N, N] against the diagonal. The logits may
// carry a learned temperature.
template <Real T>
Tensor<T, 1> contrastive_loss(const Tensor<T, 2>& logits) {
  if (logits.empty() || logits.extent(0) != logits.extent(1))
    throw ShapeError(concat_text({"contrastive_loss: logits ", logits.any().dims(), ", expected [N, N]"}));
  Context* context = logits.any().context();
  if (context == nullptr) throw Error("contrastive_loss: the logits belong to no Context");
  const auto diagonal = context->template empty<std::int64_t>(Shape<1>{logits.extent(0)});
  context->run("diagonal", cost_per_element<std::int64_t>(diagonal.count(), 0, 1), [&](Threads) {
    for (Index i = 0; i < diagonal.count(); ++i) diagonal.mutable_data()[i] = i;
  });
  const Tensor<T, 1> rows = cross_entropy(logits, diagonal);
  const Tensor<T, 1> columns = cross_entropy(permute(logits, Shape<2>{1, 0}), diagonal);
  return linear_combination(std::array{rows, columns}, std::array{T(0.5), T(0.5)});
}

// Contrastive loss of the cosine similarities of a and b [N, D] divided by the temperature: row i of a belongs to row i
// of b. The loss of CLIP.
template <Real T>
Tensor<T, 1> clip_loss(const Tensor<T, 2>& a, const Arg<Tensor<T, 2>>& b, double temperature) {
  if (!(temperature > 0))
    throw ConfigError("clip_loss: temperature " + std::to_string(temperature) + ", expected more than 0");
  const Tensor<T, 2> z = matmul(l2_normalize(a), l2_normalize<T, 2>(b), Transpose::b);
  return contrastive_loss(scale(z, static_cast<T>(1 / temperature)));
}

}  // namespace aulos::inline AULOS_ISA
