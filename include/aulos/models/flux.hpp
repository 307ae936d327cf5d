// Flux: dual-stream blocks, then single-stream blocks, that predict the velocity of a packed image latent from text.
// Black Forest Labs, FLUX.1, 2024; parameter names are diffusers' (FluxTransformer2DModel).
#pragma once

#include <array>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aulos/attention/rotation.hpp"
#include "aulos/conditioning/ada_layer_norm.hpp"
#include "aulos/conditioning/embeddings.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/context.hpp"
#include "aulos/core/error.hpp"
#include "aulos/models/flux_checkpoint.hpp"
#include "aulos/models/flux_config.hpp"
#include "aulos/models/image_text_block.hpp"
#include "aulos/nn/load.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/rope.hpp"
#include "aulos/stream/parallel_block.hpp"

namespace aulos::inline AULOS_ISA::models {

// Norms of queries and keys and the projections of both kinds of blocks.
template <Real T>
attention::SeparateQkv<T> flux_qkv(const FluxConfig& config) {
  const nn::PerHead<nn::RmsNorm<T>> norm{nn::RmsNorm<T>(config.attention_head_dim, 1e-6)};
  return {config.width(), config.width(), {config.num_attention_heads, config.attention_head_dim}, nn::Bias::yes, norm};
}

// Tables for the text and for the image from their coordinates [tokens, 3].
template <Real T>
attention::Rotated<T, 2> flux_rotation(const FluxConfig& config, const Tensor<T, 2>& image_ids,
                                       const Tensor<T, 2>& text_ids) {
  const std::span<const Index> axes(config.axes_dims_rope.data(), config.axes_dims_rope.size());
  return {{rope_table(image_ids, axes), rope_table(text_ids, axes)}, RopePairs::interleaved};
}

// A single-stream block, of the tokens of text and image together.
template <Real T>
struct FluxSingleBlock {
  using value_type = T;

  stream::ParallelBlock<T> block;
  nn::Linear<T> norm;  // modulation rows: shift, scale, gate

  FluxSingleBlock() = default;
  explicit FluxSingleBlock(const FluxConfig& config, double mlp_ratio = 4) : norm(config.width(), 3 * config.width()) {
    const Index width = config.width();
    const Index hidden = static_cast<Index>(mlp_ratio * static_cast<double>(width));
    block.norm = nn::LayerNorm<T>(width, 1e-6, nn::Affine::no);
    block.qkv = flux_qkv<T>(config);
    block.hidden.proj = nn::Linear<T>(width, hidden);
    block.to_out = nn::Linear<T>(width + hidden, width);
  }

  // c [B, D]: the conditioning vector after its SiLU.
  Tensor<T, 3> operator()(Tensor<T, 3> x, const Tensor<T, 2>& c, const attention::Rotated<T, 1>& rotation) const {
    const auto row = conditioning::modulation_rows<3>(norm, c);
    return block(std::move(x), {row[0], row[1], row[2]}, rotation);
  }

  void visit(auto&& v) {
    v("norm.linear", norm);
    v("attn", block.qkv);
    v("proj_mlp", block.hidden.proj);
    v("proj_out", block.to_out);
  }
};

// The vector of time, pooled text and, for distilled models, the guidance strength.
template <Real T>
struct FluxTimeTextEmbedding {
  conditioning::VectorEmbedding<T> timestep_embedder, guidance_embedder, text_embedder;

  FluxTimeTextEmbedding() = default;
  explicit FluxTimeTextEmbedding(const FluxConfig& c)
      : timestep_embedder(SinusoidOptions{}.width, c.width()), text_embedder(c.pooled_projection_dim, c.width()) {
    if (c.guidance_embeds) guidance_embedder = {SinusoidOptions{}.width, c.width()};
  }

  // timestep, guidance [B], pooled [B, P] -> [B, D]; times are in [0, 1], and so many thousandths inside.
  Tensor<T, 2> operator()(const Tensor<T, 1>& timestep, const Tensor<T, 1>& guidance,
                          const Tensor<T, 2>& pooled) const {
    Tensor<T, 2> c = timestep_embedder(sinusoid(scale(timestep, T{1000}), {}));
    if (guidance_embedder.linear_1.empty() != guidance.empty())
      throw ShapeError(guidance.empty() ? "flux: guidance is empty, but the model has guidance_embeds"
                                        : "flux: guidance is given, but the model has no guidance_embeds");
    if (!guidance.empty()) c = add(c, guidance_embedder(sinusoid(scale(guidance, T{1000}), {})));
    return add(c, text_embedder(pooled));
  }

  void visit(auto&& v) {
    v("timestep_embedder", timestep_embedder);
    v("guidance_embedder", guidance_embedder);
    v("text_embedder", text_embedder);
  }
  bool operator==(const FluxTimeTextEmbedding&) const = default;
};

template <Real T>
struct Flux {
  using value_type = T;
  using Config = FluxConfig;

  Config config;
  nn::Linear<T> x_embedder, context_embedder;
  FluxTimeTextEmbedding<T> time_text_embed;
  std::vector<ImageTextBlock<T>> transformer_blocks;
  std::vector<FluxSingleBlock<T>> single_transformer_blocks;
  conditioning::AdaLayerNormContinuous<T> norm_out;
  nn::Linear<T> proj_out;

  Flux() = default;
  explicit Flux(const Config& of)
      : config(of.checked()),
        x_embedder(of.in_channels, of.width()),
        context_embedder(of.joint_attention_dim, of.width()),
        time_text_embed(of),
        norm_out(of.width(), of.width(), nn::LayerNorm<T>(of.width(), 1e-6, nn::Affine::no)),
        proj_out(of.width(), of.patch_size * of.patch_size * of.out_channels) {
    for (Index i = 0; i < of.num_layers; ++i)
      transformer_blocks.emplace_back(of.width(), flux_qkv<T>(of), TextStream::updated);
    for (Index i = 0; i < of.num_single_layers; ++i) single_transformer_blocks.emplace_back(of);
  }

  // From a checkpoint with diffusers' names, or a published single file (double_blocks..., alone or below
  // model.diffusion_model.). The configuration comes from the options, the file's metadata, or the shapes.
  static Flux load(const std::string& path, const FluxLoadOptions& options = {}) {
    return load(io::Checkpoint::open(path, {.mode = options.mode}), options);
  }
  static Flux load(const io::Checkpoint& checkpoint, const FluxLoadOptions& options = {}) {
    const CheckpointSource source = flux_source(checkpoint, options.prefix);
    Flux model(options.config ? *options.config : flux_config_of(checkpoint, source));
    const io::LoadOptions load_options = options.of_parameters(source.prefix);
    nn::load_parameters(model, checkpoint, load_options, [&](const std::string& name) {
      return source.layout == CheckpointLayout::single_file ? flux_single_file_name(name, 4)
                                                            : nn::StoredAs{.name = name};
    });
    return model;
  }

  // With diffusers' names, and the configuration as `config` in the metadata.
  void save(const std::string& path, Dtype dtype = dtype_of<T>) const {
    nn::save_parameters(*this, path, dtype, {{"format", "pt"}, {"config", config.to_json()}});
  }

  // latent [B, N, Cin] packed, prompt [B, M, joint_attention_dim], pooled [B, pooled_projection_dim], timestep [B] in
  // [0, 1], coordinates of the latent's and the prompt's tokens [N, 3], [M, 3], guidance [B] where the model has it
  // -> velocity [B, N, Cout], packed.
  Tensor<T, 3> operator()(Context& context, Input<T, 3> latent, Input<T, 3> prompt, Input<T, 2> pooled,
                          Input<T, 1> timestep, Input<T, 2> image_ids, Input<T, 2> text_ids,
                          Tensor<T, 1> guidance = {}) const {
    const Tensor<T, 3> z = std::move(latent).in(context);
    const Index image_tokens = z.extent(1);
    const Tensor<T, 2> c =
        silu(time_text_embed(std::move(timestep).in(context), guidance, std::move(pooled).in(context)));
    const attention::Rotated<T, 2> rotation =
        flux_rotation(config, std::move(image_ids).in(context), std::move(text_ids).in(context));
    typename ImageTextBlock<T>::Streams streams{x_embedder(z), context_embedder(std::move(prompt).in(context))};
    for (std::size_t i = 0; i < transformer_blocks.size(); ++i) {
      const Scope scope(context.scopes(), "transformer_blocks", static_cast<Index>(i));
      streams = transformer_blocks[i](std::move(streams), c, rotation);
    }
    const attention::Rotated<T, 1> joined{{joined_table(rotation)}, rotation.pairs};
    Tensor<T, 3> x = concat(std::array<Tensor<T, 3>, 2>{streams[1], streams[0]}, 1);
    streams = {};
    for (std::size_t i = 0; i < single_transformer_blocks.size(); ++i) {
      const Scope scope(context.scopes(), "single_transformer_blocks", static_cast<Index>(i));
      x = single_transformer_blocks[i](std::move(x), c, joined);
    }
    x = x.slice(1, x.extent(1) - image_tokens, x.extent(1));
    return proj_out(norm_out(x, c));
  }

  // Text first, as the tokens of the single blocks stand.
  static RopeTable<T> joined_table(const attention::Rotated<T, 2>& rotation) {
    const auto& [image, text] = rotation.tables;
    return {concat(std::array<Tensor<T, 4>, 2>{text.cos, image.cos}, 1),
            concat(std::array<Tensor<T, 4>, 2>{text.sin, image.sin}, 1)};
  }

  void visit(auto&& v) {
    v("x_embedder", x_embedder);
    v("context_embedder", context_embedder);
    v("time_text_embed", time_text_embed);
    v("transformer_blocks", transformer_blocks);
    v("single_transformer_blocks", single_transformer_blocks);
    v("norm_out", norm_out);
    v("proj_out", proj_out);
  }
};

}  // namespace aulos::inline AULOS_ISA::models
