// Guidance that a model has been distilled to take as an input.
#pragma once

#include <optional>
#include <string>

#include "aulos/conditioning/embeddings.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/ops/arithmetic.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// Which vectors a model sums, and by what their scalars are multiplied before the waves.
struct GuidanceEmbeddingOptions {
  double timestep_factor = 1;  // Flux: 1000
  double guidance_factor = 1;  // Flux: 1000, SANA-Sprint: 0.1
  bool guidance = true;        // Flux-schnell has none
  Index pooled = 0;            // width of the pooled text; 0: none
  SinusoidOptions sinusoid = {};
};

// T(t) + G(guidance) + P(pooled), of which G and P may be absent: Flux, HunyuanVideo (all three), SANA-Sprint (without
// pooled text). CombinedTimestepGuidanceTextProjEmbeddings of diffusers.
template <Real T>
struct TimestepGuidanceEmbedding {
  TimestepEmbedding<T> timestep_embedder;
  std::optional<TimestepEmbedding<T>> guidance_embedder;
  std::optional<VectorEmbedding<T>> text_embedder;

  TimestepGuidanceEmbedding() = default;
  TimestepGuidanceEmbedding(Index channels, const GuidanceEmbeddingOptions& o)
      : timestep_embedder(channels, o.sinusoid, o.timestep_factor) {
    if (o.guidance) guidance_embedder = TimestepEmbedding<T>(channels, o.sinusoid, o.guidance_factor);
    if (o.pooled > 0) text_embedder = VectorEmbedding<T>(o.pooled, channels);
  }

  // timestep [B], guidance [B], pooled [B, P] -> [B, C]. What the model lacks is not read and may be empty.
  Tensor<T, 2> operator()(const Tensor<T, 1>& timestep, const Tensor<T, 1>& guidance,
                          const Tensor<T, 2>& pooled = {}) const {
    Tensor<T, 2> c = timestep_embedder(timestep);
    if (guidance_embedder) c = add(c, (*guidance_embedder)(guidance));
    if (text_embedder) c = add(c, (*text_embedder)(pooled));
    return c;
  }
  void visit(auto&& v) {
    v("timestep_embedder", timestep_embedder);
    v("guidance_embedder", guidance_embedder);
    v("text_embedder", text_embedder);
  }
  bool operator==(const TimestepGuidanceEmbedding&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::conditioning
