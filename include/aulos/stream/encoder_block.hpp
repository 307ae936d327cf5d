// The pre-norm transformer block of one sequence: a stream block of one side, with the names that timm gives it.
#pragma once

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
#include "aulos/stream/stream_block.hpp"

namespace aulos::inline AULOS_ISA::stream {

struct EncoderShape {
  Index channels = 0;  // C, a multiple of heads
  Index heads = 0;
  Index hidden = 0;  // of the feed-forward
  double eps = 1e-6;
  nn::Affine affine = nn::Affine::yes;
  nn::Bias qkv_bias = nn::Bias::yes;
};

// x = x + attention(norm1(x)); x = x + mlp(norm2(x)), with a modulation where there is one: ViT (LayerScale as the
// residual rule: DeiT-III), DiT.
template <Real T, nn::TokenMap FeedForward = nn::Mlp<T, Activation::gelu>, Residual ResidualRule = Gated,
          class Coupling = Joint<>, attention::Projection<T> Projection = attention::FusedQkv<T, nn::NoQkNorm<T>>>
struct EncoderBlock {
  using value_type = T;
  using Block = StreamBlock<T, 1, nn::LayerNorm<T>, nn::NoQkNorm<T>, FeedForward, ResidualRule, Coupling, Projection>;
  using Modulation = conditioning::StreamModulation<T>;

  Block block;

  EncoderBlock() = default;
  explicit EncoderBlock(const EncoderShape& shape, const Coupling& coupling = {}) {
    block.coupling = coupling;
    auto& side = block.sides[0];
    side.norm1 = side.norm2 = nn::LayerNorm<T>(shape.channels, shape.eps, shape.affine);
    side.qkv = Projection(shape.channels, {shape.heads, shape.channels / shape.heads}, shape.qkv_bias);
    side.to_out = nn::Linear<T>(shape.channels, shape.channels);
    side.ff = FeedForward(shape.channels, shape.hidden);
  }

  // [B, N, C] -> [B, N, C]. `rotation` turns queries and keys; `rules` are the mixer's masks and scores.
  template <class Rotation = attention::Unrotated, class... Rules>
  Tensor<T, 3> operator()(Tensor<T, 3> x, const Modulation& m = {}, const Rotation& rotation = {},
                          const Rules&... rules) const {
    return std::move(block({std::move(x)}, {m}, rotation, rules...)[0]);
  }
  // Its halves, for models that put something between them. Not for residual rules that read the block's input.
  template <class Rotation = attention::Unrotated, class... Rules>
  Tensor<T, 3> attend(Tensor<T, 3> x, const Modulation& m = {}, const Rotation& rotation = {},
                      const Rules&... rules) const requires(!ResidualRule::reads_input) {
    return std::move(block.attend({std::move(x)}, {m}, rotation, rules...)[0]);
  }
  Tensor<T, 3> feed_forward(Tensor<T, 3> x, const Modulation& m = {}) const requires(!ResidualRule::reads_input) {
    return std::move(block.feed_forward({std::move(x)}, {m})[0]);
  }

  void visit(auto&& v) {
    auto& side = block.sides[0];
    v("norm1", side.norm1);
    v("attn", side.qkv);
    v("attn.proj", side.to_out);
    v("attn", block.coupling);
    v("ls1", side.after_attention);
    v("norm2", side.norm2);
    v("mlp", side.ff);
    v("ls2", side.after_mlp);
  }
};

}  // namespace aulos::inline AULOS_ISA::stream
