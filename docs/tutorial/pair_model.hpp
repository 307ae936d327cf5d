// docs/tutorial/pair_model.py in C++.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "aulos/conditioning/embeddings.hpp"
#include "aulos/conditioning/modulation.hpp"
#include "aulos/core/scope.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/ops/activation.hpp"
#include "aulos/stream/stream_block.hpp"
#include "snake.hpp"

namespace tutorial {

using aulos::Tensor;

// The feed-forward of a stream: Linear, Snake, Linear.
template <aulos::Real T>
struct SnakeMlp {
  using value_type = T;

  aulos::nn::Linear<T> fc1, fc2;
  aulos::Parameter<T, 1> alpha;

  SnakeMlp() = default;
  SnakeMlp(Index channels, Index hidden)
      : fc1(channels, hidden), fc2(hidden, channels), alpha(aulos::Shape<1>{hidden}) {}

  bool empty() const noexcept { return fc1.empty(); }
  Tensor<T, 3> operator()(const Tensor<T, 3>& x) const { return fc2(snake(fc1(x), alpha)); }
  // residual + gate * mlp(x), in one pass.
  Tensor<T, 3> add_to(const Tensor<T, 3>& x, const Tensor<T, 3>& gate, Tensor<T, 3>&& residual) const {
    return fc2.add_to(snake(fc1(x), alpha), gate, std::move(residual));
  }
  void visit(auto&& v) {
    v("0", fc1);
    v("1.alpha", alpha);
    v("2", fc2);
  }
};

struct PairConfig {
  Index video_in = 8, audio_in = 4, video = 24, audio = 16, cond = 16, heads = 2, head_dim = 8, depth = 2;
};

// Video and audio, coupled by joint attention, each modulated by the conditioning vector.
template <aulos::Real T>
struct PairBlock {
  using value_type = T;
  using Norm = aulos::nn::LayerNorm<T>;
  using Block = aulos::stream::StreamBlock<T, 2, Norm, aulos::nn::PerHead<aulos::nn::RmsNorm<T>>, SnakeMlp<T>,
                                           aulos::stream::Gated, aulos::stream::Joint<>, aulos::attention::FusedQkv<T>>;
  using Streams = typename Block::Streams;  // video [B, N, C], audio [B, M, C']

  Block block;
  std::array<aulos::nn::Linear<T>, 2> ada;

  PairBlock() = default;
  explicit PairBlock(const PairConfig& config) {
    const std::array widths{config.video, config.audio};
    for (std::size_t s = 0; s < 2; ++s) {
      const Index width = widths[s], inner = config.heads * config.head_dim;
      auto& side = block.sides[s];
      side.norm1 = side.norm2 = Norm(width, 1e-6, aulos::nn::Affine::no);
      side.qkv = aulos::attention::FusedQkv<T>(width, {.heads = config.heads, .width = config.head_dim},
                                               aulos::nn::Bias::no, {aulos::nn::RmsNorm<T>(config.head_dim, 1e-6)});
      side.to_out = aulos::nn::Linear<T>(inner, width);
      side.ff = SnakeMlp<T>(width, 4 * width);
      ada[s] = aulos::nn::Linear<T>(config.cond, 6 * width);
    }
  }

  // c [B, cond], after its SiLU.
  Streams operator()(Streams x, const Tensor<T, 2>& c) const {
    const auto rows = [&](std::size_t s) {
      return aulos::conditioning::stream_modulation(aulos::conditioning::modulation_rows<6>(ada[s], c));
    };
    return block(std::move(x), {rows(0), rows(1)});
  }

  void visit(auto&& v) {
    const std::array<std::string, 2> names{"video", "audio"};
    for (std::size_t s = 0; s < 2; ++s) {
      auto& side = block.sides[s];
      v(names[s] + ".ada.1", ada[s]);
      v(names[s] + ".qkv", side.qkv.qkv);
      v(names[s] + ".q_norm", side.qkv.norm_q);
      v(names[s] + ".k_norm", side.qkv.norm_k);
      v(names[s] + ".proj", side.to_out);
      v(names[s] + ".mlp", side.ff);
    }
  }
};

template <aulos::Real T>
struct PairModel {
  using value_type = T;
  using Streams = typename PairBlock<T>::Streams;

  aulos::conditioning::TimestepEmbedding<T> time;
  aulos::nn::Linear<T> video_in, audio_in, video_out, audio_out;
  std::vector<PairBlock<T>> blocks;

  PairModel() = default;
  explicit PairModel(const PairConfig& config)
      : time(config.cond, {.width = config.cond}, 1000, aulos::conditioning::sequential_names),
        video_in(config.video_in, config.video),
        audio_in(config.audio_in, config.audio),
        video_out(config.video, config.video_in),
        audio_out(config.audio, config.audio_in),
        blocks(static_cast<std::size_t>(config.depth), PairBlock<T>(config)) {}

  // video [B, N, video_in], audio [B, M, audio_in], t [B] in [0, 1] -> the two velocities. Tensors, or anything of
  // Eigen that has the rank.
  Streams operator()(aulos::Context& context, aulos::Input<T, 3> video, aulos::Input<T, 3> audio,
                     aulos::Input<T, 1> t) const {
    const Tensor<T, 2> c = silu(time(std::move(t).in(context)));
    Streams x{video_in(std::move(video).in(context)), audio_in(std::move(audio).in(context))};
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const aulos::Scope scope(context.scopes(), "blocks", static_cast<Index>(i));
      x = blocks[i](std::move(x), c);
    }
    return {video_out(x[0]), audio_out(x[1])};
  }

  void visit(auto&& v) {
    v("time", time);
    v("video_in", video_in);
    v("audio_in", audio_in);
    v("blocks", blocks);
    v("video_out", video_out);
    v("audio_out", audio_out);
  }
};

}  // namespace tutorial
