// The configuration of Flux, with diffusers' field names, and the published variants.
#pragma once

#include <array>
#include <string>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/io/json.hpp"
#include "aulos/models/config_fields.hpp"

namespace aulos::inline AULOS_ISA::models {

struct FluxConfig {
  Index patch_size = 1;
  Index in_channels = 64;
  Index out_channels = 64;
  Index num_layers = 19;
  Index num_single_layers = 38;
  Index attention_head_dim = 128;
  Index num_attention_heads = 24;
  Index joint_attention_dim = 4096;
  Index pooled_projection_dim = 768;
  bool guidance_embeds = false;
  std::array<Index, 3> axes_dims_rope = {16, 56, 56};  // channels of a head that turn with each coordinate

  Index width() const noexcept { return num_attention_heads * attention_head_dim; }

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f("patch_size", c.patch_size);
    f("in_channels", c.in_channels);
    f("num_layers", c.num_layers);
    f("num_single_layers", c.num_single_layers);
    f("attention_head_dim", c.attention_head_dim);
    f("num_attention_heads", c.num_attention_heads);
    f("joint_attention_dim", c.joint_attention_dim);
    f("pooled_projection_dim", c.pooled_projection_dim);
    f("guidance_embeds", c.guidance_embeds);
  }

  // Itself, or ConfigError naming the field that can't be.
  const FluxConfig& checked() const {
    fields(*this, FieldChecker("flux"));
    FieldChecker("flux")("out_channels", out_channels);
    Index turned = 0;
    for (const Index width : axes_dims_rope) {
      if (width < 0 || width % 2 != 0)
        throw ConfigError("flux: axes_dims_rope holds " + std::to_string(width) + ", expected even numbers");
      turned += width;
    }
    if (turned != attention_head_dim)
      throw ConfigError("flux: axes_dims_rope sums to " + std::to_string(turned) + ", expected attention_head_dim, " +
                        std::to_string(attention_head_dim));
    return *this;
  }

  void set_axes(const io::json::Value& json) {
    const auto& items = json.items();
    if (items.size() != axes_dims_rope.size())
      throw ConfigError("flux: axes_dims_rope has " + std::to_string(items.size()) + " entries, expected 3");
    for (std::size_t i = 0; i < items.size(); ++i) axes_dims_rope[i] = items[i].as<Index>("axes_dims_rope");
  }

  // From the JSON of diffusers' config.json, or of a checkpoint's metadata. Absent fields keep diffusers' defaults.
  static FluxConfig from_json(const io::json::Value& json) {
    FluxConfig c;
    fields(c, FieldReader("flux", json));
    const io::json::Value* out = json.find("out_channels");
    c.out_channels = out == nullptr || out->is_null() ? c.in_channels : out->as<Index>("out_channels");
    if (const io::json::Value* axes = json.find("axes_dims_rope"); axes != nullptr && !axes->is_null())
      c.set_axes(*axes);
    return c.checked();
  }

  // Blocks of a model, each of which has tensors of its own.
  double blocks() const noexcept { return static_cast<double>(num_layers) + static_cast<double>(num_single_layers); }

  std::string to_json() const {
    io::json::Writer json;
    json.begin_object();
    json.key("_class_name");
    json.value("FluxTransformer2DModel");
    const FieldWriter field(json);
    fields(*this, field);
    field("out_channels", out_channels);
    json.key("axes_dims_rope");
    json.begin_array();
    for (const Index width : axes_dims_rope) json.value(width);
    json.end_array();
    json.end_object();
    return json.take();
  }

  bool operator==(const FluxConfig&) const = default;

  // Published transformers: 11,901,408,320 and 11,891,178,560 parameters.
  static FluxConfig flux1_dev() { return {.guidance_embeds = true}; }
  static FluxConfig flux1_schnell() { return {}; }
};

}  // namespace aulos::inline AULOS_ISA::models
