// A linear layer.
#pragma once

#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/ops/linear.hpp"
#include "aulos/ops/weight.hpp"

namespace aulos::inline AULOS_ISA::nn {

enum class Bias { no, yes };

// y = x W^T + b: [.., in] -> [.., out]. torch.nn.Linear.
template <Real T>
struct Linear {
  using value_type = T;

  Weight<T> weight;      // [out, in]
  Parameter<T, 1> bias;  // [out], or absent

  Linear() = default;
  Linear(Index in, Index out, Bias with_bias = Bias::yes) : weight(out, in) {
    if (with_bias == Bias::yes) bias = Parameter<T, 1>(Shape<1>{out});
  }

  // Absent: a layer that the model does not have.
  bool empty() const noexcept { return weight.empty(); }

  template <int Rank>
  Tensor<T, Rank> operator()(const Tensor<T, Rank>& x, Activation activation = Activation::identity) const {
    return linear(x, weight, bias, activation);
  }

  // residual + gate * (x W^T + b), in one pass; an empty gate is 1.
  Tensor<T, 3> add_to(const Tensor<T, 3>& x, const Tensor<T, 3>& gate, Tensor<T, 3>&& residual) const {
    return linear_residual(x, weight, bias, gate, std::move(residual));
  }

  void visit(auto&& v) {
    v("weight", weight);
    v("bias", bias);
  }
  bool operator==(const Linear&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::nn
