// Conditioning vectors: from the diffusion time, from pooled text.
#pragma once

#include <string_view>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/ops/activation.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/sinusoid.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// What a checkpoint calls the two linears of an embedding.
struct EmbeddingNames {
  std::string_view first = "linear_1", second = "linear_2";  // diffusers
};
inline constexpr EmbeddingNames mlp_names{"mlp.0", "mlp.2"};              // DiT, PixArt, SD3's single file, RDT
inline constexpr EmbeddingNames sequential_names{"0", "2"};               // Wan's time_embedding, Stable Audio
inline constexpr EmbeddingNames in_out_names{"in_layer", "out_layer"};    // Flux's single file
inline constexpr EmbeddingNames out_net_names{"out_net.0", "out_net.2"};  // DiT-policy

// linear_2(silu(linear_1(x))): TimestepEmbedding and PixArtAlphaTextProjection of diffusers.
template <Real T>
struct VectorEmbedding {
  nn::Linear<T> linear_1, linear_2;
  EmbeddingNames names;

  VectorEmbedding() = default;
  VectorEmbedding(Index in, Index out, EmbeddingNames called = {})
      : linear_1(in, out), linear_2(out, out), names(called) {}

  // [.., in] -> [.., out]
  template <int Rank>
  Tensor<T, Rank> operator()(const Tensor<T, Rank>& x) const {
    return linear_2(linear_1(x, Activation::silu));
  }
  void visit(auto&& v) {
    v(names.first, linear_1);
    v(names.second, linear_2);
  }
  bool operator==(const VectorEmbedding& other) const {
    return linear_1 == other.linear_1 && linear_2 == other.linear_2;
  }
};

// linear_2(silu(linear_1(sinusoid(factor x)))) of a time, a guidance scale, a control frequency: a vector per scalar.
template <Real T>
struct TimestepEmbedding {
  VectorEmbedding<T> mlp;
  SinusoidOptions sinusoid_options;
  double factor = 1;  // of the scalar, before its waves: 1000 where a model takes times in [0, 1]

  TimestepEmbedding() = default;
  explicit TimestepEmbedding(Index channels, const SinusoidOptions& options = {}, double scalar_factor = 1,
                             EmbeddingNames names = {})
      : mlp(options.width, channels, names), sinusoid_options(options), factor(scalar_factor) {}

  // t [B] or, per token, [B, N] -> [B, C] or [B, N, C]
  template <int Rank>
  Tensor<T, Rank + 1> operator()(const Tensor<T, Rank>& t) const {
    return mlp(sinusoid(factor == 1 ? t : scale(t, static_cast<T>(factor)), sinusoid_options));
  }
  void visit(auto&& v) { mlp.visit(v); }
  bool operator==(const TimestepEmbedding&) const = default;
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
