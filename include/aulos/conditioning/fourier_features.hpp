// Random Fourier features of a time.
#pragma once

#include "aulos/core/config.hpp"
#include "aulos/core/parameter.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/ops/activation.hpp"
#include "aulos/ops/fourier_features.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

enum class FourierTime { linear, log };

// Cosines and sines of 2 pi w t, or of 2 pi w log t, at frequencies that a checkpoint stores and training leaves alone:
// Stable Audio (`time_proj.weight`); in radians DiT-Block policy (`time_net.w`). The module's name is the parameter's.
// GaussianFourierProjection of diffusers.
template <Real T>
struct FourierFeatures {
  Parameter<T, 1> frequencies;  // [h]
  FourierOptions options;
  FourierTime time = FourierTime::linear;

  FourierFeatures() = default;
  explicit FourierFeatures(Index half, const FourierOptions& of = {}, FourierTime as = FourierTime::linear)
      : frequencies(Shape<1>{half}), options(of), time(as) {
    frequencies.set_trainable(false);
  }

  // [..] -> [.., 2 h]
  template <int Rank>
  Tensor<T, Rank + 1> operator()(const Tensor<T, Rank>& t) const {
    return fourier_features(time == FourierTime::log ? apply(t, Activation::log) : t, frequencies, options);
  }
  void visit(auto&& v) { v("", frequencies); }
  bool operator==(const FourierFeatures&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::conditioning
