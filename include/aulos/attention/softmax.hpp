// The softmax mixer.
#pragma once

#include <array>
#include <cstddef>

#include "aulos/core/config.hpp"
#include "aulos/ops/attention.hpp"

namespace aulos::inline AULOS_ISA::attention {

// What a mixer is: queries, keys and values of S sides in, results of the sides that have queries out, as if the sides
// were one sequence. Every block of stream/ and path/ takes one as a type.
template <class M, class T, std::size_t Sides>
concept Mixer = requires(const M& mixer, const std::array<QueryKeyValue<T>, Sides>& sides) {
  { mixer(sides) } -> std::same_as<std::array<Tensor<T, 4>, Sides>>;
};

// softmax(scale q k^T) v. Masks and scores are function objects of the call.
struct Softmax {
  AttentionOptions options;

  template <Real T, std::size_t Sides, class Mask = kernels::NoMask, class Score = kernels::NoScore>
  std::array<Tensor<T, 4>, Sides> operator()(const std::array<QueryKeyValue<T>, Sides>& sides, const Mask& mask = {},
                                             const Score& score = {}) const {
    return joint_attention(sides, options, mask, score);
  }
};

}  // namespace aulos::inline AULOS_ISA::attention
