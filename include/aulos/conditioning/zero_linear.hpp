// Zero-initialised injection of a control branch into a backbone.
#pragma once

#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/nn/initialise.hpp"
#include "aulos/nn/linear.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// x + linear(control): with weight and bias of zero the backbone is as it was, yet the weight has a gradient. The
// before_proj and after_proj of PixArt's ControlNet, input_block and block outputs of SANA's.
template <Real T>
struct ZeroLinear {
  nn::Linear<T> linear;

  ZeroLinear() = default;
  ZeroLinear(Index control, Index channels) : linear(control, channels) {}

  // The initial values of training.
  void initialise() { nn::zero(linear); }

  // x is overwritten where nobody else holds it.
  Tensor<T, 3> operator()(Tensor<T, 3>&& x, const Tensor<T, 3>& control) const {
    return linear.add_to(control, {}, std::move(x));
  }
  Tensor<T, 3> operator()(const Tensor<T, 3>& x, const Tensor<T, 3>& control) const {
    return (*this)(Tensor<T, 3>(x), control);
  }
  void visit(auto&& v) { linear.visit(v); }
  bool operator==(const ZeroLinear&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::conditioning
