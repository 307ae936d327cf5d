// The dual-stream block of SD3, Flux and their relatives, under the names that diffusers gives its parts.
#pragma once

#include <array>
#include <cstddef>
#include <utility>

#include "aulos/attention/rotation.hpp"
#include "aulos/conditioning/modulation.hpp"
#include "aulos/core/config.hpp"
#include "aulos/nn/feed_forward.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/nn/norm.hpp"
#include "aulos/stream/stream_block.hpp"

namespace aulos::inline AULOS_ISA::models {

enum class TextStream { updated, read_only };  // read-only: SD3's last block

// Image and text, six modulation rows each from a linear of its own (read-only text: scale and shift), joint attention,
// two feed-forwards.
template <Real T, class Coupling = stream::Joint<>>
struct ImageTextBlock {
  using value_type = T;
  using Block =
      stream::StreamBlock<T, 2, nn::LayerNorm<T>, nn::PerHead<nn::RmsNorm<T>>, nn::Mlp<T>, stream::Gated, Coupling>;
  using Streams = typename Block::Streams;  // image [B, N, D], text [B, M, D]
  using Modulations = typename Block::Modulations;
  enum Stream : std::size_t { image, text };

  Block block;
  nn::Linear<T> norm1, norm1_context;  // modulation rows

  ImageTextBlock() = default;
  ImageTextBlock(Index width, const attention::SeparateQkv<T>& qkv, TextStream text_stream,
                 const Coupling& coupling = {})
      : norm1(width, 6 * width), norm1_context(width, (text_stream == TextStream::updated ? 6 : 2) * width) {
    block.coupling = coupling;
    for (auto& side : block.sides) {
      side.norm1 = side.norm2 = nn::LayerNorm<T>(width, 1e-6, nn::Affine::no);
      side.qkv = qkv;
      if (text_stream == TextStream::read_only && &side == &block.sides[text]) continue;
      side.to_out = nn::Linear<T>(width, width);
      side.ff = nn::Mlp<T>(width, 4 * width);
    }
  }

  // c [B, D]: the conditioning vector after its SiLU.
  template <class Rotation = attention::Unrotated>
  Streams operator()(Streams x, const Tensor<T, 2>& c, const Rotation& rotation = {}) const {
    return block(std::move(x), {rows(norm1, c), text_rows(c)}, rotation);
  }

  conditioning::StreamModulation<T> text_rows(const Tensor<T, 2>& c) const {
    if (block.sides[text].updated()) return rows(norm1_context, c);
    const auto row = conditioning::modulation_rows<2>(norm1_context, c);  // scale first
    return {{row[1], row[0], {}}, {}};
  }
  static conditioning::StreamModulation<T> rows(const nn::Linear<T>& linear, const Tensor<T, 2>& c) {
    const auto row = conditioning::modulation_rows<6>(linear, c);
    return {{row[0], row[1], row[2]}, {row[3], row[4], row[5]}};
  }

  void visit(auto&& v) {
    auto& im = block.sides[image];
    auto& tx = block.sides[text];
    v("norm1.linear", norm1);
    v("norm1_context.linear", norm1_context);
    v("attn.to_q", im.qkv.to_q);
    v("attn.to_k", im.qkv.to_k);
    v("attn.to_v", im.qkv.to_v);
    v("attn.add_q_proj", tx.qkv.to_q);
    v("attn.add_k_proj", tx.qkv.to_k);
    v("attn.add_v_proj", tx.qkv.to_v);
    v("attn.norm_q", im.qkv.norm_q);
    v("attn.norm_k", im.qkv.norm_k);
    v("attn.norm_added_q", tx.qkv.norm_q);
    v("attn.norm_added_k", tx.qkv.norm_k);
    v("attn.to_out.0", im.to_out);
    v("attn.to_add_out", tx.to_out);
    v("attn", block.coupling);
    v("ff.net.0.proj", im.ff.fc1);
    v("ff.net.2", im.ff.fc2);
    v("ff_context.net.0.proj", tx.ff.fc1);
    v("ff_context.net.2", tx.ff.fc2);
  }
};

}  // namespace aulos::inline AULOS_ISA::models
