// DiT: the transformer that predicts the noise of an image latent from a class label. Peebles & Xie, "Scalable
// Diffusion Models with Transformers", 2023; parameter names are those of the published code.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "aulos/attention/multi_head_attention.hpp"
#include "aulos/conditioning/ada_layer_norm.hpp"
#include "aulos/conditioning/embeddings.hpp"
#include "aulos/conditioning/label_embedding.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/context.hpp"
#include "aulos/diffusion/guidance.hpp"
#include "aulos/models/dit_config.hpp"
#include "aulos/nn/load.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/nn/patch_embed.hpp"
#include "aulos/ops/patch.hpp"
#include "aulos/stream/encoder_block.hpp"

namespace aulos::inline AULOS_ISA::models {

// What conditions a block: silu(t + y) [B, C] where it is modulated, the tokens t, y [B, 2, C] where they are read.
template <Real T>
struct DiTCondition {
  Tensor<T, 2> vector;
  Tensor<T, 3> tokens;
};

template <Real T, class Coupling = stream::Joint<>>
struct DiTBlock {
  using value_type = T;

  stream::EncoderBlock<T, nn::Mlp<T>, stream::Gated, Coupling> block;
  conditioning::AdaLayerNormZero<T> ada_zero;  // one of these two is present where the block is modulated
  conditioning::AdaLayerNorm<T> ada;
  nn::LayerNorm<T> norm_cross;
  std::optional<attention::MultiHeadAttention<T, attention::FusedKv<T>>> cross_attn;

  DiTBlock() = default;
  explicit DiTBlock(const DiTConfig& c) {
    const Index width = c.hidden_size;
    const bool zero = c.conditioning == DiTConditioning::adaln_zero;
    const bool modulated = zero || c.conditioning == DiTConditioning::adaln;
    block = decltype(block)({.channels = width,
                             .heads = c.num_heads,
                             .hidden = c.mlp_hidden(),
                             .affine = modulated ? nn::Affine::no : nn::Affine::yes});
    if (zero)
      ada_zero = conditioning::AdaLayerNormZero<T>(width, width);
    else if (modulated)
      ada = conditioning::AdaLayerNorm<T>(width, width);
    if (c.conditioning == DiTConditioning::cross_attention) {
      norm_cross = nn::LayerNorm<T>(width, 1e-6);
      cross_attn.emplace();
      cross_attn->projection = attention::FusedKv<T>(width, width, {c.num_heads, width / c.num_heads});
      cross_attn->to_out = nn::Linear<T>(width, width);
    }
  }

  Tensor<T, 3> operator()(Tensor<T, 3> x, const DiTCondition<T>& c) const {
    if (!ada_zero.linear.empty()) return block(std::move(x), ada_zero(c.vector));
    if (!ada.linear.empty()) return block(std::move(x), ada(c.vector));
    if (!cross_attn) return block(std::move(x));
    x = block.attend(std::move(x));
    const Tensor<T, 3> h = norm_cross(x);
    x = cross_attn->add_cross_to(h, c.tokens, {}, std::move(x));
    return block.feed_forward(std::move(x));
  }

  void visit(auto&& v) {
    block.visit(v);
    v("norm_cross", norm_cross);
    if (cross_attn) {
      v("cross_attn", cross_attn->projection);
      v("cross_attn.proj", cross_attn->to_out);
    }
    v("adaLN_modulation.1", ada_zero.linear);
    v("adaLN_modulation.1", ada.linear);
  }
};

// The last norm, modulated or affine, and the projection to patches.
template <Real T>
struct DiTFinalLayer {
  using value_type = T;

  conditioning::AdaLayerNormContinuous<T> norm_final;  // without its linear where the norm is affine
  nn::Linear<T> linear;

  DiTFinalLayer() = default;
  DiTFinalLayer(const DiTConfig& c, Index out) : linear(c.hidden_size, out) {
    const Index width = c.hidden_size;
    if (c.conditioning == DiTConditioning::adaln_zero || c.conditioning == DiTConditioning::adaln)
      norm_final = {width, width, nn::LayerNorm<T>(width, 1e-6, nn::Affine::no), conditioning::FinalOrder::shift_scale};
    else
      norm_final.norm = nn::LayerNorm<T>(width, 1e-6);
  }

  Tensor<T, 3> operator()(const Tensor<T, 3>& x, const DiTCondition<T>& c) const {
    return linear(norm_final.linear.empty() ? norm_final.norm(x) : norm_final(x, c.vector));
  }
  void visit(auto&& v) {
    v("norm_final", norm_final.norm);
    v("adaLN_modulation.1", norm_final.linear);
    v("linear", linear);
  }
};

// Everything between the tokens of the latent and those of the result.
template <Real T>
struct DiTTransformer {
  using value_type = T;

  DiTConditioning conditioning = DiTConditioning::adaln_zero;
  std::vector<DiTBlock<T>> blocks;
  DiTFinalLayer<T> final_layer;

  DiTTransformer() = default;
  DiTTransformer(const DiTConfig& c, Index out) : conditioning(c.conditioning), final_layer(c, out) {
    for (Index i = 0; i < c.depth; ++i) blocks.emplace_back(c);
  }

  // x [B, N, C]; t and y [B, C]: the embedded time and label -> [B, N, out].
  Tensor<T, 3> operator()(Context& context, Tensor<T, 3> x, const Tensor<T, 2>& t, const Tensor<T, 2>& y) const {
    const Index tokens = x.extent(1);
    const bool modulated = conditioning == DiTConditioning::adaln_zero || conditioning == DiTConditioning::adaln;
    DiTCondition<T> c;
    if (modulated)
      c.vector = silu(add(t, y));
    else
      c.tokens = concat(std::array{t.unsqueeze(1), y.unsqueeze(1)}, 1);
    const bool in_context = conditioning == DiTConditioning::in_context;
    if (in_context) x = concat(std::array{x, c.tokens}, 1);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const Scope scope(context.scopes(), "blocks", static_cast<Index>(i));
      x = blocks[i](std::move(x), c);
    }
    return final_layer(in_context ? x.slice(1, 0, tokens) : x, c);
  }

  void visit(auto&& v) {
    v("blocks", blocks);
    v("final_layer", final_layer);
  }
};

// latent [B, Cin, S, S], timestep [B] in 0 .. 999, labels [B] in 0 .. classes (the last: none) -> [B, Cout, S, S]:
// the noise and, with learn_sigma, where its variance lies (see diffusion/gaussian_diffusion.hpp).
template <Real T>
struct DiT {
  using value_type = T;
  using Config = DiTConfig;

  Config config;
  nn::PatchEmbed<T> x_embedder;
  conditioning::TimestepEmbedding<T> t_embedder;
  conditioning::LabelEmbedding<T> y_embedder;
  DiTTransformer<T> transformer;

  DiT() = default;
  explicit DiT(const Config& of)
      : config(of.checked()),
        x_embedder(of.in_channels, of.hidden_size, of.patch_size, of.input_size / of.patch_size),
        t_embedder(of.hidden_size, {}, 1, conditioning::mlp_names),
        y_embedder(of.num_classes, of.hidden_size, of.class_dropout_prob),
        transformer(of, of.patch_size * of.patch_size * of.out_channels()) {}

  // From a checkpoint with the official names. The configuration comes from the options, the file's metadata, or the
  // shapes.
  static DiT load(const std::string& path, const DiTLoadOptions& options = {}) {
    return load(io::Checkpoint::open(path, {.mode = options.mode}), options);
  }
  static DiT load(const io::Checkpoint& checkpoint, const DiTLoadOptions& options = {}) {
    DiT model(options.config ? *options.config : dit_config_of(checkpoint, options.prefix));
    nn::load_parameters(model, checkpoint, options.of_parameters());
    model.derive_buffers();
    return model;
  }
  // With the official names, and the configuration as `config` in the metadata.
  void save(const std::string& path, Dtype dtype = dtype_of<T>) const {
    nn::save_parameters(*this, path, dtype, {{"format", "pt"}, {"config", config.to_json()}});
  }

  // Computes the table of positions where it has no values yet.
  void derive_buffers() {
    if (!x_embedder.pos_embed.ready()) x_embedder.derive_positions(x_embedder.table_side);
  }

  Tensor<T, 4> operator()(Context& context, Input<T, 4> latent, Input<T, 1> timestep,
                          Input<std::int64_t, 1> labels) const {
    const Tensor<T, 4> z = std::move(latent).in(context);
    const Tensor<T, 1> t = std::move(timestep).in(context);
    const Tensor<std::int64_t, 1> y = std::move(labels).in(context);
    const Index side = x_embedder.table_side;
    if (z.extent(2) != config.input_size || z.extent(3) != config.input_size)
      throw ShapeError("dit: latent " + to_string(z.shape()) + ", expected height and width " +
                       std::to_string(config.input_size));
    if (t.extent(0) != z.extent(0) || y.extent(0) != z.extent(0))
      throw ShapeError("dit: timestep " + to_string(t.shape()) + " and labels " + to_string(y.shape()) +
                       " for latent " + to_string(z.shape()) + ", expected one each for every sample");
    const Tensor<T, 3> out = transformer(context, x_embedder(z), t_embedder(t), y_embedder(y));
    return unpatchify(out, side, side, config.patch_size, PatchOrder::channel_last);
  }

  // Classifier-free guidance: a batch of which the second half is the first with labels of no class (its latents are
  // taken from the first half). The first `guided_channels` are guided, as published 3 of 4.
  Tensor<T, 4> forward_with_cfg(Context& context, Input<T, 4> latent, Input<T, 1> timestep,
                                Input<std::int64_t, 1> labels, double scale, Index guided_channels = 3) const {
    const Tensor<T, 4> z = std::move(latent).in(context);
    const Tensor<T, 4> half = z.slice(0, 0, z.extent(0) / 2);
    const Tensor<T, 4> out =
        (*this)(context, concat(std::array{half, half}, 0), std::move(timestep), std::move(labels));
    return diffusion::guide_halves(out, scale, guided_channels);
  }

  void visit(auto&& v) {
    v("x_embedder.proj", x_embedder.proj);
    v("pos_embed", x_embedder.pos_embed, nn::Role::derived_buffer);
    v("t_embedder", t_embedder);
    v("y_embedder", y_embedder);
    transformer.visit(v);
  }
};

}  // namespace aulos::inline AULOS_ISA::models
