// Norms over channels. The eps is data: models differ in it, also inside one block.
#pragma once

#include <concepts>
#include <optional>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/parameter.hpp"
#include "aulos/ops/norm.hpp"

namespace aulos::inline AULOS_ISA::nn {

// Whether a norm has a weight (and a LayerNorm a bias) of its own.
enum class Affine { no, yes };

// (x - mean) / sqrt(var + eps) * weight + bias over the last axis, biased variance. torch.nn.LayerNorm.
template <Real T>
struct LayerNorm {
  using value_type = T;

  Parameter<T, 1> weight, bias;  // [C], absent without affine
  double eps = 1e-5;

  LayerNorm() = default;
  LayerNorm(Index channels, double epsilon, Affine affine = Affine::yes) : eps(epsilon) {
    if (affine == Affine::no) return;
    weight = Parameter<T, 1>(Shape<1>{channels});
    bias = Parameter<T, 1>(Shape<1>{channels});
  }

  template <int Rank>
  Tensor<T, Rank> operator()(const Tensor<T, Rank>& x) const {
    return layer_norm(x, weight, bias, eps);
  }
  // norm(x) * (1 + scale) + shift; shift and scale [B, 1, C] per sample or [B, N, C] per token, or empty.
  Tensor<T, 3> modulated(const Tensor<T, 3>& x, const Tensor<T, 3>& shift, const Tensor<T, 3>& scale) const {
    return modulated_layer_norm(x, weight, bias, shift, scale, eps);
  }

  void visit(auto&& v) {
    v("weight", weight);
    v("bias", bias);
  }
  bool operator==(const LayerNorm&) const = default;
};

// x / sqrt(mean(x^2) + eps) * weight over the last axis. torch.nn.RMSNorm.
template <Real T>
struct RmsNorm {
  using value_type = T;

  Parameter<T, 1> weight;  // [C], absent without affine
  double eps = 1e-6;

  RmsNorm() = default;
  RmsNorm(Index channels, double epsilon, Affine affine = Affine::yes) : eps(epsilon) {
    if (affine == Affine::yes) weight = Parameter<T, 1>(Shape<1>{channels});
  }

  template <int Rank>
  Tensor<T, Rank> operator()(const Tensor<T, Rank>& x) const {
    return rms_norm(x, weight, eps);
  }
  Tensor<T, 3> modulated(const Tensor<T, 3>& x, const Tensor<T, 3>& shift, const Tensor<T, 3>& scale) const {
    return modulated_rms_norm(x, weight, shift, scale, eps);
  }

  void visit(auto&& v) { v("weight", weight); }
  bool operator==(const RmsNorm&) const = default;
};

// A norm of tokens that can be modulated in the same pass.
template <class Norm>
concept NormLayer = requires(const Norm& norm, const Tensor<typename Norm::value_type, 3>& x) {
  { norm(x) } -> std::same_as<Tensor<typename Norm::value_type, 3>>;
  { norm.modulated(x, x, x) } -> std::same_as<Tensor<typename Norm::value_type, 3>>;
};

// What is done to queries and keys [B, N, H, D] before attention: nothing, ...
template <Real T>
struct NoQkNorm {
  Tensor<T, 4> operator()(Tensor<T, 4> x) const { return x; }
  void visit(auto&&) {}
  bool operator==(const NoQkNorm&) const = default;
};

// ... a norm over D, the same for every head (absent: nothing), ...
template <NormLayer Norm>
struct PerHead {
  using T = typename Norm::value_type;

  std::optional<Norm> norm;

  Tensor<T, 4> operator()(Tensor<T, 4> x) const { return norm ? (*norm)(x) : x; }
  void visit(auto&& v) {
    if (norm) norm->visit(v);
  }
  bool operator==(const PerHead&) const = default;
};

// ... or a norm over all heads together.
template <NormLayer Norm>
struct AcrossHeads {
  using T = typename Norm::value_type;

  Norm norm;

  Tensor<T, 4> operator()(Tensor<T, 4> x) const {
    const Shape<4> s = x.shape();
    return norm(x.reshape(Shape<3>{s[0], s[1], s[2] * s[3]})).reshape(s);
  }
  void visit(auto&& v) { norm.visit(v); }
  bool operator==(const AcrossHeads&) const = default;
};

// A query/key norm.
template <class Norm, class T>
concept QkNormOf = requires(const Norm& norm, Tensor<T, 4> x) {
  { norm(x) } -> std::same_as<Tensor<T, 4>>;
};

}  // namespace aulos::inline AULOS_ISA::nn
