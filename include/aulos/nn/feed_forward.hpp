// Feed-forward networks: tokens in, tokens out.
#pragma once

#include <concepts>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/ops/activation.hpp"
#include "aulos/ops/arithmetic.hpp"

namespace aulos::inline AULOS_ISA::nn {

// activation(proj(x)): the first half of a feed-forward by itself.
template <Real T, Activation Function = Activation::gelu_tanh>
struct HiddenLayer {
  using value_type = T;

  Linear<T> proj;

  Tensor<T, 3> operator()(const Tensor<T, 3>& x) const { return proj(x, Function); }

  void visit(auto&& v) { v("proj", proj); }
  bool operator==(const HiddenLayer&) const = default;
};

// fc2(activation(fc1(x))).
template <Real T, Activation Function = Activation::gelu_tanh>
struct Mlp {
  using value_type = T;

  Linear<T> fc1, fc2;

  Mlp() = default;
  Mlp(Index channels, Index hidden, Bias bias = Bias::yes) : fc1(channels, hidden, bias), fc2(hidden, channels, bias) {}

  bool empty() const noexcept { return fc1.empty(); }
  Tensor<T, 3> operator()(const Tensor<T, 3>& x) const { return fc2(fc1(x, Function)); }
  // residual + gate * mlp(x).
  Tensor<T, 3> add_to(const Tensor<T, 3>& x, const Tensor<T, 3>& gate, Tensor<T, 3>&& residual) const {
    return fc2.add_to(fc1(x, Function), gate, std::move(residual));
  }

  void visit(auto&& v) {
    v("fc1", fc1);
    v("fc2", fc2);
  }
  bool operator==(const Mlp&) const = default;
};

// fc2(silu(gate(x)) * up(x)).
template <Real T>
struct SwiGlu {
  using value_type = T;

  Linear<T> gate, up, fc2;

  SwiGlu() = default;
  SwiGlu(Index channels, Index hidden, Bias bias = Bias::no)
      : gate(channels, hidden, bias), up(channels, hidden, bias), fc2(hidden, channels, bias) {}

  bool empty() const noexcept { return gate.empty(); }
  Tensor<T, 3> hidden(const Tensor<T, 3>& x) const { return multiply(gate(x, Activation::silu), up(x)); }
  Tensor<T, 3> operator()(const Tensor<T, 3>& x) const { return fc2(hidden(x)); }
  Tensor<T, 3> add_to(const Tensor<T, 3>& x, const Tensor<T, 3>& by, Tensor<T, 3>&& residual) const {
    return fc2.add_to(hidden(x), by, std::move(residual));
  }

  void visit(auto&& v) {
    v("gate", gate);
    v("up", up);
    v("fc2", fc2);
  }
  bool operator==(const SwiGlu&) const = default;
};

// Tokens in, tokens out, alone or added to a residual in one pass.
template <class F>
concept TokenMap = requires(const F& f, const Tensor<typename F::value_type, 3>& x,
                            Tensor<typename F::value_type, 3>&& residual) {
  { f(x) } -> std::same_as<Tensor<typename F::value_type, 3>>;
  { f.add_to(x, x, std::move(residual)) } -> std::same_as<Tensor<typename F::value_type, 3>>;
};

}  // namespace aulos::inline AULOS_ISA::nn
