// The layouts in which SD3 checkpoints exist, and the configuration that their shapes tell.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/io/safetensors.hpp"
#include "aulos/models/checkpoint_shapes.hpp"
#include "aulos/models/sd3_config.hpp"
#include "aulos/nn/load.hpp"

namespace aulos::inline AULOS_ISA::models {

using SD3LoadOptions = ModelLoadOptions<SD3Config>;

inline CheckpointSource sd3_source(const io::Checkpoint& checkpoint, const std::string& prefix) {
  return checkpoint_source(checkpoint, prefix, "joint_blocks.0.x_block.attn.qkv.weight");
}

// Where a published single file keeps the parameter that diffusers calls `name`. Projections are fused there; the two
// modulations of two parts (the final one, and the text's in the last block) have the shift first.
inline nn::StoredAs sd3_single_file_name(const std::string& name, Index last_block) {
  std::string_view rest = name;
  const auto take_prefix = [&](std::string_view prefix) {
    if (rest.substr(0, prefix.size()) != prefix) return false;
    rest.remove_prefix(prefix.size());
    return true;
  };
  const auto plain = [&](const std::string& to) { return nn::StoredAs{.name = to + std::string(rest)}; };
  if (name == "pos_embed.pos_embed") return {.name = "pos_embed"};
  if (take_prefix("pos_embed.proj.")) return plain("x_embedder.proj.");
  if (take_prefix("time_text_embed.timestep_embedder.linear_1.")) return plain("t_embedder.mlp.0.");
  if (take_prefix("time_text_embed.timestep_embedder.linear_2.")) return plain("t_embedder.mlp.2.");
  if (take_prefix("time_text_embed.text_embedder.linear_1.")) return plain("y_embedder.mlp.0.");
  if (take_prefix("time_text_embed.text_embedder.linear_2.")) return plain("y_embedder.mlp.2.");
  if (take_prefix("proj_out.")) return plain("final_layer.linear.");
  if (take_prefix("norm_out.linear."))
    return {.name = "final_layer.adaLN_modulation.1." + std::string(rest), .parts = 2, .take = {1, 0}};
  if (!take_prefix("transformer_blocks.")) return {.name = name};

  const std::size_t dot = rest.find('.');
  const std::string index(rest.substr(0, dot));
  rest.remove_prefix(dot + 1);
  const std::string block = "joint_blocks." + index + ".";
  if (index == std::to_string(last_block) && take_prefix("norm1_context.linear."))
    return {.name = block + "context_block.adaLN_modulation.1." + std::string(rest), .parts = 2, .take = {1, 0}};
  struct Part {
    std::string_view from, to;
    Index part;  // of a fused projection; -1: a tensor of its own
  };
  static constexpr std::array<Part, 24> parts{{
      {"norm1.linear.", "x_block.adaLN_modulation.1.", -1},
      {"norm1_context.linear.", "context_block.adaLN_modulation.1.", -1},
      {"attn.to_q.", "x_block.attn.qkv.", 0},
      {"attn.to_k.", "x_block.attn.qkv.", 1},
      {"attn.to_v.", "x_block.attn.qkv.", 2},
      {"attn.add_q_proj.", "context_block.attn.qkv.", 0},
      {"attn.add_k_proj.", "context_block.attn.qkv.", 1},
      {"attn.add_v_proj.", "context_block.attn.qkv.", 2},
      {"attn.norm_q.", "x_block.attn.ln_q.", -1},
      {"attn.norm_k.", "x_block.attn.ln_k.", -1},
      {"attn.norm_added_q.", "context_block.attn.ln_q.", -1},
      {"attn.norm_added_k.", "context_block.attn.ln_k.", -1},
      {"attn.to_out.0.", "x_block.attn.proj.", -1},
      {"attn.to_add_out.", "context_block.attn.proj.", -1},
      {"attn2.to_q.", "x_block.attn2.qkv.", 0},
      {"attn2.to_k.", "x_block.attn2.qkv.", 1},
      {"attn2.to_v.", "x_block.attn2.qkv.", 2},
      {"attn2.norm_q.", "x_block.attn2.ln_q.", -1},
      {"attn2.norm_k.", "x_block.attn2.ln_k.", -1},
      {"attn2.to_out.0.", "x_block.attn2.proj.", -1},
      {"ff.net.0.proj.", "x_block.mlp.fc1.", -1},
      {"ff.net.2.", "x_block.mlp.fc2.", -1},
      {"ff_context.net.0.proj.", "context_block.mlp.fc1.", -1},
      {"ff_context.net.2.", "context_block.mlp.fc2.", -1},
  }};
  for (const Part& part : parts) {
    if (!take_prefix(part.from)) continue;
    const std::string to = block + std::string(part.to) + std::string(rest);
    if (part.part < 0) return {.name = to};
    return {.name = to, .parts = 3, .take = {part.part}};
  }
  return {.name = name};
}

// The configuration: `config` in the metadata, else what the shapes tell. ConfigError names a field that stays open.
inline SD3Config sd3_config_of(const io::Checkpoint& checkpoint, const CheckpointSource& source) {
  if (const auto config = config_in_metadata<SD3Config>(checkpoint)) return *config;
  const bool single = source.layout == CheckpointLayout::single_file;
  const CheckpointShapes shapes("sd3", checkpoint, source.prefix);
  const auto name_of = [&](const std::string& name) { return single ? sd3_single_file_name(name, -1).name : name; };
  const auto extent = [&](const std::string& name, std::size_t axis, const char* field) {
    return shapes.extent(name_of(name), axis, field);
  };
  const auto has = [&](const std::string& name) { return shapes.has(name_of(name)); };
  SD3Config c;
  const Index width = extent("pos_embed.proj.weight", 0, "caption_projection_dim");
  c.in_channels = extent("pos_embed.proj.weight", 1, "in_channels");
  c.patch_size = extent("pos_embed.proj.weight", 2, "patch_size");
  c.joint_attention_dim = extent("context_embedder.weight", 1, "joint_attention_dim");
  c.pooled_projection_dim = extent("time_text_embed.text_embedder.linear_1.weight", 1, "pooled_projection_dim");
  if (c.patch_size > 0) c.out_channels = extent("proj_out.weight", 0, "out_channels") / (c.patch_size * c.patch_size);
  c.pos_embed_max_size = square_side(extent("pos_embed.pos_embed", 1, "pos_embed_max_size"));
  const auto block = [](Index i) { return "transformer_blocks." + std::to_string(i) + "."; };
  c.num_layers = 0;
  while (has(block(c.num_layers) + "attn.to_q.weight")) ++c.num_layers;
  for (Index i = 0; i < c.num_layers; ++i)
    if (has(block(i) + "attn2.to_q.weight")) c.dual_attention_layers.push_back(i);
  if (has(block(0) + "attn.norm_q.weight")) {
    c.qk_norm = QkNormKind::rms_norm;
    c.attention_head_dim = extent(block(0) + "attn.norm_q.weight", 0, "attention_head_dim");
  } else if (single || width == 1536 || width == 2432) {  // published files
    c.attention_head_dim = 64;
  } else {
    shapes.open("attention_head_dim", "the shapes allow several");
  }
  c.num_attention_heads = c.attention_head_dim > 0 ? width / c.attention_head_dim : 0;
  if (c.width() != width)
    throw ConfigError("sd3: attention_head_dim " + std::to_string(c.attention_head_dim) +
                      " does not divide the width " + std::to_string(width));
  return c.checked();
}

}  // namespace aulos::inline AULOS_ISA::models
