// adaLN-single: one modulation for a whole model, to which every block adds a table of its own.
#pragma once

#include <utility>

#include "aulos/conditioning/embeddings.hpp"
#include "aulos/conditioning/scale_shift_table.hpp"
#include "aulos/core/config.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/ops/activation.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// What adaLN-single gives: the parts that the tables of the blocks are added to, and the vector itself, which the last
// norm uses as it is (ScaleShiftTable::rows and shared_rows).
template <Real T, int Rank>
struct SingleModulation {
  Tensor<T, Rank> parts;     // [B, parts C] or [B, N, parts C]
  Tensor<T, Rank> embedded;  // [B, C] or [B, N, C]
};

// linear(silu(e)), e = emb(t, ..): PixArt, SANA (six parts), LTX-2 (one to nine, per token). AdaLayerNormSingle of
// diffusers.
template <Real T, nn::Module Embedding = TimestepEmbedding<T>>
struct AdaLayerNormSingle {
  Embedding emb;
  nn::Linear<T> linear;  // [parts C, C]

  AdaLayerNormSingle() = default;
  AdaLayerNormSingle(Index channels, Embedding embedding, Index parts = 6)
      : emb(std::move(embedding)), linear(channels, parts * channels) {}

  template <int Rank, class... Conditions>
  SingleModulation<T, Rank + 1> operator()(const Tensor<T, Rank>& t, const Conditions&... conditions) const {
    Tensor<T, Rank + 1> e = emb(t, conditions...);
    return {linear(silu(e)), e};
  }
  void visit(auto&& v) {
    v("emb", emb);
    v("linear", linear);
  }
  bool operator==(const AdaLayerNormSingle&) const = default;
};

// Names: diffusers has the linears of a time's embedding below emb.timestep_embedder.
template <Real T>
struct TimestepEmbedder {
  TimestepEmbedding<T> timestep_embedder;

  template <int Rank>
  Tensor<T, Rank + 1> operator()(const Tensor<T, Rank>& t) const {
    return timestep_embedder(t);
  }
  void visit(auto&& v) { v("timestep_embedder", timestep_embedder); }
  bool operator==(const TimestepEmbedder&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::conditioning
