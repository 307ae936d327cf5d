// The differential mixer: the difference of two softmax maps, which cancels what both give to irrelevant tokens.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <optional>

#include "aulos/attention/mixer.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/text.hpp"
#include "aulos/nn/norm.hpp"
#include "aulos/ops/activation.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/reduce.hpp"

namespace aulos::inline AULOS_ISA::attention {

// What lambda starts from in layer `depth`, counted from 0.
inline double differential_lambda_init(Index depth) { return 0.8 - 0.6 * std::exp(-0.3 * static_cast<double>(depth)); }

// Differential Transformer (Ye et al.), version 1. The heads of a projection are taken in pairs: 2H of q, 2G of k and
// of v, D wide each, make H heads that are 2D wide,
//     out_h = (1 - lambda_init) subln((softmax(q_2h k^T) - lambda softmax(q_2h+1 k^T)) v_h),
//     lambda = exp(lambda_q1 . lambda_k1) - exp(lambda_q2 . lambda_k2) + lambda_init,
// where query head s reads key head s / (H / G), so that with G < H a pair of queries may read one head of keys, and
// v_h is a pair of v's heads side by side. subln is the RMS norm of a head, its weight [2D] shared by all heads. It
// costs what ordinary attention of the same width costs, and once more the product with the values. Masks and scores of
// a call see the 2H heads of q.
template <Real T>
struct Differential {
  using value_type = T;
  static constexpr MixerTraits traits{.kind = MixerKind::differential,
                                      .causal = CausalForm::by_rule,
                                      .parameters = MixerParameters::owned,
                                      .streaming = StreamingForm::key_value_cache,
                                      .rules = RuleSet::any,
                                      .heads_per_result = 2};

  Parameter<T, 1> lambda_q1, lambda_k1, lambda_q2, lambda_k2;  // [D]
  nn::RmsNorm<T> subln;                                        // [2D]
  double lambda_init = 0;
  std::optional<double> scale{};  // of q k^T; absent: 1 / sqrt(D)

  Differential() = default;
  // For heads of the projection `width` wide, in layer `depth`, counted from 0.
  Differential(Index width, Index depth) : subln(2 * width, 1e-5), lambda_init(differential_lambda_init(depth)) {
    for (Parameter<T, 1>* p : {&lambda_q1, &lambda_k1, &lambda_q2, &lambda_k2}) *p = Parameter<T, 1>(Shape<1>{width});
  }

  // q [B, N_s, 2H, D], k and v [B, N_s, 2G, D] -> [B, N_s, H, 2D]. ConfigError where heads make no pairs, or are not of
  // the width that the mixer was made for.
  template <std::size_t Sides, class Mask = kernels::NoMask, class Score = kernels::NoScore>
  std::array<Tensor<T, 4>, Sides> operator()(const std::array<QueryKeyValue<T>, Sides>& sides, const Mask& mask = {},
                                             const Score& score = {}) const {
    std::array<Tensor<T, 4>, Sides> y = difference(sides, mask, score);
    Tensor<T, 1> weight;  // of the norm, with the constant factor behind it
    for (Tensor<T, 4>& out : y) {
      if (out.empty()) continue;
      if (weight.empty()) weight = aulos::scale(subln.weight.tensor(out), static_cast<T>(1 - lambda_init));
      out = rms_norm(out, weight, subln.eps);
    }
    return y;
  }

  // The same before the norm: weighted sums of values whose weights sum to 1 - lambda.
  template <std::size_t Sides, class Mask = kernels::NoMask, class Score = kernels::NoScore>
  std::array<Tensor<T, 4>, Sides> difference(std::array<QueryKeyValue<T>, Sides> sides, const Mask& mask = {},
                                             const Score& score = {}) const {
    for (QueryKeyValue<T>& side : sides) {
      check(side);
      if (!side.v.empty()) side.v = paired(side.v);
    }
    std::array<Tensor<T, 4>, Sides> y =
        joint_attention(sides, {.scale = scale, .value_heads = ValueHeads::own}, mask, score);
    Tensor<T, 4> factor;
    for (Tensor<T, 4>& out : y) {
      if (out.empty()) continue;
      if (factor.empty()) factor = lambda(out).reshape(Shape<4>{1, 1, 1, 1});
      const Tensor<T, 5> pairs =
          out.reshape(Shape<5>{out.extent(0), out.extent(1), out.extent(2) / 2, 2, out.extent(3)});
      out = subtract(pairs.select(3, 0), multiply(pairs.select(3, 1), factor));
    }
    return y;
  }

  // lambda [1], computed in the Context of x.
  template <int Rank>
  Tensor<T, 1> lambda(const Tensor<T, Rank>& x) const {
    const auto exp_dot = [&](const Parameter<T, 1>& q, const Parameter<T, 1>& k) {
      return apply(sum(multiply(q.tensor(x), k)), Activation::exp);
    };
    return aulos::scale(subtract(exp_dot(lambda_q1, lambda_k1), exp_dot(lambda_q2, lambda_k2)), T(1),
                        static_cast<T>(lambda_init));
  }

  void visit(auto&& v) {
    v("lambda_q1", lambda_q1);
    v("lambda_k1", lambda_k1);
    v("lambda_q2", lambda_q2);
    v("lambda_k2", lambda_k2);
    v("subln", subln);
  }

 private:
  // [B, N, 2G, D] as [B, N, G, 2D], a view.
  static Tensor<T, 4> paired(const Tensor<T, 4>& v) {
    return v.reshape(Shape<4>{v.extent(0), v.extent(1), v.extent(2) / 2, 2 * v.extent(3)});
  }

  void check(const QueryKeyValue<T>& side) const {
    const Index width = lambda_q1.count();
    if (width == 0) throw ConfigError("Differential: made without the width of its heads");
    const auto require = [&](const char* name, const Tensor<T, 4>& x) {
      if (x.empty() || (x.extent(2) % 2 == 0 && x.extent(3) == width)) return;
      throw ConfigError(concat_text(
          {"Differential: ", name, " ", x.any().dims(), ", expected an even number of heads, ", width, " wide"}));
    };
    require("q", side.q);
    require("k", side.k);
    require("v", side.v);
    if (!side.k.empty() && !side.v.empty() && side.k.extent(2) != side.v.extent(2))
      throw ConfigError(
          concat_text({"Differential: k ", side.k.any().dims(), " and v ", side.v.any().dims(), " differ in heads"}));
  }
};

}  // namespace aulos::inline AULOS_ISA::attention
