// The configuration of ViT, with timm's field names, the published variants, and what a checkpoint tells of it.
#pragma once

#include <optional>
#include <string>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/io/json.hpp"
#include "aulos/io/safetensors.hpp"
#include "aulos/models/checkpoint_shapes.hpp"
#include "aulos/models/config_fields.hpp"

namespace aulos::inline AULOS_ISA::models {

// What the head reads: the first token, or the mean of the patches.
enum class GlobalPool { token, avg };

struct ViTConfig {
  static constexpr const char* name = "vit";

  Index img_size = 224;
  Index patch_size = 16;
  Index in_chans = 3;
  Index num_classes = 1000;  // 0: no head, the pooled features are the result
  GlobalPool global_pool = GlobalPool::token;
  Index embed_dim = 768;
  Index depth = 12;
  Index num_heads = 12;
  double mlp_ratio = 4;
  bool qkv_bias = true;
  std::optional<double> init_values = {};  // where LayerScale starts; null: there is none
  bool class_token = true;
  bool no_embed_class = false;  // positions for the patches alone (DeiT-III)
  bool pre_norm = false;        // a norm before the first block, and no bias of the patch projection (CLIP)
  double eps = 1e-6;
  bool distilled = false;  // a second token with a head of its own; the result is the mean (DeiT)

  Index mlp_hidden() const noexcept { return static_cast<Index>(static_cast<double>(embed_dim) * mlp_ratio); }
  Index patches() const noexcept { return (img_size / patch_size) * (img_size / patch_size); }
  Index prefix_tokens() const noexcept { return (class_token ? 1 : 0) + (distilled ? 1 : 0); }
  Index positions() const noexcept { return no_embed_class ? patches() : patches() + prefix_tokens(); }

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f("img_size", c.img_size);
    f("patch_size", c.patch_size);
    f("in_chans", c.in_chans);
    f("num_classes", c.num_classes);
    constexpr Spelling<GlobalPool> pools[] = {{GlobalPool::token, "token"}, {GlobalPool::avg, "avg"}};
    f("global_pool", c.global_pool, pools);
    f("embed_dim", c.embed_dim);
    f("depth", c.depth);
    f("num_heads", c.num_heads);
    f("mlp_ratio", c.mlp_ratio);
    f("qkv_bias", c.qkv_bias);
    f("init_values", c.init_values);
    f("class_token", c.class_token);
    f("no_embed_class", c.no_embed_class);
    f("pre_norm", c.pre_norm);
    f("eps", c.eps);
    f("distilled", c.distilled);
  }

  // Itself, or ConfigError naming the field that can't be.
  const ViTConfig& checked() const {
    ViTConfig counts = *this;
    if (counts.num_classes == 0) counts.num_classes = 1;
    fields(counts, FieldChecker(name));
    check_multiple(name, "img_size", img_size, "patch_size = ", patch_size);
    check_multiple(name, "embed_dim", embed_dim, "num_heads = ", num_heads);
    const auto fail = [](const std::string& text) { throw ConfigError("vit: " + text); };
    if (!(mlp_ratio > 0) || mlp_hidden() < 1)
      fail("mlp_ratio is " + std::to_string(mlp_ratio) + ", expected at least one hidden channel");
    if (!(eps > 0)) fail("eps is " + std::to_string(eps) + ", expected > 0");
    if (!class_token && (distilled || global_pool == GlobalPool::token))
      fail(std::string("class_token is false, expected true with ") +
           (distilled ? "distilled" : "global_pool \"token\""));
    if (distilled && global_pool != GlobalPool::token)
      fail("global_pool is \"avg\", expected \"token\" with distilled");
    return *this;
  }

  // From JSON with timm's names. Absent fields keep timm's defaults.
  static ViTConfig from_json(const io::json::Value& json) { return config_of_fields<ViTConfig>(json); }
  std::string to_json() const { return json_of_fields(*this); }
  // Blocks of a model, each of which has tensors of its own.
  double blocks() const noexcept { return static_cast<double>(depth); }

  bool operator==(const ViTConfig&) const = default;

  // Published models with patches of 16 and 1000 classes: 5,717,416, 22,050,664, 86,567,656, 304,326,632 parameters.
  static ViTConfig vit_tiny() { return {.embed_dim = 192, .num_heads = 3}; }
  static ViTConfig vit_small() { return {.embed_dim = 384, .num_heads = 6}; }
  static ViTConfig vit_base() { return {}; }
  static ViTConfig vit_large() { return {.embed_dim = 1024, .depth = 24, .num_heads = 16}; }
  // Patches of 14: 632,045,800.
  static ViTConfig vit_huge() { return {.patch_size = 14, .embed_dim = 1280, .depth = 32, .num_heads = 16}; }
  // DeiT with a distillation token: 5,910,800, 22,436,432 and 87,338,192.
  static ViTConfig deit_distilled(ViTConfig of = vit_base()) {
    of.distilled = true;
    return of;
  }
  // DeiT-III, of ViT-B 86,585,320.
  static ViTConfig deit3(ViTConfig of = vit_base()) {
    of.no_embed_class = true;
    of.init_values = 1e-6;
    return of;
  }
};

using ViTLoadOptions = ModelLoadOptions<ViTConfig>;

// The configuration: `config` in the metadata, else what the shapes tell. Heads they tell for the published models
// only; ConfigError names a field that stays open. The eps is timm's: 1e-6, and 1e-5 with pre_norm.
inline ViTConfig vit_config_of(const io::Checkpoint& checkpoint, const std::string& prefix = {}) {
  if (const auto config = config_in_metadata<ViTConfig>(checkpoint)) return *config;
  const CheckpointShapes shapes("vit", checkpoint, prefix);
  ViTConfig c;
  c.embed_dim = shapes.extent("patch_embed.proj.weight", 0, "embed_dim");
  c.in_chans = shapes.extent("patch_embed.proj.weight", 1, "in_chans");
  c.patch_size = shapes.extent("patch_embed.proj.weight", 2, "patch_size");
  c.num_classes = shapes.has("head.weight") ? shapes.extent("head.weight", 0, "num_classes") : 0;
  c.depth = shapes.count("blocks.", ".attn.qkv.weight");
  c.mlp_ratio = mlp_ratio(shapes.extent("blocks.0.mlp.fc1.weight", 0, "mlp_ratio"), c.embed_dim);
  c.qkv_bias = shapes.has("blocks.0.attn.qkv.bias");
  if (shapes.has("blocks.0.ls1.gamma")) c.init_values = 1e-5;  // timm's default; a trained model has moved from it
  c.class_token = shapes.has("cls_token");
  c.distilled = shapes.has("dist_token");
  c.pre_norm = shapes.has("norm_pre.weight");
  if (c.pre_norm) c.eps = 1e-5;
  c.global_pool = shapes.has("fc_norm.weight") ? GlobalPool::avg : GlobalPool::token;

  const Index positions = shapes.extent("pos_embed", 1, "img_size");
  const Index of_all = square_side(positions - c.prefix_tokens());
  const Index of_patches = square_side(positions);
  c.no_embed_class = of_all == 0;
  if (c.no_embed_class && of_patches == 0)
    shapes.open("img_size", "pos_embed has " + std::to_string(positions) + " rows, no square of patches");
  c.img_size = (c.no_embed_class ? of_patches : of_all) * c.patch_size;

  if (c.embed_dim == 1280)
    c.num_heads = 16;
  else if (c.embed_dim == 192 || c.embed_dim == 384 || c.embed_dim == 768 || c.embed_dim == 1024)
    c.num_heads = c.embed_dim / 64;
  else
    shapes.open("num_heads", "the shapes allow several");
  return c.checked();
}

}  // namespace aulos::inline AULOS_ISA::models
