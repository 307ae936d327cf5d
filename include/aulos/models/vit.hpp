// ViT and its DeiT forms: an image as a sequence of patches. Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021;
// parameter names are timm's (VisionTransformer, VisionTransformerDistilled).
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "aulos/conditioning/token_mean.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/context.hpp"
#include "aulos/models/vit_config.hpp"
#include "aulos/nn/load.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/nn/patch_embed.hpp"
#include "aulos/stream/encoder_block.hpp"

namespace aulos::inline AULOS_ISA::models {

// The pre-norm block with erf GELU and, where the configuration has initial values for it, LayerScale.
template <Real T, class Coupling = stream::Joint<>>
using ViTBlock = stream::EncoderBlock<T, nn::Mlp<T, Activation::gelu>, stream::LayerScale<T>, Coupling>;

template <Real T>
ViTBlock<T> vit_block(const ViTConfig& c) {
  ViTBlock<T> block({.channels = c.embed_dim,
                     .heads = c.num_heads,
                     .hidden = c.mlp_hidden(),
                     .eps = c.eps,
                     .qkv_bias = c.qkv_bias ? nn::Bias::yes : nn::Bias::no});
  auto& side = block.block.sides[0];
  if (c.init_values) side.after_attention = side.after_mlp = stream::LayerScale<T>(c.embed_dim);
  return block;
}

// image [B, Cin, S, S] -> logits [B, classes].
template <Real T>
struct ViT {
  using value_type = T;
  using Config = ViTConfig;

  Config config;
  Parameter<T, 3> cls_token, dist_token;  // [1, 1, C], or absent
  Parameter<T, 3> pos_embed;              // [1, N, C], with or without rows for the tokens before the patches
  nn::PatchProjection<T> patch_embed;
  nn::LayerNorm<T> norm_pre, norm, fc_norm;  // before the blocks; after them; after the mean instead
  std::vector<ViTBlock<T>> blocks;
  nn::Linear<T> head, head_dist;

  ViT() = default;
  explicit ViT(const Config& of)
      : config(of.checked()),
        pos_embed(Shape<3>{1, of.positions(), of.embed_dim}),
        patch_embed(of.in_chans, of.embed_dim, of.patch_size, of.pre_norm ? nn::Bias::no : nn::Bias::yes) {
    const Index width = of.embed_dim;
    if (of.class_token) cls_token = Parameter<T, 3>(Shape<3>{1, 1, width});
    if (of.distilled) dist_token = Parameter<T, 3>(Shape<3>{1, 1, width});
    if (of.pre_norm) norm_pre = nn::LayerNorm<T>(width, of.eps);
    (of.global_pool == GlobalPool::avg ? fc_norm : norm) = nn::LayerNorm<T>(width, of.eps);
    for (Index i = 0; i < of.depth; ++i) blocks.push_back(vit_block<T>(of));
    if (of.num_classes > 0) head = nn::Linear<T>(width, of.num_classes);
    if (of.num_classes > 0 && of.distilled) head_dist = nn::Linear<T>(width, of.num_classes);
  }

  // From a checkpoint with timm's names. The configuration comes from the options, the file's metadata, or the shapes.
  static ViT load(const std::string& path, const ViTLoadOptions& options = {}) {
    return load(io::Checkpoint::open(path, {.mode = options.mode}), options);
  }
  static ViT load(const io::Checkpoint& checkpoint, const ViTLoadOptions& options = {}) {
    ViT model(options.config ? *options.config : vit_config_of(checkpoint, options.prefix));
    nn::load_parameters(model, checkpoint, options.of_parameters());
    return model;
  }
  // With timm's names, and the configuration as `config` in the metadata.
  void save(const std::string& path, Dtype dtype = dtype_of<T>) const {
    nn::save_parameters(*this, path, dtype, {{"format", "pt"}, {"config", config.to_json()}});
  }

  // The tokens after the blocks, those before the patches first: [B, prefix + N, C]. Normed unless the head pools them.
  Tensor<T, 3> features(Context& context, Input<T, 4> image) const {
    Tensor<T, 3> x = embed(std::move(image).in(context));
    if (!norm_pre.weight.empty()) x = norm_pre(x);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const Scope scope(context.scopes(), "blocks", static_cast<Index>(i));
      x = blocks[i](std::move(x));
    }
    return norm.weight.empty() ? x : norm(x);
  }

  // Without a head the pooled features, [B, C]; of a distilled model the mean of both tokens.
  Tensor<T, 2> operator()(Context& context, Input<T, 4> image) const {
    const Tensor<T, 3> x = features(context, std::move(image));
    const auto token = [&](Index i) { return x.slice(1, i, i + 1).reshape(Shape<2>{x.extent(0), x.extent(2)}); };
    const auto classify = [](const nn::Linear<T>& layer, const Tensor<T, 2>& y) {
      return layer.empty() ? y : layer(y);
    };
    if (config.global_pool == GlobalPool::avg)
      return classify(head, fc_norm(conditioning::mean_tokens(x.slice(1, config.prefix_tokens(), x.extent(1)))));
    const Tensor<T, 2> y = classify(head, token(0));
    if (!config.distilled) return y;
    return linear_combination(std::array{y, classify(head_dist, token(1))}, {T(0.5), T(0.5)});
  }

  void visit(auto&& v) {
    v("cls_token", cls_token);
    v("dist_token", dist_token);
    v("pos_embed", pos_embed);
    v("patch_embed.proj", patch_embed);
    v("norm_pre", norm_pre);
    v("blocks", blocks);
    v("norm", norm);
    v("fc_norm", fc_norm);
    v("head", head);
    v("head_dist", head_dist);
  }

 private:
  // The tokens of the patches with their positions, behind the class and distillation tokens.
  Tensor<T, 3> embed(const Tensor<T, 4>& image) const {
    if (image.extent(2) != config.img_size || image.extent(3) != config.img_size)
      throw ShapeError("vit: image " + to_string(image.shape()) + ", expected height and width " +
                       std::to_string(config.img_size));
    Tensor<T, 3> x = patch_embed(image);
    const auto before = [&](const Parameter<T, 3>& token) {
      if (token.empty()) return;
      const Tensor<T, 3> repeated = token.tensor().broadcast(Shape<3>{x.extent(0), 1, x.extent(2)});
      x = concat(std::array{repeated, x}, 1);
    };
    if (config.no_embed_class) x = add(x, pos_embed);
    before(dist_token);
    before(cls_token);
    return config.no_embed_class ? x : add(x, pos_embed);
  }
};

}  // namespace aulos::inline AULOS_ISA::models
