// The configuration of SD3 and SD3.5, with diffusers' field names, and the published variants.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/io/json.hpp"
#include "aulos/models/config_fields.hpp"

namespace aulos::inline AULOS_ISA::models {

enum class QkNormKind { none, rms_norm };

struct SD3Config {
  Index sample_size = 128;
  Index patch_size = 2;
  Index in_channels = 16;
  Index out_channels = 16;
  Index num_layers = 18;
  Index attention_head_dim = 64;
  Index num_attention_heads = 18;
  Index joint_attention_dim = 4096;
  Index pooled_projection_dim = 2048;
  Index pos_embed_max_size = 96;
  QkNormKind qk_norm = QkNormKind::none;
  std::vector<Index> dual_attention_layers = {};

  // The width of both streams.
  Index width() const noexcept { return num_attention_heads * attention_head_dim; }
  bool dual_attention(Index layer) const noexcept {
    return std::find(dual_attention_layers.begin(), dual_attention_layers.end(), layer) != dual_attention_layers.end();
  }

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f("sample_size", c.sample_size);
    f("patch_size", c.patch_size);
    f("in_channels", c.in_channels);
    f("out_channels", c.out_channels);
    f("num_layers", c.num_layers);
    f("attention_head_dim", c.attention_head_dim);
    f("num_attention_heads", c.num_attention_heads);
    f("joint_attention_dim", c.joint_attention_dim);
    f("pooled_projection_dim", c.pooled_projection_dim);
    f("pos_embed_max_size", c.pos_embed_max_size);
    constexpr Spelling<QkNormKind> norms[] = {{QkNormKind::none, ""}, {QkNormKind::rms_norm, "rms_norm"}};
    f("qk_norm", c.qk_norm, norms);
  }

  // Itself, or ConfigError naming the field that can't be.
  const SD3Config& checked() const {
    fields(*this, FieldChecker("sd3"));
    if (width() % 4 != 0)
      throw ConfigError("sd3: num_attention_heads * attention_head_dim is " + std::to_string(width()) +
                        ", expected a multiple of 4 (the table of positions)");
    for (Index layer : dual_attention_layers)
      if (layer < 0 || layer >= num_layers)
        throw ConfigError("sd3: dual_attention_layers names layer " + std::to_string(layer) + " of " +
                          std::to_string(num_layers));
    return *this;
  }

  // From the JSON of diffusers' config.json, or of a checkpoint's metadata. Absent fields keep diffusers' defaults.
  static SD3Config from_json(const io::json::Value& json) {
    SD3Config c;
    fields(c, FieldReader("sd3", json));
    c.out_channels = json.get_or<Index>("out_channels", c.in_channels);
    const Index caption = json.get_or<Index>("caption_projection_dim", c.width());
    if (caption != c.width())
      throw ConfigError("sd3: caption_projection_dim is " + std::to_string(caption) +
                        ", expected num_attention_heads * attention_head_dim = " + std::to_string(c.width()));
    if (const io::json::Value* layers = json.find("dual_attention_layers"); layers != nullptr && !layers->is_null())
      for (const io::json::Value& layer : layers->items())
        c.dual_attention_layers.push_back(layer.as<Index>("dual_attention_layers"));
    return c.checked();
  }

  // Blocks of a model, each of which has tensors of its own.
  double blocks() const noexcept { return static_cast<double>(num_layers); }

  std::string to_json() const {
    io::json::Writer json;
    json.begin_object();
    json.key("_class_name");
    json.value("SD3Transformer2DModel");
    const FieldWriter field(json);
    fields(*this, field);
    field("caption_projection_dim", width());
    json.key("dual_attention_layers");
    json.begin_array();
    for (Index layer : dual_attention_layers) json.value(layer);
    json.end_array();
    json.end_object();
    return json.take();
  }

  bool operator==(const SD3Config&) const = default;

  // Published transformers: 2,028,328,000, 2,243,171,520 and 8,056,627,520 parameters.
  static SD3Config sd3_medium() { return {.num_layers = 24, .num_attention_heads = 24, .pos_embed_max_size = 192}; }
  static SD3Config sd35_medium() {
    return {.num_layers = 24,
            .num_attention_heads = 24,
            .pos_embed_max_size = 384,
            .qk_norm = QkNormKind::rms_norm,
            .dual_attention_layers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}};
  }
  static SD3Config sd35_large() {
    return {.num_layers = 38, .num_attention_heads = 38, .pos_embed_max_size = 192, .qk_norm = QkNormKind::rms_norm};
  }
};

}  // namespace aulos::inline AULOS_ISA::models
