// SD3's checkpoints: both layouts, and the configuration that a file tells.
#include "aulos/models/sd3_checkpoint.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/models/sd3_support.hpp"
#include "tests/support/paths.hpp"

namespace {

using aulos::ConfigError;
using aulos::Dtype;
using aulos::Index;
using aulos::io::Checkpoint;
using aulos::models::QkNormKind;
using aulos::models::SD3LoadOptions;
using aulos_tests::random_sd3;
using aulos_tests::SD3;
using aulos_tests::sd3_output;
using aulos_tests::SD3Config;
using aulos_tests::small_sd35;

struct Stored {
  std::vector<Index> shape;
  std::vector<float> values;
};
using Tensors = std::map<std::string, Stored>;

Tensors diffusers_names(const SD3& model) {
  Tensors tensors;
  aulos::nn::for_each_parameter(model, [&](const auto& p) {
    tensors[p.name] = {p.shape, {p.any().data(), p.any().data() + p.count()}};
  });
  return tensors;
}

// ---- the published single-file layout, written down from its description

Stored stacked(std::vector<Stored> parts) {
  Stored all = parts[0];
  for (std::size_t i = 1; i < parts.size(); ++i) {
    all.shape[0] += parts[i].shape[0];
    all.values.insert(all.values.end(), parts[i].values.begin(), parts[i].values.end());
  }
  return all;
}

Stored halves_exchanged(Stored x) {
  std::rotate(x.values.begin(), x.values.begin() + static_cast<std::ptrdiff_t>(x.values.size() / 2), x.values.end());
  return x;
}

Tensors single_file(Tensors from, Index layers, const std::string& prefix) {
  Tensors to;
  const auto move = [&](const std::string& a, const std::string& b) {
    if (const auto found = from.find(a); found != from.end()) {
      to[prefix + b] = found->second;
      from.erase(found);
    }
  };
  const auto both = [&](const std::string& a, const std::string& b) {
    move(a + ".weight", b + ".weight");
    move(a + ".bias", b + ".bias");
  };
  const auto fuse = [&](const std::string& a, const std::array<const char*, 3>& names, const std::string& b) {
    for (const std::string leaf : {".weight", ".bias"}) {
      std::vector<Stored> parts;
      for (const std::string name : names) {
        if (from.count(a + name + leaf) == 0) return;
        parts.push_back(from.at(a + name + leaf));
        from.erase(a + name + leaf);
      }
      to[prefix + b + leaf] = stacked(parts);
    }
  };
  const auto exchange = [&](const std::string& a, const std::string& b) {
    for (const std::string leaf : {".weight", ".bias"}) {
      to[prefix + b + leaf] = halves_exchanged(from.at(a + leaf));
      from.erase(a + leaf);
    }
  };
  move("pos_embed.pos_embed", "pos_embed");
  both("pos_embed.proj", "x_embedder.proj");
  both("time_text_embed.timestep_embedder.linear_1", "t_embedder.mlp.0");
  both("time_text_embed.timestep_embedder.linear_2", "t_embedder.mlp.2");
  both("time_text_embed.text_embedder.linear_1", "y_embedder.mlp.0");
  both("time_text_embed.text_embedder.linear_2", "y_embedder.mlp.2");
  both("context_embedder", "context_embedder");
  both("proj_out", "final_layer.linear");
  exchange("norm_out.linear", "final_layer.adaLN_modulation.1");
  for (Index i = 0; i < layers; ++i) {
    const std::string a = "transformer_blocks." + std::to_string(i) + ".";
    const std::string x = "joint_blocks." + std::to_string(i) + ".x_block.";
    const std::string c = "joint_blocks." + std::to_string(i) + ".context_block.";
    both(a + "norm1.linear", x + "adaLN_modulation.1");
    if (i + 1 == layers) {
      exchange(a + "norm1_context.linear", c + "adaLN_modulation.1");
    } else {
      both(a + "norm1_context.linear", c + "adaLN_modulation.1");
    }
    fuse(a + "attn.", {"to_q", "to_k", "to_v"}, x + "attn.qkv");
    fuse(a + "attn.", {"add_q_proj", "add_k_proj", "add_v_proj"}, c + "attn.qkv");
    fuse(a + "attn2.", {"to_q", "to_k", "to_v"}, x + "attn2.qkv");
    both(a + "attn.norm_q", x + "attn.ln_q");
    both(a + "attn.norm_k", x + "attn.ln_k");
    both(a + "attn.norm_added_q", c + "attn.ln_q");
    both(a + "attn.norm_added_k", c + "attn.ln_k");
    both(a + "attn2.norm_q", x + "attn2.ln_q");
    both(a + "attn2.norm_k", x + "attn2.ln_k");
    both(a + "attn.to_out.0", x + "attn.proj");
    both(a + "attn.to_add_out", c + "attn.proj");
    both(a + "attn2.to_out.0", x + "attn2.proj");
    both(a + "ff.net.0.proj", x + "mlp.fc1");
    both(a + "ff.net.2", x + "mlp.fc2");
    both(a + "ff_context.net.0.proj", c + "mlp.fc1");
    both(a + "ff_context.net.2", c + "mlp.fc2");
  }
  EXPECT_TRUE(from.empty()) << from.begin()->first;
  return to;
}

// A checkpoint in memory and its bytes.
class Memory {
 public:
  explicit Memory(const Tensors& tensors, const aulos::io::Metadata& metadata = {}) {
    std::vector<aulos::io::SaveTensor> list;
    for (const auto& [name, stored] : tensors)
      list.push_back({name, Dtype::f32, stored.shape, std::as_bytes(std::span(stored.values))});
    bytes_ = aulos::io::serialize(list, metadata);
  }
  Checkpoint open() const { return Checkpoint::from_bytes(bytes_, "sd3.safetensors"); }

 private:
  std::vector<std::byte> bytes_;
};

SD3LoadOptions with(const SD3Config& config) {
  SD3LoadOptions options;
  options.config = config;
  return options;
}

SD3Config without_qk_norm() {
  SD3Config config = small_sd35();
  config.qk_norm = QkNormKind::none;
  config.dual_attention_layers = {};
  return config;
}

// What the shapes cannot tell.
SD3Config as_inferred(SD3Config config) {
  config.sample_size = SD3Config().sample_size;
  return config;
}

TEST(SD3Checkpoint, BothLayoutsGiveTheSameBits) {
  for (const SD3Config& config : {small_sd35(), without_qk_norm()}) {
    const SD3 model = random_sd3(config);
    const std::vector<float> expected = sd3_output(model);
    const Tensors tensors = diffusers_names(model);
    EXPECT_EQ(sd3_output(SD3::load(Memory(tensors).open(), with(config))), expected);
    for (const std::string prefix : {"", "model.diffusion_model."}) {
      Tensors single = single_file(tensors, config.num_layers, prefix);
      if (!prefix.empty()) {  // an all-in-one file
        single["first_stage_model.decoder.conv_in.weight"] = {{1}, {5}};
        single["text_encoders.clip_l.logit_scale"] = {{}, {1}};
      }
      const SD3 loaded = SD3::load(Memory(single).open(), with(config));
      EXPECT_EQ(sd3_output(loaded), expected) << prefix;
      EXPECT_EQ(diffusers_names(loaded).size(), tensors.size());
    }
  }
}

TEST(SD3Checkpoint, TheSubtreeMayBeNamed) {
  const SD3 model = random_sd3(small_sd35());
  Tensors tensors;
  for (auto& [name, stored] : diffusers_names(model)) tensors["transformer." + name] = stored;
  tensors["vae.x"] = {{1}, {5}};
  SD3LoadOptions options = with(small_sd35());
  options.prefix = "transformer.";
  EXPECT_EQ(sd3_output(SD3::load(Memory(tensors).open(), options)), sd3_output(model));
  EXPECT_EQ(SD3::load(Memory(tensors).open(), {.prefix = "transformer."}).config, as_inferred(small_sd35()));
}

TEST(SD3Checkpoint, ASavedModelLoadsByItself) {
  const SD3 model = random_sd3(small_sd35());
  const std::string path = (aulos_tests::fresh_dir() / "sd3.safetensors").string();
  model.save(path);
  for (const auto mode : {aulos::io::Mode::read, aulos::io::Mode::map}) {
    SD3LoadOptions options;
    options.mode = mode;
    const SD3 loaded = SD3::load(path, options);
    EXPECT_EQ(loaded.config, model.config);  // from the metadata, sample size and all
    EXPECT_EQ(sd3_output(loaded), sd3_output(model));
  }
  EXPECT_EQ(Checkpoint::open(path).metadata().at("format"), "pt");
  model.save(path, Dtype::bf16);
  const SD3 rounded = SD3::load(path);
  EXPECT_NE(sd3_output(rounded), sd3_output(model));
  rounded.save(path, Dtype::bf16);
  EXPECT_EQ(sd3_output(SD3::load(path)), sd3_output(rounded));
}

TEST(SD3Checkpoint, APositionTableThatIsMissingIsDerived) {
  const SD3 model = random_sd3(small_sd35());
  Tensors tensors = diffusers_names(model);
  tensors.erase("pos_embed.pos_embed");
  EXPECT_EQ(sd3_output(SD3::load(Memory(tensors).open(), with(small_sd35()))), sd3_output(model));
  // One that is there is taken as it is.
  tensors = diffusers_names(model);
  std::fill(tensors["pos_embed.pos_embed"].values.begin(), tensors["pos_embed.pos_embed"].values.end(), 0.0f);
  EXPECT_NE(sd3_output(SD3::load(Memory(tensors).open(), with(small_sd35()))), sd3_output(model));
}

// ---- configurations

TEST(SD3Checkpoint, ShapesTellTheConfiguration) {
  const SD3 model = random_sd3(small_sd35());
  const Tensors tensors = diffusers_names(model);
  EXPECT_EQ(SD3::load(Memory(tensors).open()).config, as_inferred(small_sd35()));
  EXPECT_EQ(SD3::load(Memory(single_file(tensors, 3, "")).open()).config, as_inferred(small_sd35()));
  EXPECT_EQ(SD3::load(Memory(single_file(tensors, 3, "model.diffusion_model.")).open()).config,
            as_inferred(small_sd35()));
  // Published files without qk norm have heads of 64.
  SD3Config wide = without_qk_norm();
  wide.attention_head_dim = 64;
  wide.num_attention_heads = 1;
  wide.num_layers = 1;
  const SD3 published = random_sd3(wide);
  EXPECT_EQ(SD3::load(Memory(single_file(diffusers_names(published), 1, "")).open()).config, as_inferred(wide));
}

TEST(SD3Checkpoint, WhatStaysOpenIsAnErrorThatNamesTheField) {
  const Tensors tensors = diffusers_names(random_sd3(without_qk_norm()));
  const auto expect = [](const std::string& text, const Tensors& given) {
    try {
      SD3::load(Memory(given).open());
      ADD_FAILURE() << text;
    } catch (const ConfigError& error) {
      EXPECT_EQ(error.what(), text);
    }
  };
  expect("sd3: can't tell attention_head_dim from sd3.safetensors: the shapes allow several; give a config", tensors);
  EXPECT_EQ(SD3::load(Memory(tensors).open(), with(without_qk_norm())).config, without_qk_norm());
  Tensors part = diffusers_names(random_sd3(small_sd35()));
  part.erase("proj_out.weight");
  expect("sd3: can't tell out_channels from sd3.safetensors: it has no 'proj_out.weight'; give a config", part);
  expect(
      "sd3: can't tell caption_projection_dim from sd3.safetensors: it has no 'pos_embed.proj.weight'; give a config",
      {{"x", {{1}, {1}}}});
}

TEST(SD3Checkpoint, TheMetadataComesBeforeTheShapesAndTheCallerBeforeBoth) {
  const SD3 model = random_sd3(without_qk_norm());
  const Memory memory(diffusers_names(model), {{"config", model.config.to_json()}});
  EXPECT_EQ(SD3::load(memory.open()).config, without_qk_norm());
  SD3Config other = without_qk_norm();
  other.num_attention_heads = 2;
  other.attention_head_dim = 32;
  const SD3 forced = SD3::load(memory.open(), with(other));
  EXPECT_EQ(forced.config, other);
  EXPECT_NE(sd3_output(forced), sd3_output(model));
  other.num_layers = 2;
  try {
    SD3::load(memory.open(), with(other));
    ADD_FAILURE();
  } catch (const aulos::CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find("unexpected 'transformer_blocks.2."), std::string::npos) << error.what();
  }
}

TEST(SD3Config, JsonRoundTrips) {
  for (const SD3Config& config : {SD3Config(), small_sd35(), without_qk_norm(), SD3Config::sd3_medium(),
                                  SD3Config::sd35_medium(), SD3Config::sd35_large()})
    EXPECT_EQ(SD3Config::from_json(aulos::io::json::parse(config.to_json())), config);
}

TEST(SD3Config, ReadsDiffusersFiles) {
  const SD3Config config = SD3Config::from_json(aulos::io::json::parse(
      R"({"_class_name": "SD3Transformer2DModel", "_diffusers_version": "0.30", "attention_head_dim": 64,
          "caption_projection_dim": 1536, "in_channels": 16, "joint_attention_dim": 4096, "num_attention_heads": 24,
          "num_layers": 24, "out_channels": 16, "patch_size": 2, "pooled_projection_dim": 2048,
          "pos_embed_max_size": 192, "sample_size": 128})"));
  EXPECT_EQ(config, SD3Config::sd3_medium());
}

TEST(SD3Config, SaysWhichFieldIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"num_layers": 0})", "sd3: num_layers is 0, expected >= 1"},
      {R"({"patch_size": -2})", "sd3: patch_size is -2, expected >= 1"},
      {R"({"attention_head_dim": 3, "num_attention_heads": 1})",
       "sd3: num_attention_heads * attention_head_dim is 3, expected a multiple of 4 (the table of positions)"},
      {R"({"caption_projection_dim": 100})",
       "sd3: caption_projection_dim is 100, expected num_attention_heads * attention_head_dim = 1152"},
      {R"({"qk_norm": "layer_norm"})", "sd3: qk_norm is \"layer_norm\", expected null or \"rms_norm\""},
      {R"({"dual_attention_layers": [0, 18]})", "sd3: dual_attention_layers names layer 18 of 18"},
  };
  for (const auto& [json, text] : cases) {
    try {
      SD3Config::from_json(aulos::io::json::parse(json));
      ADD_FAILURE() << text;
    } catch (const ConfigError& error) {
      EXPECT_STREQ(error.what(), text);
    }
  }
  SD3Config config;
  config.pos_embed_max_size = 0;
  EXPECT_THROW(SD3{config}, ConfigError);
}

}  // namespace
