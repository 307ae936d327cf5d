// The end of a model whose last norm is scaled only.
#pragma once

#include "aulos/conditioning/modulation.hpp"
#include "aulos/core/config.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/nn/norm.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// linear_2(LN(x) (1 + linear_1(c))), c after its SiLU: NextDiT. LuminaLayerNormContinuous of diffusers.
template <Real T>
struct ScaleOnlyFinal {
  nn::Linear<T> linear_1;  // [C, C']
  nn::Linear<T> linear_2;  // [out, C]
  nn::LayerNorm<T> norm;   // without weight and bias

  ScaleOnlyFinal() = default;
  ScaleOnlyFinal(Index conditioning, Index channels, Index out, double eps = 1e-6)
      : linear_1(conditioning, channels), linear_2(channels, out), norm(channels, eps, nn::Affine::no) {}

  template <int Rank>
  Tensor<T, 3> operator()(const Tensor<T, 3>& x, const Tensor<T, Rank>& c) const {
    const auto scale = modulation_rows<1>(linear_1, c);
    return linear_2(norm.modulated(x, {}, scale[0]));
  }
  void visit(auto&& v) {
    v("linear_1", linear_1);
    v("linear_2", linear_2);
    v("norm", norm);
  }
  bool operator==(const ScaleOnlyFinal&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::conditioning
