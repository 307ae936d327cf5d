// The configuration of DiT, with the official field names, the published variants, and what a checkpoint tells of it.
#pragma once

#include <string>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/io/json.hpp"
#include "aulos/io/safetensors.hpp"
#include "aulos/models/checkpoint_shapes.hpp"
#include "aulos/models/config_fields.hpp"

namespace aulos::inline AULOS_ISA::models {

// How time and label enter a block: section 3.2 of the paper. The published models are adaLN-Zero.
enum class DiTConditioning {
  adaln_zero,       // shift, scale and gate of both sublayers, from the sum of the embeddings
  adaln,            // shift and scale, no gates
  in_context,       // two tokens after those of the image
  cross_attention,  // a sublayer that reads a sequence of two
};

struct DiTConfig {
  static constexpr const char* name = "dit";

  Index input_size = 32;  // height and width of the latent
  Index patch_size = 2;
  Index in_channels = 4;
  Index hidden_size = 1152;
  Index depth = 28;
  Index num_heads = 16;
  double mlp_ratio = 4;
  double class_dropout_prob = 0.1;  // above 0: the table has a row for "no class" after those of the classes
  Index num_classes = 1000;
  bool learn_sigma = true;  // twice as many output channels: the noise, then how its variance lies in its range
  DiTConditioning conditioning = DiTConditioning::adaln_zero;

  Index mlp_hidden() const noexcept { return static_cast<Index>(static_cast<double>(hidden_size) * mlp_ratio); }
  Index out_channels() const noexcept { return learn_sigma ? 2 * in_channels : in_channels; }
  Index label_rows() const noexcept { return class_dropout_prob > 0 ? num_classes + 1 : num_classes; }

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f("input_size", c.input_size);
    f("patch_size", c.patch_size);
    f("in_channels", c.in_channels);
    f("hidden_size", c.hidden_size);
    f("depth", c.depth);
    f("num_heads", c.num_heads);
    f("mlp_ratio", c.mlp_ratio);
    f("class_dropout_prob", c.class_dropout_prob);
    f("num_classes", c.num_classes);
    f("learn_sigma", c.learn_sigma);
    constexpr Spelling<DiTConditioning> spellings[] = {{DiTConditioning::adaln_zero, "adaln_zero"},
                                                       {DiTConditioning::adaln, "adaln"},
                                                       {DiTConditioning::in_context, "in_context"},
                                                       {DiTConditioning::cross_attention, "cross_attention"}};
    f("conditioning", c.conditioning, spellings);
  }

  // Itself, or ConfigError naming the field that can't be.
  const DiTConfig& checked() const {
    fields(*this, FieldChecker(name));
    check_multiple(name, "input_size", input_size, "patch_size = ", patch_size);
    check_multiple(name, "hidden_size", hidden_size, "num_heads = ", num_heads);
    check_multiple(name, "hidden_size", hidden_size, "", 4);  // the table of positions
    if (!(mlp_ratio > 0) || mlp_hidden() < 1)
      throw ConfigError("dit: mlp_ratio is " + std::to_string(mlp_ratio) + ", expected at least one hidden channel");
    if (!(class_dropout_prob >= 0 && class_dropout_prob <= 1))
      throw ConfigError("dit: class_dropout_prob is " + std::to_string(class_dropout_prob) + ", expected 0 to 1");
    return *this;
  }

  // From JSON with the official names. Absent fields keep the official defaults.
  static DiTConfig from_json(const io::json::Value& json) { return config_of_fields<DiTConfig>(json); }
  std::string to_json() const { return json_of_fields(*this); }
  // Blocks of a model, each of which has tensors of its own.
  double blocks() const noexcept { return static_cast<double>(depth); }

  bool operator==(const DiTConfig&) const = default;

  // DiT-S/p, B/p, L/p, XL/p with p = 2, 4 or 8, for latents of images with 256 pixels a side (input_size 64: 512).
  // Parameters with the table of positions: S/2 32,963,360, B/2 130,512,416, L/2 458,102,816, XL/2 675,129,632.
  static DiTConfig s(Index patch, Index input_size = 32) { return sized(patch, input_size, 384, 12, 6); }
  static DiTConfig b(Index patch, Index input_size = 32) { return sized(patch, input_size, 768, 12, 12); }
  static DiTConfig l(Index patch, Index input_size = 32) { return sized(patch, input_size, 1024, 24, 16); }
  static DiTConfig xl(Index patch, Index input_size = 32) { return sized(patch, input_size, 1152, 28, 16); }

 private:
  static DiTConfig sized(Index patch, Index input_size, Index hidden, Index depth, Index heads) {
    return {.input_size = input_size, .patch_size = patch, .hidden_size = hidden, .depth = depth, .num_heads = heads};
  }
};

using DiTLoadOptions = ModelLoadOptions<DiTConfig>;

// The configuration: `config` in the metadata, else what the shapes tell. Heads and classes they tell for the published
// models only; ConfigError names a field that stays open.
inline DiTConfig dit_config_of(const io::Checkpoint& checkpoint, const std::string& prefix = {}) {
  if (const auto config = config_in_metadata<DiTConfig>(checkpoint)) return *config;
  const CheckpointShapes shapes("dit", checkpoint, prefix);
  DiTConfig c;
  c.hidden_size = shapes.extent("x_embedder.proj.weight", 0, "hidden_size");
  c.in_channels = shapes.extent("x_embedder.proj.weight", 1, "in_channels");
  c.patch_size = shapes.extent("x_embedder.proj.weight", 2, "patch_size");
  const Index side = square_side(shapes.extent("pos_embed", 1, "input_size"));
  if (side == 0) shapes.open("input_size", "pos_embed is no square of positions");
  c.input_size = side * c.patch_size;
  c.depth = shapes.count("blocks.", ".attn.qkv.weight");
  c.mlp_ratio = mlp_ratio(shapes.extent("blocks.0.mlp.fc1.weight", 0, "mlp_ratio"), c.hidden_size);

  const Index out = shapes.extent("final_layer.linear.weight", 0, "learn_sigma");
  const Index once = c.in_channels * c.patch_size * c.patch_size;
  if (out != once && out != 2 * once)
    shapes.open("learn_sigma", "the output has " + std::to_string(out) + " rows, expected " + std::to_string(once) +
                                   " or " + std::to_string(2 * once));
  c.learn_sigma = out == 2 * once;

  const std::string rows = "blocks.0.adaLN_modulation.1.weight";
  if (shapes.has(rows)) {
    const bool gates = shapes.extent(rows, 0, "conditioning") == 6 * c.hidden_size;
    c.conditioning = gates ? DiTConditioning::adaln_zero : DiTConditioning::adaln;
  } else {
    const bool cross = shapes.has("blocks.0.cross_attn.q.weight");
    c.conditioning = cross ? DiTConditioning::cross_attention : DiTConditioning::in_context;
  }

  const Index labels = shapes.extent("y_embedder.embedding_table.weight", 0, "num_classes");
  if (labels != c.label_rows())
    shapes.open("num_classes", std::to_string(labels) + " labels may or may not include that of no class");
  c.num_heads = 0;
  for (const DiTConfig& published : {DiTConfig::s(2), DiTConfig::b(2), DiTConfig::l(2), DiTConfig::xl(2)})
    if (published.hidden_size == c.hidden_size) c.num_heads = published.num_heads;
  if (c.num_heads == 0) shapes.open("num_heads", "the shapes allow several");
  return c.checked();
}

}  // namespace aulos::inline AULOS_ISA::models
