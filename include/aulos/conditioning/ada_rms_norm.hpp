// Adaptive RMS norms: scales and gates without shifts.
#pragma once

#include <utility>

#include "aulos/conditioning/modulation.hpp"
#include "aulos/core/config.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/nn/norm.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// RMS(x) (1 + scale), in the order scale, gate of attention, scale, gate of the feed-forward. The gates come as they
// are; the block bounds them by tanh (stream::SandwichTanh). Takes the conditioning vector after its SiLU.
// LuminaRMSNormZero (norm with weight; C' = min(C, 1024)) and MochiRMSNormZero (without) of diffusers.
template <Real T>
struct AdaRmsNormZero {
  nn::Linear<T> linear;  // [4 C, C']
  nn::RmsNorm<T> norm;

  AdaRmsNormZero() = default;
  AdaRmsNormZero(Index conditioning, Index channels, nn::RmsNorm<T> of)
      : linear(conditioning, 4 * channels), norm(std::move(of)) {}

  template <int Rank>
  StreamModulation<T> rows(const Tensor<T, Rank>& c) const {
    const auto row = modulation_rows<4>(linear, c);
    return {{{}, row[0], row[1]}, {{}, row[2], row[3]}};
  }
  // The input of attention; m from rows(c).
  Tensor<T, 3> operator()(const Tensor<T, 3>& x, const StreamModulation<T>& m) const {
    return norm.modulated(x, m.attention.shift, m.attention.scale);
  }
  void visit(auto&& v) {
    v("linear", linear);
    v("norm", norm);
  }
  bool operator==(const AdaRmsNormZero&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::conditioning
