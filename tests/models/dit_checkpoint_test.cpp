// DiT's checkpoints, and the configuration that a file tells.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "tests/models/checkpoint_memory.hpp"
#include "tests/models/dit_support.hpp"
#include "tests/support/paths.hpp"

namespace {

using aulos::ConfigError;
using aulos::Index;
using aulos::models::DiTConditioning;
using namespace aulos_tests;

std::string load_error(const StoredTensors& tensors) {
  try {
    DiT::load(CheckpointMemory(tensors).open());
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

// A size that was published, small.
DiTConfig published(DiTConditioning conditioning = {}) {
  DiTConfig config = DiTConfig::s(2, 4);
  config.depth = 1;
  config.conditioning = conditioning;
  return config;
}

// Names and shapes without numbers.
StoredTensors zeros(const DiTConfig& config) {
  DiT model(config);
  aulos::nn::zero(model);
  model.derive_buffers();
  return stored_tensors(model);
}

TEST(DiTCheckpoint, ShapesTellTheConfiguration) {
  for (const DiTConditioning conditioning : every_conditioning) {
    DiTConfig config = published(conditioning);
    config.learn_sigma = conditioning != DiTConditioning::adaln;
    config.mlp_ratio = 2.5;
    EXPECT_EQ(DiT::load(CheckpointMemory(zeros(config)).open()).config, config);
  }
}

TEST(DiTCheckpoint, LoadsTheOfficialNames) {
  const DiT model = random_dit(small_dit());
  const StoredTensors tensors = stored_tensors(model);
  for (const auto& [name, shape] :
       std::vector<std::pair<const char*, std::vector<Index>>>{{"x_embedder.proj.weight", {24, 4, 2, 2}},
                                                               {"x_embedder.proj.bias", {24}},
                                                               {"pos_embed", {1, 16, 24}},
                                                               {"t_embedder.mlp.0.weight", {24, 256}},
                                                               {"t_embedder.mlp.2.bias", {24}},
                                                               {"y_embedder.embedding_table.weight", {6, 24}},
                                                               {"blocks.1.attn.qkv.weight", {72, 24}},
                                                               {"blocks.1.attn.proj.bias", {24}},
                                                               {"blocks.0.mlp.fc1.weight", {96, 24}},
                                                               {"blocks.0.mlp.fc2.weight", {24, 96}},
                                                               {"blocks.0.adaLN_modulation.1.weight", {144, 24}},
                                                               {"final_layer.adaLN_modulation.1.bias", {48}},
                                                               {"final_layer.linear.weight", {32, 24}}}) {
    ASSERT_EQ(tensors.count(name), 1u) << name;
    EXPECT_EQ(tensors.at(name).shape, shape) << name;
  }
  EXPECT_EQ(tensors.size(), 12u + 2 * 10);
  StoredTensors inside = stored_tensors(model, "ema.");
  inside["opt.x"] = {{1}, {5}};
  const DiT loaded = DiT::load(CheckpointMemory(inside).open(), {.prefix = "ema.", .config = small_dit()});
  EXPECT_EQ(dit_output(loaded), dit_output(model));
  for (const DiTConditioning conditioning : every_conditioning) {
    const DiT other = random_dit(small_dit(conditioning));
    const CheckpointMemory memory(stored_tensors(other), {{"config", other.config.to_json()}});
    EXPECT_EQ(dit_output(DiT::load(memory.open())), dit_output(other));
  }
}

TEST(DiTCheckpoint, ASavedModelLoadsByItself) {
  DiTConfig config = small_dit();
  config.class_dropout_prob = 0;
  const DiT model = random_dit(config);
  const std::string path = (fresh_dir() / "dit.safetensors").string();
  model.save(path);
  const DiT loaded = DiT::load(path);
  EXPECT_EQ(loaded.config, config);
  EXPECT_EQ(dit_output(loaded), dit_output(model));
}

TEST(DiTCheckpoint, APositionTableThatIsMissingIsDerived) {
  const DiT model = random_dit(small_dit());
  StoredTensors tensors = stored_tensors(model);
  tensors.erase("pos_embed");
  EXPECT_EQ(dit_output(DiT::load(CheckpointMemory(tensors).open(), {.config = small_dit()})), dit_output(model));
  tensors = stored_tensors(model);  // one that is there is taken as it is
  std::fill(tensors["pos_embed"].values.begin(), tensors["pos_embed"].values.end(), 0.0f);
  EXPECT_NE(dit_output(DiT::load(CheckpointMemory(tensors).open(), {.config = small_dit()})), dit_output(model));
}

TEST(DiTCheckpoint, WhatStaysOpenIsAnErrorThatNamesTheField) {
  const std::string from = " from model.safetensors: ";
  DiTConfig config = published();
  config.hidden_size = 24;
  StoredTensors tensors = zeros(config);
  EXPECT_EQ(load_error(tensors), "dit: can't tell num_heads" + from + "the shapes allow several; give a config");
  EXPECT_EQ(DiT::load(CheckpointMemory(tensors).open(), {.config = config}).config, config);
  config = published();
  config.num_classes = 10;
  EXPECT_EQ(load_error(zeros(config)),
            "dit: can't tell num_classes" + from + "11 labels may or may not include that of no class; give a config");
  tensors = zeros(published());
  StoredTensors part = tensors;
  part["pos_embed"] = {{1, 15, 384}, std::vector<float>(15 * 384)};
  EXPECT_EQ(load_error(part),
            "dit: can't tell input_size" + from + "pos_embed is no square of positions; give a config");
  part = tensors;
  part["final_layer.linear.weight"] = {{48, 384}, std::vector<float>(48 * 384)};
  EXPECT_EQ(load_error(part),
            "dit: can't tell learn_sigma" + from + "the output has 48 rows, expected 16 or 32; give a config");
  part.erase("blocks.0.mlp.fc1.weight");
  EXPECT_EQ(load_error(part),
            "dit: can't tell mlp_ratio" + from + "it has no 'blocks.0.mlp.fc1.weight'; give a config");
}

TEST(DiTConfig, JsonRoundTripsAndKeepsTheOfficialDefaults) {
  std::vector<DiTConfig> all{DiTConfig::s(8), DiTConfig::b(4), DiTConfig::l(2), DiTConfig::xl(2, 64)};
  for (const DiTConditioning conditioning : every_conditioning) all.push_back(small_dit(conditioning));
  for (const DiTConfig& config : all) EXPECT_EQ(DiTConfig::from_json(aulos::io::json::parse(config.to_json())), config);
  EXPECT_EQ(DiTConfig::from_json(aulos::io::json::parse("{}")), DiTConfig::xl(2));
}

TEST(DiTConfig, SaysWhichFieldIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"depth": 0})", "dit: depth is 0, expected >= 1"},
      {R"({"input_size": 33})", "dit: input_size is 33, expected a multiple of patch_size = 2"},
      {R"({"num_heads": 5})", "dit: hidden_size is 1152, expected a multiple of num_heads = 5"},
      {R"({"hidden_size": 6, "num_heads": 1})", "dit: hidden_size is 6, expected a multiple of 4"},
      {R"({"mlp_ratio": -1})", "dit: mlp_ratio is -1.000000, expected at least one hidden channel"},
      {R"({"class_dropout_prob": 2})", "dit: class_dropout_prob is 2.000000, expected 0 to 1"},
      {R"({"conditioning": "film"})",
       "dit: conditioning is \"film\", expected \"adaln_zero\" or \"adaln\" or \"in_context\" or \"cross_attention\""},
  };
  for (const auto& [json, text] : cases) {
    try {
      DiTConfig::from_json(aulos::io::json::parse(json));
      ADD_FAILURE() << text;
    } catch (const ConfigError& error) {
      EXPECT_STREQ(error.what(), text);
    }
  }
}

}  // namespace
