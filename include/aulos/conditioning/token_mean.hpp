// Conditions from the mean of tokens.
#pragma once

#include <string>
#include <utility>

#include "aulos/conditioning/embeddings.hpp"
#include "aulos/core/config.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/nn/norm.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/matmul.hpp"
#include "aulos/ops/reduce.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// The mean of the tokens of each sample: [B, N, C] -> [B, C]. DiT-Block policy: of the output of an encoder layer.
template <Real T>
Tensor<T, 2> mean_tokens(const Tensor<T, 3>& x) {
  const Op op("mean_tokens", arg("x", x.any()));
  op.require(x.extent(1) > 0, [&] { return "x " + to_string(x.any().dims()) + " has no tokens"; });
  const Shape<3> shape{x.extent(0), 1, x.extent(1)};
  const T share = static_cast<T>(1 / static_cast<double>(x.extent(1)));
  return matmul(op.context().template full<T>(shape, share), x).reshape(Shape<2>{x.extent(0), x.extent(2)});
}

// Only of those that are kept: keep [B, N], 1 or 0. A sample without any is NaN, as in PyTorch.
template <Real T>
Tensor<T, 2> mean_tokens(const Tensor<T, 3>& x, const Tensor<T, 2>& keep) {
  const Tensor<T, 2> weights = divide(keep, sum_last(keep));
  return matmul(weights.unsqueeze(1), x).reshape(Shape<2>{x.extent(0), x.extent(2)});
}

// T(t) + linear(norm(mean of the tokens)): NextDiT. LuminaCombinedTimestepCaptionEmbedding of diffusers.
template <Real T>
struct TimestepTokensEmbedding {
  TimestepEmbedding<T> timestep_embedder;
  nn::LayerNorm<T> norm;
  nn::Linear<T> linear;

  TimestepTokensEmbedding() = default;
  TimestepTokensEmbedding(Index token_channels, Index channels, const SinusoidOptions& options = {})
      : timestep_embedder(channels, options), norm(token_channels, 1e-5), linear(token_channels, channels) {}

  // t [B], tokens [B, N, Ct], keep [B, N] or empty (all) -> [B, C]
  Tensor<T, 2> operator()(const Tensor<T, 1>& t, const Tensor<T, 3>& tokens, const Tensor<T, 2>& keep = {}) const {
    const Tensor<T, 2> mean = keep.empty() ? mean_tokens(tokens) : mean_tokens(tokens, keep);
    return add(timestep_embedder(t), linear(norm(mean)));
  }
  void visit(auto&& v) {
    v("timestep_embedder", timestep_embedder);
    v("caption_embedder.0", norm);
    v("caption_embedder.1", linear);
  }
  bool operator==(const TimestepTokensEmbedding&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::conditioning
