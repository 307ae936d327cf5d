// Activations, elementwise.
#pragma once

#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/activation.hpp"
#include "aulos/ops/op.hpp"
#include "aulos/simd/activations.hpp"

namespace aulos::inline AULOS_ISA {

enum class Activation {
  identity,
  relu,
  gelu,
  gelu_tanh,
  silu,
  sigmoid,
  tanh,
  softplus,
  elu_plus_one,
  exp,
  log,
  sqrt,
  rsqrt
};

// Calls f with the function object of an activation.
template <class F>
void with_activation(Activation activation, F&& f) {
  switch (activation) {
    case Activation::identity:
      return f(simd::Identity{});
    case Activation::relu:
      return f(simd::Relu{});
    case Activation::gelu:
      return f(simd::Gelu{});
    case Activation::gelu_tanh:
      return f(simd::GeluTanh{});
    case Activation::silu:
      return f(simd::Silu{});
    case Activation::sigmoid:
      return f(simd::Sigmoid{});
    case Activation::tanh:
      return f(simd::Tanh{});
    case Activation::softplus:
      return f(simd::Softplus{});
    case Activation::elu_plus_one:
      return f(simd::EluPlusOne{});
    case Activation::exp:
      return f(simd::Exp{});
    case Activation::log:
      return f(simd::Log{});
    case Activation::sqrt:
      return f(simd::Sqrt{});
    case Activation::rsqrt:
      return f(simd::Rsqrt{});
  }
}

// The names under which profile and errors know them.
inline const char* name_of(Activation activation) noexcept {
  constexpr const char* names[] = {"identity", "relu",         "gelu", "gelu_tanh", "silu", "sigmoid", "tanh",
                                   "softplus", "elu_plus_one", "exp",  "log",       "sqrt", "rsqrt"};
  return names[static_cast<int>(activation)];
}

namespace any {

// The activation behind pointers: op code is compiled once for all of them.
template <Real T>
kernels::ActivationRow<T> activation_row(Activation activation) {
  kernels::ActivationRow<T> row{};
  with_activation(activation, [&](auto f) { row = kernels::activation_row<T, decltype(f)>(); });
  return row;
}

// All elements of a dense tensor as one row.
template <Real T>
kernels::Rows<const T> one_row(const AnyTensor<T>& x) {
  return {x.data(), x.count()};
}
template <Real T>
kernels::Rows<T> one_row_out(const AnyTensor<T>& x) {
  return {x.mutable_data(), x.count()};
}

template <Real T>
AnyTensor<T> apply(AnyTensor<T>&& x, Activation activation) {
  const char* name = name_of(activation);
  Op op(name, arg("x", x));
  const Ghost<T> gx = op.ghost(x);
  AnyTensor<T> from = op.dense(x);
  x = {};
  AnyTensor<T> y = op.recording() ? op.like(from) : AnyTensor<T>{};
  if (!op.recording()) {
    if (from.sole()) {
      y = op.reuse(std::move(from));
      from = {};
    } else {
      y = op.like(from);
    }
  }
  op.run(cost_per_element<T>(y.count(), 10, 2), [&](Threads threads) {
    kernels::activate<T>(threads, 1, y.count(), one_row(from.empty() ? y : from), one_row_out(y),
                         activation_row<T>(activation));
  });
  if (op.recording()) {
    op.record(y, [from, gx, activation](GradTape& tape, AnyTensor<T> gy) {
      Op back("activation_backward", arg("gy", gy));
      const AnyTensor<T> g = gy;
      gy = {};
      AnyTensor<T> dx = back.like(g);
      back.run(cost_per_element<T>(g.count(), 20, 3), [&](Threads threads) {
        kernels::activate_backward<T>(threads, 1, g.count(), one_row(from), one_row(g), one_row_out(dx),
                                      activation_row<T>(activation));
      });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// The activation of every element; x is overwritten where nobody else holds it. torch.nn.functional.relu, gelu
// (approximate="none" and "tanh"), silu, sigmoid, tanh, softplus; torch.exp, log, sqrt, rsqrt.
template <Real T, int Rank>
Tensor<T, Rank> apply(Tensor<T, Rank> x, Activation activation) {
  return Tensor<T, Rank>(any::apply(std::move(x).any(), activation));
}
template <Real T, int Rank>
Tensor<T, Rank> relu(Tensor<T, Rank> x) {
  return apply(std::move(x), Activation::relu);
}
// x Phi(x), the erf form.
template <Real T, int Rank>
Tensor<T, Rank> gelu(Tensor<T, Rank> x) {
  return apply(std::move(x), Activation::gelu);
}
template <Real T, int Rank>
Tensor<T, Rank> gelu_tanh(Tensor<T, Rank> x) {
  return apply(std::move(x), Activation::gelu_tanh);
}
template <Real T, int Rank>
Tensor<T, Rank> silu(Tensor<T, Rank> x) {
  return apply(std::move(x), Activation::silu);
}
template <Real T, int Rank>
Tensor<T, Rank> sigmoid(Tensor<T, Rank> x) {
  return apply(std::move(x), Activation::sigmoid);
}
template <Real T, int Rank>
Tensor<T, Rank> tanh(Tensor<T, Rank> x) {
  return apply(std::move(x), Activation::tanh);
}
// elu(x) + 1, the positive feature of linear attention.
template <Real T, int Rank>
Tensor<T, Rank> elu_plus_one(Tensor<T, Rank> x) {
  return apply(std::move(x), Activation::elu_plus_one);
}

}  // namespace aulos::inline AULOS_ISA
