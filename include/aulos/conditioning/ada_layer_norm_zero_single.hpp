// adaLN-Zero-Single: the modulation of a block that has one sublayer.
#pragma once

#include "aulos/conditioning/modulation.hpp"
#include "aulos/core/config.hpp"
#include "aulos/nn/linear.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// Shift, scale, gate of attention and feed-forward in parallel (the single-stream blocks of Flux and HunyuanVideo).
// Takes the conditioning vector after its SiLU. AdaLayerNormZeroSingle of diffusers.
template <Real T>
struct AdaLayerNormZeroSingle {
  nn::Linear<T> linear;  // [3 C, C']

  AdaLayerNormZeroSingle() = default;
  AdaLayerNormZeroSingle(Index conditioning, Index channels) : linear(conditioning, 3 * channels) {}

  template <int Rank>
  Modulation<T> operator()(const Tensor<T, Rank>& c) const {
    const auto row = modulation_rows<3>(linear, c);
    return {row[0], row[1], row[2]};
  }
  void visit(auto&& v) { v("linear", linear); }
  bool operator==(const AdaLayerNormZeroSingle&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::conditioning
