// How a sublayer's result joins its stream.
#pragma once

#include <concepts>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/parameter.hpp"
#include "aulos/nn/norm.hpp"
#include "aulos/ops/activation.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/modulate.hpp"

namespace aulos::inline AULOS_ISA::stream {

// A residual is called as residual(f, h, gate, x, input): f the sublayer (a token map), h its modulated input, gate
// [B, 1, C], [B, N, C] or empty, x the stream so far, input the stream as the block received it.

// x + gate f(h): SD3, Flux, DiT and most others. In one pass with f's last product.
struct Gated {
  static constexpr bool reads_input = false;

  template <class F, Real T>
  Tensor<T, 3> operator()(const F& f, const Tensor<T, 3>& h, const Tensor<T, 3>& gate, Tensor<T, 3>&& x,
                          const Tensor<T, 3>&) const {
    return f.add_to(h, gate, std::move(x));
  }
  void visit(auto&&) {}
  bool operator==(const Gated&) const = default;
};

// x + tanh(gate) norm(f(h)): Mochi, Lumina.
template <nn::NormLayer Norm>
struct SandwichTanh {
  static constexpr bool reads_input = false;

  Norm norm;

  template <class F, Real T>
  Tensor<T, 3> operator()(const F& f, const Tensor<T, 3>& h, const Tensor<T, 3>& gate, Tensor<T, 3>&& x,
                          const Tensor<T, 3>&) const {
    const Tensor<T, 3> bounded = gate.empty() ? gate : tanh(gate);
    const Tensor<T, 3> y = norm(f(h));
    return gated_residual(std::move(x), bounded, y);
  }
  void visit(auto&& v) { norm.visit(v); }
  bool operator==(const SandwichTanh&) const = default;
};

// x + gate gamma f(h) with a trained vector gamma, a factor per channel: LayerScale of CaiT, DeiT-III, DINOv2. Without
// gamma the plain sum.
template <Real T>
struct LayerScale {
  static constexpr bool reads_input = false;

  Parameter<T, 1> gamma;  // [C], or absent

  LayerScale() = default;
  explicit LayerScale(Index channels) : gamma(Shape<1>{channels}) {}

  template <class F>
  Tensor<T, 3> operator()(const F& f, const Tensor<T, 3>& h, const Tensor<T, 3>& gate, Tensor<T, 3>&& x,
                          const Tensor<T, 3>&) const {
    if (gamma.empty()) return f.add_to(h, gate, std::move(x));
    const Tensor<T, 3> factor = gamma.tensor().reshape(Shape<3>{1, 1, gamma.count()});
    if (!gate.empty()) return f.add_to(h, multiply(gate, factor), std::move(x));
    return f.add_to(h, factor.broadcast(Shape<3>{x.extent(0), 1, gamma.count()}), std::move(x));
  }
  void visit(auto&& v) { v("gamma", gamma); }
  bool operator==(const LayerScale&) const = default;
};

// input + gate f(h): AuraFlow adds to what the block received, not to the stream so far.
struct FromInput {
  static constexpr bool reads_input = true;

  template <class F, Real T>
  Tensor<T, 3> operator()(const F& f, const Tensor<T, 3>& h, const Tensor<T, 3>& gate, Tensor<T, 3>&&,
                          const Tensor<T, 3>& input) const {
    Tensor<T, 3> base = input;
    return f.add_to(h, gate, std::move(base));
  }
  void visit(auto&&) {}
  bool operator==(const FromInput&) const = default;
};

template <class R>
concept Residual = std::copyable<R> && requires {
  { R::reads_input } -> std::convertible_to<bool>;
};

}  // namespace aulos::inline AULOS_ISA::stream
