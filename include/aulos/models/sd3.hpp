// SD3 and SD3.5: the MM-DiT that predicts the velocity of an image latent from text. Esser et al., "Scaling Rectified
// Flow Transformers for High-Resolution Image Synthesis", 2024; parameter names are diffusers' (SD3Transformer2DModel).
#pragma once

#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "aulos/attention/multi_head_attention.hpp"
#include "aulos/conditioning/ada_layer_norm.hpp"
#include "aulos/conditioning/ada_layer_norm_zero_dual.hpp"
#include "aulos/conditioning/embeddings.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/context.hpp"
#include "aulos/models/image_text_block.hpp"
#include "aulos/models/sd3_checkpoint.hpp"
#include "aulos/models/sd3_config.hpp"
#include "aulos/nn/load.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/nn/patch_embed.hpp"
#include "aulos/ops/patch.hpp"
#include "aulos/stream/coupling.hpp"

namespace aulos::inline AULOS_ISA::models {

// One joint block. The last one of a model reads its text stream without updating it; with dual attention the image
// attends to itself a second time, on the same norm of the block's input.
template <Real T, class Coupling = stream::Joint<>>
struct SD3Block {
  using value_type = T;
  using Joint = ImageTextBlock<T, Coupling>;
  using Streams = typename Joint::Streams;  // image [B, N, D], text [B, M, D]

  Joint joint;
  std::optional<attention::MultiHeadAttention<T>> attn2;

  SD3Block() = default;
  SD3Block(const SD3Config& config, bool last, bool dual) {
    const Index width = config.width();
    const attention::HeadShape heads{config.num_attention_heads, config.attention_head_dim};
    nn::PerHead<nn::RmsNorm<T>> qk_norm;
    if (config.qk_norm == QkNormKind::rms_norm) qk_norm.norm = nn::RmsNorm<T>(config.attention_head_dim, 1e-6);
    const attention::SeparateQkv<T> qkv(width, width, heads, nn::Bias::yes, qk_norm);
    joint = Joint(width, qkv, last ? TextStream::read_only : TextStream::updated);
    if (!dual) return;
    joint.norm1 = nn::Linear<T>(width, 9 * width);
    attn2 = attention::MultiHeadAttention<T>{qkv, nn::Linear<T>(width, width), {}};
  }

  // c [B, D]: the conditioning vector after its SiLU.
  Streams operator()(Streams x, const Tensor<T, 2>& c) const {
    if (!attn2) return joint(std::move(x), c);
    const auto [stream, second] = conditioning::dual_modulation(conditioning::modulation_rows<9>(joint.norm1, c));
    const typename Joint::Modulations m{stream, joint.text_rows(c)};
    const Tensor<T, 3> h = joint.block.sides[Joint::image].norm1.modulated(x[Joint::image], second.shift, second.scale);
    x = joint.block.attend(std::move(x), m);
    x[Joint::image] = attn2->add_to(h, second.gate, std::move(x[Joint::image]));
    return joint.block.feed_forward(std::move(x), m);
  }

  void visit(auto&& v) {
    joint.visit(v);
    if (!attn2) return;
    v("attn2", attn2->projection);
    v("attn2.to_out.0", attn2->to_out);
  }
};

// latent [B, Cin, H, W], prompt [B, M, joint_attention_dim], pooled [B, pooled_projection_dim], timestep [B] in
// (0, 1000] -> velocity [B, Cout, H, W]. H and W are multiples of the patch size, at most pos_embed_max_size patches.
template <Real T>
struct SD3 {
  using value_type = T;
  using Config = SD3Config;

  Config config;
  nn::PatchEmbed<T> pos_embed;
  conditioning::TimestepTextEmbedding<T> time_text_embed;
  nn::Linear<T> context_embedder;
  std::vector<SD3Block<T>> transformer_blocks;
  conditioning::AdaLayerNormContinuous<T> norm_out;
  nn::Linear<T> proj_out;

  SD3() = default;
  explicit SD3(const Config& of)
      : config(of.checked()),
        pos_embed(of.in_channels, of.width(), of.patch_size, of.pos_embed_max_size),
        time_text_embed(of.pooled_projection_dim, of.width()),
        context_embedder(of.joint_attention_dim, of.width()),
        norm_out(of.width(), of.width(), nn::LayerNorm<T>(of.width(), 1e-6, nn::Affine::no)),
        proj_out(of.width(), of.patch_size * of.patch_size * of.out_channels) {
    for (Index i = 0; i < of.num_layers; ++i)
      transformer_blocks.emplace_back(of, i + 1 == of.num_layers, of.dual_attention(i));
  }

  // From a checkpoint with diffusers' names, or a published single file (joint_blocks..., alone or below
  // model.diffusion_model.). The configuration comes from the options, the file's metadata, or the shapes.
  static SD3 load(const std::string& path, const SD3LoadOptions& options = {}) {
    return load(io::Checkpoint::open(path, {.mode = options.mode}), options);
  }
  static SD3 load(const io::Checkpoint& checkpoint, const SD3LoadOptions& options = {}) {
    const CheckpointSource source = sd3_source(checkpoint, options.prefix);
    SD3 model(options.config ? *options.config : sd3_config_of(checkpoint, source));
    const io::LoadOptions load_options = options.of_parameters(source.prefix);
    if (source.layout == CheckpointLayout::single_file) {
      const Index last = model.config.num_layers - 1;
      nn::load_parameters(model, checkpoint, load_options,
                          [last](const std::string& name) { return sd3_single_file_name(name, last); });
    } else {
      nn::load_parameters(model, checkpoint, load_options);
    }
    model.derive_buffers();
    return model;
  }

  // With diffusers' names, and the configuration as `config` in the metadata.
  void save(const std::string& path, Dtype dtype = dtype_of<T>) const {
    nn::save_parameters(*this, path, dtype, {{"format", "pt"}, {"config", config.to_json()}});
  }

  // Computes the table of positions where it has no values yet.
  void derive_buffers() {
    if (!pos_embed.pos_embed.ready()) pos_embed.derive_positions(config.sample_size / config.patch_size);
  }

  Tensor<T, 4> operator()(Context& context, Input<T, 4> latent, Input<T, 3> prompt, Input<T, 2> pooled,
                          Input<T, 1> timestep) const {
    const Tensor<T, 4> z = std::move(latent).in(context);
    const Index rows = z.extent(2) / config.patch_size;
    const Index columns = z.extent(3) / config.patch_size;
    Tensor<T, 3> x = pos_embed(z);
    const Tensor<T, 2> c = silu(time_text_embed(std::move(timestep).in(context), std::move(pooled).in(context)));
    typename SD3Block<T>::Streams streams{std::move(x), context_embedder(std::move(prompt).in(context))};
    for (std::size_t i = 0; i < transformer_blocks.size(); ++i) {
      const Scope scope(context.scopes(), "transformer_blocks", static_cast<Index>(i));
      streams = transformer_blocks[i](std::move(streams), c);
    }
    x = proj_out(norm_out(streams[0], c));
    return unpatchify(x, rows, columns, config.patch_size, PatchOrder::channel_last);
  }

  void visit(auto&& v) {
    v("pos_embed", pos_embed);
    v("time_text_embed", time_text_embed);
    v("context_embedder", context_embedder);
    v("transformer_blocks", transformer_blocks);
    v("norm_out", norm_out);
    v("proj_out", proj_out);
  }
};

}  // namespace aulos::inline AULOS_ISA::models
