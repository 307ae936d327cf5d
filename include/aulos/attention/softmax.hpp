// The softmax mixer.
#pragma once

#include <array>
#include <cstddef>

#include "aulos/attention/mixer.hpp"
#include "aulos/core/config.hpp"
#include "aulos/ops/attention.hpp"

namespace aulos::inline AULOS_ISA::attention {

// softmax(scale q k^T) v. Masks and scores are function objects of the call.
struct Softmax {
  static constexpr MixerTraits traits{.kind = MixerKind::softmax,
                                      .causal = CausalForm::by_rule,
                                      .streaming = StreamingForm::key_value_cache,
                                      .rules = RuleSet::any};

  AttentionOptions options{};

  // q [B, N_s, H, D], k [B, N_s, G, D], v [B, N_s, G, E] -> [B, N_s, H, E].
  template <Real T, std::size_t Sides, class Mask = kernels::NoMask, class Score = kernels::NoScore>
  std::array<Tensor<T, 4>, Sides> operator()(const std::array<QueryKeyValue<T>, Sides>& sides, const Mask& mask = {},
                                             const Score& score = {}) const {
    return joint_attention(sides, options, mask, score);
  }

  void visit(auto&&) {}
};

}  // namespace aulos::inline AULOS_ISA::attention
