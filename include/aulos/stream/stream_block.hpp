// The stream block: S token streams with weights and widths of their own, coupled by one attention, conditioned by
// modulation rows. Who produces the rows and what the streams are is the model's business.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <utility>

#include "aulos/attention/qkv.hpp"
#include "aulos/attention/rotation.hpp"
#include "aulos/conditioning/modulation.hpp"
#include "aulos/core/config.hpp"
#include "aulos/nn/feed_forward.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/nn/norm.hpp"
#include "aulos/stream/coupling.hpp"
#include "aulos/stream/residual.hpp"

namespace aulos::inline AULOS_ISA::stream {

// What one stream owns in a block. A stream without to_out is read by the others (keys and values) but not updated; one
// without ff has no feed-forward. Widths, biases, eps and the absence of parts are data.
template <Real T, nn::NormLayer Norm, attention::Projection<T> Projection, nn::TokenMap FeedForward,
          Residual ResidualRule>
struct StreamSide {
  Norm norm1, norm2;
  Projection qkv;
  nn::Linear<T> to_out;
  FeedForward ff;
  ResidualRule after_attention, after_mlp;

  bool updated() const noexcept { return !to_out.empty(); }
};

// x_s -> attention of all sides -> feed-forward of each side. Streams in, streams out, in the same order; a stream that
// is not updated comes out as it went in. Empty modulation rows mean the plain norm and no gate, so that a block of one
// side is the pre-norm encoder block too. QkNorm is that of the default projection; another brings its own.
template <Real T, std::size_t Sides, nn::NormLayer Norm = nn::LayerNorm<T>,
          nn::QkNormOf<T> QkNorm = nn::PerHead<nn::RmsNorm<T>>, nn::TokenMap FeedForward = nn::Mlp<T>,
          Residual ResidualRule = Gated, class Coupling = Joint<>,
          attention::Projection<T> Projection = attention::SeparateQkv<T, QkNorm>>
requires CouplingOf<Coupling, T, Sides>
struct StreamBlock {
  using value_type = T;
  using Side = StreamSide<T, Norm, Projection, FeedForward, ResidualRule>;
  using Streams = std::array<Tensor<T, 3>, Sides>;  // [B, N_s, C_s]
  using Modulations = std::array<conditioning::StreamModulation<T>, Sides>;

  std::array<Side, Sides> sides;
  Coupling coupling;

  template <class Rotation = attention::Unrotated, class... Rules>
  Streams operator()(Streams x, const Modulations& m, const Rotation& rotation = {}, const Rules&... rules) const {
    const Streams input = ResidualRule::reads_input ? x : Streams{};
    return feed_forward(attend(std::move(x), m, rotation, rules...), m, input);
  }

  // The attention sublayer. `rotation` turns queries and keys; `rules` are the mixer's masks and scores, over the joint
  // sequence.
  template <class Rotation = attention::Unrotated, class... Rules>
  Streams attend(Streams x, const Modulations& m, const Rotation& rotation = {}, const Rules&... rules) const {
    SidesOf<T, Sides> tokens;
    for (std::size_t s = 0; s < Sides; ++s) {
      const Tensor<T, 3> h = sides[s].norm1.modulated(x[s], m[s].attention.shift, m[s].attention.scale);
      tokens[s] = rotation(s, sides[s].updated() ? sides[s].qkv(h) : sides[s].qkv.keys_only(h));
    }
    Mixed<T, Sides> mixed = coupling(tokens, rules...);
    for (std::size_t s = 0; s < Sides; ++s) {
      if (!sides[s].updated()) continue;
      const Tensor<T, 3> h = attention::merge_heads(mixed[s]);
      const Tensor<T, 3> input = ResidualRule::reads_input ? x[s] : Tensor<T, 3>{};
      x[s] = sides[s].after_attention(sides[s].to_out, h, m[s].attention.gate, std::move(x[s]), input);
    }
    return x;
  }

  // The feed-forward sublayer of every stream; `input` is what the block received, for residual rules that read it.
  Streams feed_forward(Streams x, const Modulations& m, const Streams& input = {}) const {
    for (std::size_t s = 0; s < Sides; ++s) {
      if (sides[s].ff.empty()) continue;
      const Tensor<T, 3> h = sides[s].norm2.modulated(x[s], m[s].mlp.shift, m[s].mlp.scale);
      x[s] = sides[s].after_mlp(sides[s].ff, h, m[s].mlp.gate, std::move(x[s]), input[s]);
    }
    return x;
  }
};

}  // namespace aulos::inline AULOS_ISA::stream
