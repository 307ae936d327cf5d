// Adaptive norms: linears that turn a conditioning vector into modulation rows. All take the vector after its SiLU, so
// that a model computes that once for all its blocks.
#pragma once

#include <array>
#include <utility>

#include "aulos/conditioning/modulation.hpp"
#include "aulos/core/config.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/nn/norm.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// adaLN: shift and scale of attention and feed-forward, without gates, in the order shift, scale, shift, scale.
template <Real T>
struct AdaLayerNorm {
  nn::Linear<T> linear;  // [4 C, C']

  AdaLayerNorm() = default;
  AdaLayerNorm(Index conditioning, Index channels) : linear(conditioning, 4 * channels) {}

  template <int Rank>
  StreamModulation<T> operator()(const Tensor<T, Rank>& c) const {
    auto row = modulation_rows<4>(linear, c);
    return {{row[0], row[1], {}}, {row[2], row[3], {}}};
  }
  void visit(auto&& v) { v("linear", linear); }
  bool operator==(const AdaLayerNorm&) const = default;
};

// adaLN-Zero (DiT, SD3, Flux): shift, scale, gate of attention, then of the feed-forward. A model with one modulation
// for all of its blocks and its end (MPDiT) calls it once.
template <Real T>
struct AdaLayerNormZero {
  nn::Linear<T> linear;  // [6 C, C']

  AdaLayerNormZero() = default;
  AdaLayerNormZero(Index conditioning, Index channels) : linear(conditioning, 6 * channels) {}

  template <int Rank>
  StreamModulation<T> operator()(const Tensor<T, Rank>& c) const {
    return stream_modulation(modulation_rows<6>(linear, c));
  }
  void visit(auto&& v) { v("linear", linear); }
  bool operator==(const AdaLayerNormZero&) const = default;
};

// Which half of a final modulation comes first. diffusers' finals have the scale first, DiT's and the original SD3's
// and Flux's the shift.
enum class FinalOrder { scale_shift, shift_scale };

// adaLN-continuous: norm(x) * (1 + scale) + shift at the end of a model.
template <Real T, class Norm = nn::LayerNorm<T>>
struct AdaLayerNormContinuous {
  nn::Linear<T> linear;  // [2 C, C']
  Norm norm;
  FinalOrder order = FinalOrder::scale_shift;

  AdaLayerNormContinuous() = default;
  AdaLayerNormContinuous(Index conditioning, Index channels, Norm of, FinalOrder rows = FinalOrder::scale_shift)
      : linear(conditioning, 2 * channels), norm(std::move(of)), order(rows) {}

  template <int Rank>
  Modulation<T> rows(const Tensor<T, Rank>& c) const {
    auto row = modulation_rows<2>(linear, c);
    if (order == FinalOrder::scale_shift) std::swap(row[0], row[1]);
    return {row[0], row[1], {}};
  }
  template <int Rank>
  Tensor<T, 3> operator()(const Tensor<T, 3>& x, const Tensor<T, Rank>& c) const {
    const Modulation<T> m = rows(c);
    return norm.modulated(x, m.shift, m.scale);
  }
  void visit(auto&& v) {
    v("linear", linear);
    v("norm", norm);
  }
  bool operator==(const AdaLayerNormContinuous&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::conditioning
