// The parallel block: attention and feed-forward read the same modulated norm, and one linear takes both results back.
// Flux's and HunyuanVideo's single-stream blocks; ViT-22B and GPT-J without modulation.
#pragma once

#include <array>
#include <cstddef>
#include <utility>

#include "aulos/attention/qkv.hpp"
#include "aulos/attention/rotation.hpp"
#include "aulos/conditioning/modulation.hpp"
#include "aulos/core/config.hpp"
#include "aulos/nn/feed_forward.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/nn/norm.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/stream/coupling.hpp"

namespace aulos::inline AULOS_ISA::stream {

// x + gate * to_out([attention(h), hidden(h)]), h = norm(x) (1 + scale) + shift; [B, N, C] in and out. `Hidden` maps
// tokens to the feed-forward's hidden channels.
template <Real T, nn::NormLayer Norm = nn::LayerNorm<T>, nn::QkNormOf<T> QkNorm = nn::PerHead<nn::RmsNorm<T>>,
          class Hidden = nn::HiddenLayer<T>, class Coupling = SelfOnly<>>
requires CouplingOf<Coupling, T, 1>
struct ParallelBlock {
  using value_type = T;

  Norm norm;
  attention::SeparateQkv<T, QkNorm> qkv;
  Hidden hidden;
  nn::Linear<T> to_out;  // [C, H D + F]: the attention's columns first
  Coupling coupling;

  template <class Rotation = attention::Unrotated, class... Rules>
  Tensor<T, 3> operator()(Tensor<T, 3> x, const conditioning::Modulation<T>& m, const Rotation& rotation = {},
                          const Rules&... rules) const {
    const Tensor<T, 3> h = norm.modulated(x, m.shift, m.scale);
    const SidesOf<T, 1> tokens{rotation(0, qkv(h))};
    const Tensor<T, 3> mixed = attention::merge_heads(coupling(tokens, rules...)[0]);
    return to_out.add_to(concat(std::array<Tensor<T, 3>, 2>{mixed, hidden(h)}, 2), m.gate, std::move(x));
  }
};

}  // namespace aulos::inline AULOS_ISA::stream
