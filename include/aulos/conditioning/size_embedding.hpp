// Size and aspect ratio as conditions.
#pragma once

#include <array>
#include <string>

#include "aulos/conditioning/embeddings.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/layout.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// Each of k scalars through one time embedding of width C / parts, side by side. SizeEmbedder of PixArt.
template <Real T>
struct SizeEmbedding {
  TimestepEmbedding<T> scalar;

  SizeEmbedding() = default;
  explicit SizeEmbedding(Index channels_per_scalar, const SinusoidOptions& options = {}, EmbeddingNames names = {})
      : scalar(channels_per_scalar, options, 1, names) {}

  // [B, k] -> [B, k width]
  Tensor<T, 2> operator()(const Tensor<T, 2>& sizes) const {
    const Tensor<T, 3> e = scalar(sizes);
    return e.reshape(Shape<2>{e.extent(0), e.extent(1) * e.extent(2)});
  }
  void visit(auto&& v) { scalar.visit(v); }
  bool operator==(const SizeEmbedding&) const = default;
};

// T(t) + [height, width, aspect ratio], a third of the channels each: the multi-scale PixArt.
// PixArtAlphaCombinedTimestepSizeEmbeddings of diffusers.
template <Real T>
struct TimestepSizeEmbedding {
  TimestepEmbedding<T> timestep_embedder;
  SizeEmbedding<T> resolution_embedder, aspect_ratio_embedder;

  TimestepSizeEmbedding() = default;
  explicit TimestepSizeEmbedding(Index channels, const SinusoidOptions& options = {})
      : timestep_embedder(channels, options),
        resolution_embedder(channels / 3, options),
        aspect_ratio_embedder(channels / 3, options) {
    if (channels % 3 != 0)
      throw ConfigError("size embedding: channels is " + std::to_string(channels) + ", expected a multiple of 3");
  }

  // t [B], size [B, 2] (height, width), aspect_ratio [B, 1] -> [B, C]
  Tensor<T, 2> operator()(const Tensor<T, 1>& t, const Tensor<T, 2>& size, const Tensor<T, 2>& aspect_ratio) const {
    return add(timestep_embedder(t),
               concat(std::array{resolution_embedder(size), aspect_ratio_embedder(aspect_ratio)}, 1));
  }
  void visit(auto&& v) {
    v("timestep_embedder", timestep_embedder);
    v("resolution_embedder", resolution_embedder);
    v("aspect_ratio_embedder", aspect_ratio_embedder);
  }
  bool operator==(const TimestepSizeEmbedding&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::conditioning
