// The linear mixer: attention by features of queries and keys, whose cost grows with the tokens, not with their square.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <utility>

#include "aulos/attention/mixer.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/text.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/linear_attention.hpp"

namespace aulos::inline AULOS_ISA::attention {

// phi of queries and keys: elu(x) + 1 (Katharopoulos et al.) or relu(x) (EfficientViT, SANA).
enum class LinearFeature { elu_plus_one, relu };

// out_i = sum_j (phi(q_i) . phi(k_j)) v_j / (sum_j phi(q_i) . phi(k_j) + eps), over all keys, or in the causal form
// over those up to i in the joint sequence. With relu the features of a query and of all keys may share no channel:
// then the result is 0. Pairs have no scores of their own, so that of all masks only those of whole keys can be given;
// any other rule does not compile.
struct Linear {
  static constexpr MixerTraits traits{.kind = MixerKind::linear,
                                      .causal = CausalForm::by_option,
                                      .complexity = Complexity::linear,
                                      .streaming = StreamingForm::state,
                                      .rules = RuleSet::keys};

  LinearFeature feature = LinearFeature::elu_plus_one;
  kernels::LinearForm form = kernels::LinearForm::full;
  double eps = 1e-6;

  template <Real T>
  using State = LinearAttentionState<T>;

  // q, k [B, N_s, H, D], v [B, N_s, H, E] -> [B, N_s, H, E]. Keys are as many heads as queries, or ConfigError. In the
  // causal form every side has queries and keys.
  template <Real T, std::size_t Sides>
  std::array<Tensor<T, 4>, Sides> operator()(const std::array<QueryKeyValue<T>, Sides>& sides) const {
    return mixed(sides, LinearAttentionExtras<T>{});
  }
  template <Real T, std::size_t Sides>
  std::array<Tensor<T, 4>, Sides> operator()(const std::array<QueryKeyValue<T>, Sides>& sides,
                                             const KeepKeys& keys) const {
    return mixed(sides, LinearAttentionExtras<T>{.keep = keys.keep});
  }

  // One or more further tokens of a causal sequence. A full form has no such thing: ConfigError.
  template <Real T>
  Tensor<T, 4> step(State<T>& state, const QueryKeyValue<T>& tokens) const {
    if (form != kernels::LinearForm::causal)
      throw ConfigError("Linear: step() goes on with a sequence, which is the causal form, not the full one");
    check_heads(tokens.q, tokens.k);
    auto result = linear_attention_with_state(tokens.q, tokens.k, tokens.v, options(), {.initial = std::move(state)});
    state = std::move(result.last);
    return std::move(result.out);
  }

  void visit(auto&&) {}

 private:
  LinearAttentionOptions options() const {
    return {.form = form,
            .eps = eps,
            .feature = feature == LinearFeature::relu ? FeatureMap::relu : FeatureMap::elu_plus_one};
  }

  template <Real T>
  static void check_heads(const Tensor<T, 4>& q, const Tensor<T, 4>& k) {
    if (!q.empty() && !k.empty() && q.extent(2) != k.extent(2))
      throw ConfigError(concat_text({"Linear: q ", q.any().dims(), " and k ", k.any().dims(),
                                     " differ in heads; linear attention has no groups of keys"}));
  }

  template <Real T, std::size_t Sides>
  std::array<Tensor<T, 4>, Sides> mixed(const std::array<QueryKeyValue<T>, Sides>& sides,
                                        LinearAttentionExtras<T> extras) const {
    for (const auto& side : sides) {
      if (form == kernels::LinearForm::causal && (side.q.empty() || side.k.empty()))
        throw ConfigError("Linear: in the causal form every side needs queries and keys");
    }
    const Tensor<T, 4> q = joined(sides, &QueryKeyValue<T>::q), k = joined(sides, &QueryKeyValue<T>::k);
    check_heads(q, k);
    const Tensor<T, 4> out = linear_attention(q, k, joined(sides, &QueryKeyValue<T>::v), options(), std::move(extras));
    std::array<Tensor<T, 4>, Sides> parts;
    Index first = 0;
    for (std::size_t s = 0; s < Sides; ++s) {
      if (sides[s].q.empty()) continue;
      const Index end = first + sides[s].q.extent(1);
      parts[s] = out.slice(1, first, end);
      first = end;
    }
    return parts;
  }

  // What the sides have of q, k or v, one after the other along the tokens.
  template <Real T, std::size_t Sides>
  static Tensor<T, 4> joined(const std::array<QueryKeyValue<T>, Sides>& sides, Tensor<T, 4> QueryKeyValue<T>::*part) {
    std::array<AnyTensor<T>, Sides> present;
    std::size_t count = 0;
    for (const auto& side : sides)
      if (const Tensor<T, 4>& x = side.*part; !x.empty()) present[count++] = x.any();
    if (count < 2) return Tensor<T, 4>(std::move(present[0]));
    return Tensor<T, 4>(any::concat<T>(std::span<const AnyTensor<T>>(present.data(), count), 1));
  }
};

}  // namespace aulos::inline AULOS_ISA::attention
