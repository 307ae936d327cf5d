// Modulation by a plain scale: x scale + shift, without "1 +", so that zero weights give zero.
#pragma once

#include "aulos/conditioning/modulation.hpp"
#include "aulos/core/config.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/ops/arithmetic.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// x scale + shift; both [B, 1, C] or of x's shape.
template <Real T>
Tensor<T, 3> scale_shift(const Tensor<T, 3>& x, const Tensor<T, 3>& scale, const Tensor<T, 3>& shift) {
  return add(multiply(x, scale), shift);
}

// Scale and shift from linears of their own, of what a block has normalised. c after its SiLU: DiT-Block policy.
template <Real T>
struct PlainModulation {
  nn::Linear<T> scale, shift;  // [C, C']

  PlainModulation() = default;
  PlainModulation(Index conditioning, Index channels) : scale(conditioning, channels), shift(conditioning, channels) {}

  template <int Rank>
  Tensor<T, 3> operator()(const Tensor<T, 3>& x, const Tensor<T, Rank>& c) const {
    return scale_shift(x, modulation_rows<1>(scale, c)[0], modulation_rows<1>(shift, c)[0]);
  }
  void visit(auto&& v) {
    v("scale", scale);
    v("shift", shift);
  }
  bool operator==(const PlainModulation&) const = default;
};

// The gate of the same policy: residual + G(c) f. Zero at the start of training, so that a block is the identity.
template <Real T>
struct PlainGate {
  nn::Linear<T> scale;  // [C, C']

  PlainGate() = default;
  PlainGate(Index conditioning, Index channels) : scale(conditioning, channels) {}

  // [B, 1, C] or [B, N, C]: what TokenMap::add_to takes.
  template <int Rank>
  Tensor<T, 3> operator()(const Tensor<T, Rank>& c) const {
    return modulation_rows<1>(scale, c)[0];
  }
  void visit(auto&& v) { v("scale", scale); }
  bool operator==(const PlainGate&) const = default;
};

// Its end: x scale + shift without a norm, [shift, scale] = linear(c).
template <Real T>
struct PlainFinal {
  nn::Linear<T> linear;  // [2 C, C']

  PlainFinal() = default;
  PlainFinal(Index conditioning, Index channels) : linear(conditioning, 2 * channels) {}

  template <int Rank>
  Tensor<T, 3> operator()(const Tensor<T, 3>& x, const Tensor<T, Rank>& c) const {
    const auto row = modulation_rows<2>(linear, c);
    return scale_shift(x, row[1], row[0]);
  }
  void visit(auto&& v) { linear.visit(v); }
  bool operator==(const PlainFinal&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::conditioning
