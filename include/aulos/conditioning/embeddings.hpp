// Conditioning vectors: from the diffusion time, from pooled text.
#pragma once

#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/ops/activation.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/sinusoid.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// linear_2(silu(linear_1(x))): TimestepEmbedding and PixArtAlphaTextProjection of diffusers.
template <Real T>
struct VectorEmbedding {
  nn::Linear<T> linear_1, linear_2;

  VectorEmbedding() = default;
  VectorEmbedding(Index in, Index out) : linear_1(in, out), linear_2(out, out) {}

  Tensor<T, 2> operator()(const Tensor<T, 2>& x) const { return linear_2(linear_1(x, Activation::silu)); }
  void visit(auto&& v) {
    v("linear_1", linear_1);
    v("linear_2", linear_2);
  }
  bool operator==(const VectorEmbedding&) const = default;
};

// The vector of time and pooled text: T(sinusoid(t)) + P(pooled). CombinedTimestepTextProjEmbeddings of diffusers.
template <Real T>
struct TimestepTextEmbedding {
  VectorEmbedding<T> timestep_embedder, text_embedder;
  SinusoidOptions sinusoid_options;

  TimestepTextEmbedding() = default;
  TimestepTextEmbedding(Index pooled, Index channels, const SinusoidOptions& options = {})
      : timestep_embedder(options.width, channels), text_embedder(pooled, channels), sinusoid_options(options) {}

  // timestep [B], pooled [B, P] -> [B, C]
  Tensor<T, 2> operator()(const Tensor<T, 1>& timestep, const Tensor<T, 2>& pooled) const {
    return add(timestep_embedder(sinusoid(timestep, sinusoid_options)), text_embedder(pooled));
  }
  void visit(auto&& v) {
    v("timestep_embedder", timestep_embedder);
    v("text_embedder", text_embedder);
  }
  bool operator==(const TimestepTextEmbedding& other) const {
    return timestep_embedder == other.timestep_embedder && text_embedder == other.text_embedder;
  }
};

}  // namespace aulos::inline AULOS_ISA::conditioning
