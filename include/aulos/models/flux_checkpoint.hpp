// The layouts in which Flux checkpoints exist, and the configuration that their shapes tell.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/io/safetensors.hpp"
#include "aulos/models/checkpoint_shapes.hpp"
#include "aulos/models/flux_config.hpp"
#include "aulos/nn/load.hpp"

namespace aulos::inline AULOS_ISA::models {

using FluxLoadOptions = ModelLoadOptions<FluxConfig>;

inline CheckpointSource flux_source(const io::Checkpoint& checkpoint, const std::string& prefix) {
  return checkpoint_source(checkpoint, prefix, "img_in.weight");
}

// Where a published single file keeps the parameter that diffusers calls `name`: projections are fused, in the single
// blocks with the feed-forward's, and the final modulation has the shift first. `mlp` is F / D.
inline nn::StoredAs flux_single_file_name(const std::string& name, Index mlp) {
  struct Part {
    std::string_view from, to;
    Index parts = 1;
    Index part = 0;
  };
  static constexpr std::array<Part, 11> outer{{
      {"time_text_embed.timestep_embedder.linear_1.", "time_in.in_layer."},
      {"time_text_embed.timestep_embedder.linear_2.", "time_in.out_layer."},
      {"time_text_embed.guidance_embedder.linear_1.", "guidance_in.in_layer."},
      {"time_text_embed.guidance_embedder.linear_2.", "guidance_in.out_layer."},
      {"time_text_embed.text_embedder.linear_1.", "vector_in.in_layer."},
      {"time_text_embed.text_embedder.linear_2.", "vector_in.out_layer."},
      {"context_embedder.", "txt_in."},
      {"x_embedder.", "img_in."},
      {"proj_out.", "final_layer.linear."},
      {"transformer_blocks.", "double_blocks."},
      {"single_transformer_blocks.", "single_blocks."},
  }};
  static constexpr std::array<Part, 18> twin{{
      {"norm1.linear.", "img_mod.lin."},
      {"norm1_context.linear.", "txt_mod.lin."},
      {"attn.to_q.", "img_attn.qkv.", 3, 0},
      {"attn.to_k.", "img_attn.qkv.", 3, 1},
      {"attn.to_v.", "img_attn.qkv.", 3, 2},
      {"attn.add_q_proj.", "txt_attn.qkv.", 3, 0},
      {"attn.add_k_proj.", "txt_attn.qkv.", 3, 1},
      {"attn.add_v_proj.", "txt_attn.qkv.", 3, 2},
      {"attn.norm_q.weight", "img_attn.norm.query_norm.scale"},
      {"attn.norm_k.weight", "img_attn.norm.key_norm.scale"},
      {"attn.norm_added_q.weight", "txt_attn.norm.query_norm.scale"},
      {"attn.norm_added_k.weight", "txt_attn.norm.key_norm.scale"},
      {"attn.to_out.0.", "img_attn.proj."},
      {"attn.to_add_out.", "txt_attn.proj."},
      {"ff.net.0.proj.", "img_mlp.0."},
      {"ff.net.2.", "img_mlp.2."},
      {"ff_context.net.0.proj.", "txt_mlp.0."},
      {"ff_context.net.2.", "txt_mlp.2."},
  }};
  const std::array<Part, 8> single{{
      {"norm.linear.", "modulation.lin."},
      {"attn.to_q.", "linear1.", 3 + mlp, 0},
      {"attn.to_k.", "linear1.", 3 + mlp, 1},
      {"attn.to_v.", "linear1.", 3 + mlp, 2},
      {"proj_mlp.", "linear1.", 3 + mlp, 3},
      {"attn.norm_q.weight", "norm.query_norm.scale"},
      {"attn.norm_k.weight", "norm.key_norm.scale"},
      {"proj_out.", "linear2."},
  }};
  const auto starts = [](std::string_view text, std::string_view with) { return text.substr(0, with.size()) == with; };
  const auto find = [&](std::span<const Part> table, std::string_view text) {
    const Part* found = nullptr;
    for (const Part& part : table)
      if (found == nullptr && starts(text, part.from)) found = &part;
    return found;
  };
  if (starts(name, "norm_out.linear."))
    return {.name = "final_layer.adaLN_modulation.1." + name.substr(16), .parts = 2, .take = {1, 0}};
  const Part* place = find(outer, name);
  if (place == nullptr) return {.name = name};
  std::string rest = name.substr(place->from.size());
  const std::string start(place->to);
  if (start != "double_blocks." && start != "single_blocks.") return {.name = start + rest};
  const std::size_t dot = rest.find('.') + 1;
  const std::string block = start + rest.substr(0, dot);
  rest = rest.substr(dot);
  const bool is_single = start == "single_blocks.";
  const Part* part = is_single ? find(single, rest) : find(twin, rest);
  if (part == nullptr) return {.name = name};
  nn::StoredAs stored{.name = block + std::string(part->to) + rest.substr(part->from.size()), .parts = part->parts};
  if (part->parts > 1) {
    const Index count = part->from == "proj_mlp." ? mlp : 1;
    stored.take.clear();
    for (Index i = 0; i < count; ++i) stored.take.push_back(part->part + i);
  }
  return stored;
}

// The configuration: `config` in the metadata, else what the shapes tell. ConfigError names a field that stays open.
inline FluxConfig flux_config_of(const io::Checkpoint& checkpoint, const CheckpointSource& source) {
  if (const auto config = config_in_metadata<FluxConfig>(checkpoint)) return *config;
  const bool single = source.layout == CheckpointLayout::single_file;
  const CheckpointShapes shapes("flux", checkpoint, source.prefix);
  const auto name_of = [&](const std::string& name) { return single ? flux_single_file_name(name, 4).name : name; };
  const auto extent = [&](const std::string& name, std::size_t axis, const char* field) {
    return shapes.extent(name_of(name), axis, field);
  };
  FluxConfig c;
  const Index width = extent("x_embedder.weight", 0, "num_attention_heads");
  c.in_channels = extent("x_embedder.weight", 1, "in_channels");
  c.out_channels = extent("proj_out.weight", 0, "out_channels");
  c.joint_attention_dim = extent("context_embedder.weight", 1, "joint_attention_dim");
  c.pooled_projection_dim = extent("time_text_embed.text_embedder.linear_1.weight", 1, "pooled_projection_dim");
  c.guidance_embeds = shapes.has(name_of("time_text_embed.guidance_embedder.linear_1.weight"));
  c.num_layers = shapes.count(single ? "double_blocks." : "transformer_blocks.",
                              single ? ".img_attn.norm.query_norm.scale" : ".attn.norm_q.weight");
  c.num_single_layers = shapes.count(single ? "single_blocks." : "single_transformer_blocks.",
                                     single ? ".norm.query_norm.scale" : ".attn.norm_q.weight");
  c.attention_head_dim = extent("transformer_blocks.0.attn.norm_q.weight", 0, "attention_head_dim");
  if (c.attention_head_dim != 128)  // of the published files
    shapes.open("axes_dims_rope", "heads of " + std::to_string(c.attention_head_dim) + " channels allow several");
  c.num_attention_heads = width / c.attention_head_dim;
  if (c.width() != width)
    throw ConfigError("flux: attention_head_dim " + std::to_string(c.attention_head_dim) +
                      " does not divide the width " + std::to_string(width));
  return c.checked();
}

}  // namespace aulos::inline AULOS_ISA::models
