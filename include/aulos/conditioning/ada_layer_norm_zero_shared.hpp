// adaLN-Zero of two streams that share a norm.
#pragma once

#include <array>

#include "aulos/conditioning/modulation.hpp"
#include "aulos/core/config.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/nn/norm.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// One sublayer of two streams: shift, scale, gate of the first, then of the second, and one LayerNorm with weight and
// bias for both. Takes the conditioning vector after its SiLU. CogVideoXLayerNormZero of diffusers.
template <Real T>
struct AdaLayerNormZeroShared {
  nn::Linear<T> linear;  // [6 C, C']
  nn::LayerNorm<T> norm;

  struct Streams {
    std::array<Tensor<T, 3>, 2> x;     // modulated
    std::array<Tensor<T, 3>, 2> gate;  // [B, 1, C]
  };

  AdaLayerNormZeroShared() = default;
  AdaLayerNormZeroShared(Index conditioning, Index channels, double eps = 1e-5)
      : linear(conditioning, 6 * channels), norm(channels, eps) {}

  template <int Rank>
  std::array<Modulation<T>, 2> rows(const Tensor<T, Rank>& c) const {
    const auto row = modulation_rows<6>(linear, c);
    return {Modulation<T>{row[0], row[1], row[2]}, Modulation<T>{row[3], row[4], row[5]}};
  }
  // x [B, N, C] and y [B, M, C].
  Streams operator()(const Tensor<T, 3>& x, const Tensor<T, 3>& y, const Tensor<T, 2>& c) const {
    const auto m = rows(c);
    return {{norm.modulated(x, m[0].shift, m[0].scale), norm.modulated(y, m[1].shift, m[1].scale)},
            {m[0].gate, m[1].gate}};
  }
  void visit(auto&& v) {
    v("linear", linear);
    v("norm", norm);
  }
  bool operator==(const AdaLayerNormZeroShared&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::conditioning
