// compile: -O0
// ViT: what must hold without data, its configurations and its checkpoints. The numbers are the golden cases'.
#include "aulos/models/vit.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "aulos/nn/initialise.hpp"
#include "aulos/nn/plan.hpp"
#include "tests/models/checkpoint_memory.hpp"
#include "tests/support/paths.hpp"

namespace {

using aulos::ConfigError;
using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;
using aulos::models::GlobalPool;
using aulos_tests::CheckpointMemory;
using aulos_tests::stored_tensors;
using aulos_tests::StoredTensors;

using ViT = aulos::models::ViT<float>;
using Config = aulos::models::ViTConfig;
using Floats = std::vector<float>;

Config small() {
  return {.img_size = 24, .patch_size = 8, .num_classes = 5, .embed_dim = 24, .depth = 2, .num_heads = 3};
}
// Every form that the head and the tokens take.
std::vector<Config> forms() {
  std::vector<Config> all(6, small());
  all[1].global_pool = GlobalPool::avg;
  all[2].global_pool = GlobalPool::avg;
  all[2].class_token = false;
  all[3] = Config::deit_distilled(small());
  all[4] = Config::deit3(small());
  all[4].qkv_bias = false;
  all[5].pre_norm = true;
  all[5].eps = 1e-5;
  return all;
}

ViT random_vit(const Config& config) {
  ViT model(config);
  aulos::Random random(1);
  aulos::nn::initialise_normal(model, random, 0.2);
  return model;
}

Tensor<float, 4> image(Context& context, const Config& c, Index batch = 2) {
  return context.normal<float>(Shape<4>{batch, c.in_chans, c.img_size, c.img_size});
}

template <int Rank>
Floats values(const Tensor<float, Rank>& x) {
  return {x.data(), x.data() + x.count()};
}

Floats output(const ViT& model, int threads = 1) {
  Context context({.threads = threads, .seed = 2});
  return values(model(context, image(context, model.config)));
}

TEST(ViTPlan, CountsTheParametersOfThePublishedModels) {
  const auto count = [](const Config& config) { return aulos::nn::parameter_count(ViT(config)); };
  EXPECT_EQ(count(Config::vit_tiny()), 5717416);
  EXPECT_EQ(count(Config::vit_small()), 22050664);
  EXPECT_EQ(count(Config::vit_base()), 86567656);
  EXPECT_EQ(count(Config::vit_large()), 304326632);
  EXPECT_EQ(count(Config::vit_huge()), 632045800);
  EXPECT_EQ(count(Config::deit_distilled(Config::vit_tiny())), 5910800);
  EXPECT_EQ(count(Config::deit_distilled(Config::vit_small())), 22436432);
  EXPECT_EQ(count(Config::deit_distilled()), 87338192);
  EXPECT_EQ(count(Config::deit3()), 86585320);
}

// 12 N C^2 + 2 N^2 C multiply-adds a block, 0.116 G for the patches.
TEST(ViTPlan, CostsWhatItsProductsDo) {
  const ViT model(Config::vit_base());
  const aulos::Plan plan = aulos::nn::plan(model, [&](Context& dry) { model(dry, image(dry, model.config, 1)); });
  const double n = 197, c = 768;
  const double products = 12 * (12 * n * c * c + 2 * n * n * c) + 196 * 768 * c + 1000 * c;
  EXPECT_NEAR(plan.flops / 2 / products, 1, 0.01);
  EXPECT_NEAR(products / 1e9, 17.5, 0.1);
}

TEST(ViTModel, ResultsDoNotDependOnThreadsOrTheRestOfTheBatch) {
  for (const Config& config : forms()) {
    const ViT model = random_vit(config);
    const Floats one = output(model);
    EXPECT_EQ(output(model, 2), one);
    for (const float x : one) ASSERT_TRUE(std::isfinite(x));
    Context context({.threads = 1, .seed = 2});
    const auto both = image(context, config);
    for (const Index b : {0, 1})
      EXPECT_EQ(values(model(context, both.slice(0, b, b + 1))), Floats(one.begin() + 5 * b, one.begin() + 5 * b + 5));
    EXPECT_EQ(model(context, image(context, config, 0)).shape(), (Shape<2>{0, 5}));
  }
}

// Without positions the patches are a set.
TEST(ViTModel, PatchesMayBeExchangedWithTheirPositions) {
  for (const Config& config : forms()) {
    ViT model = random_vit(config);
    for (Index i = 0; i < model.pos_embed.count(); ++i) model.pos_embed.data()[i] = 0;
    Context context({.threads = 1, .seed = 2});
    const auto x = image(context, config, 1);
    const auto turned = concat(std::array{x.slice(2, 8, 24), x.slice(2, 0, 8)}, 2);
    const Floats a = values(model(context, x)), b = values(model(context, turned));
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5);
  }
}

TEST(ViTModel, HeadsAndFeatures) {
  Context context({.threads = 1, .seed = 2});
  Config config = Config::deit_distilled(small());
  ViT model = random_vit(config);
  const auto x = image(context, config);
  EXPECT_EQ(model.features(context, x).shape(), (Shape<3>{2, 11, 24}));
  const Floats mean = values(model(context, x));
  // The mean of both heads: with equal ones, on tokens of their own.
  ViT first = model;
  aulos::nn::zero(first.head_dist);
  ViT second = model;
  aulos::nn::zero(second.head);
  const Floats a = values(first(context, x)), b = values(second(context, x));
  for (std::size_t i = 0; i < mean.size(); ++i) EXPECT_NEAR(a[i] + b[i], mean[i], 1e-5);
  config.num_classes = 0;
  const ViT bare = random_vit(config);
  EXPECT_TRUE(bare.head.empty());
  EXPECT_EQ(bare(context, x).shape(), (Shape<2>{2, 24}));
}

TEST(ViTModel, SaysWhatDoesNotFit) {
  Context context({.threads = 1});
  const ViT model = random_vit(small());
  const auto text = [&](const Shape<4>& shape) -> std::string {
    try {
      model(context, context.zeros<float>(shape));
    } catch (const aulos::ShapeError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(text(Shape<4>{1, 3, 24, 32}), "vit: image [1, 3, 24, 32], expected height and width 24");
  EXPECT_NE(text(Shape<4>{1, 1, 24, 24}).find("linear: "), std::string::npos);
}

// ---- checkpoints and configurations

TEST(ViTCheckpoint, LoadsTimmsNamesAndTheShapesTellTheConfiguration) {
  for (Config config : forms()) {
    const ViT model = random_vit(config);
    EXPECT_EQ(output(ViT::load(CheckpointMemory(stored_tensors(model)).open(), {.config = config})), output(model));
    StoredTensors inside = stored_tensors(model, "vision.");
    inside["text.x"] = {{1}, {5}};
    EXPECT_EQ(output(ViT::load(CheckpointMemory(inside).open(), {.prefix = "vision.", .config = config})),
              output(model));
    config.embed_dim = 192;  // a width whose heads are known
    ViT known(config);
    aulos::nn::zero(known);
    const ViT loaded = ViT::load(CheckpointMemory(stored_tensors(known)).open());
    Config told = loaded.config;
    told.init_values = config.init_values;  // the start of training is forgotten
    EXPECT_EQ(loaded.config.init_values.has_value(), config.init_values.has_value());
    EXPECT_EQ(told, config);
  }
  const StoredTensors tensors = stored_tensors(random_vit(forms()[4]));
  for (const char* name :
       {"cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.1.attn.qkv.weight", "blocks.0.ls1.gamma",
        "blocks.0.ls2.gamma", "blocks.0.norm1.weight", "blocks.0.mlp.fc2.bias", "norm.weight", "head.weight"})
    EXPECT_EQ(tensors.count(name), 1u) << name;
  EXPECT_EQ(tensors.at("patch_embed.proj.weight").shape, (std::vector<Index>{24, 3, 8, 8}));
  EXPECT_EQ(stored_tensors(random_vit(forms()[1])).count("fc_norm.bias"), 1u);
  EXPECT_EQ(stored_tensors(random_vit(forms()[3])).count("head_dist.weight"), 1u);
  EXPECT_EQ(stored_tensors(random_vit(forms()[5])).count("patch_embed.proj.bias"), 0u);
}

TEST(ViTCheckpoint, ASavedModelLoadsByItself) {
  const std::string path = (aulos_tests::fresh_dir() / "vit.safetensors").string();
  for (const Config& config : forms()) {
    const ViT model = random_vit(config);
    model.save(path);
    const ViT loaded = ViT::load(path);
    EXPECT_EQ(loaded.config, config);
    EXPECT_EQ(output(loaded), output(model));
  }
}

TEST(ViTCheckpoint, WhatStaysOpenIsAnErrorThatNamesTheField) {
  const Config odd = small();
  const StoredTensors tensors = stored_tensors(random_vit(odd));
  const auto error = [](const StoredTensors& given) -> std::string {
    try {
      ViT::load(CheckpointMemory(given).open());
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_EQ(error(tensors),
            "vit: can't tell num_heads from model.safetensors: the shapes allow several; give a config");
  EXPECT_EQ(ViT::load(CheckpointMemory(tensors).open(), {.config = odd}).config, odd);
  EXPECT_EQ(ViT::load(CheckpointMemory(tensors, {{"config", odd.to_json()}}).open()).config, odd);
  StoredTensors part = tensors;
  part["pos_embed"] = {{1, 8, 24}, Floats(8 * 24)};
  EXPECT_EQ(error(part),
            "vit: can't tell img_size from model.safetensors: pos_embed has 8 rows, no square of patches; give a "
            "config");
  part.erase("patch_embed.proj.weight");
  EXPECT_EQ(error(part),
            "vit: can't tell embed_dim from model.safetensors: it has no 'patch_embed.proj.weight'; give a config");
}

TEST(ViTConfig, JsonRoundTripsAndKeepsTimmsDefaults) {
  std::vector<Config> all = forms();
  all.push_back(Config::vit_huge());
  all.push_back(Config::deit3());
  for (const Config& config : all) EXPECT_EQ(Config::from_json(aulos::io::json::parse(config.to_json())), config);
  EXPECT_EQ(Config::from_json(aulos::io::json::parse("{}")), Config::vit_base());
  EXPECT_EQ(Config::from_json(aulos::io::json::parse(R"({"init_values": null, "global_pool": "avg", "img_size": 384,
                                                         "architecture": "vit_base_patch16_384"})")),
            (Config{.img_size = 384, .global_pool = GlobalPool::avg}));
}

TEST(ViTConfig, SaysWhichFieldIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"depth": 0})", "vit: depth is 0, expected >= 1"},
      {R"({"num_classes": -1})", "vit: num_classes is -1, expected >= 1"},
      {R"({"img_size": 225})", "vit: img_size is 225, expected a multiple of patch_size = 16"},
      {R"({"num_heads": 5})", "vit: embed_dim is 768, expected a multiple of num_heads = 5"},
      {R"({"mlp_ratio": 0.0001})", "vit: mlp_ratio is 0.000100, expected at least one hidden channel"},
      {R"({"eps": 0})", "vit: eps is 0.000000, expected > 0"},
      {R"({"global_pool": "map"})", "vit: global_pool is \"map\", expected \"token\" or \"avg\""},
      {R"({"class_token": false})", "vit: class_token is false, expected true with global_pool \"token\""},
      {R"({"class_token": false, "distilled": true, "global_pool": "avg"})",
       "vit: class_token is false, expected true with distilled"},
      {R"({"distilled": true, "global_pool": "avg"})",
       "vit: global_pool is \"avg\", expected \"token\" with distilled"},
  };
  for (const auto& [json, text] : cases) {
    try {
      Config::from_json(aulos::io::json::parse(json));
      ADD_FAILURE() << text;
    } catch (const ConfigError& error) {
      EXPECT_STREQ(error.what(), text);
    }
  }
}

// int(width * ratio) must give back the hidden width.
TEST(ViTConfig, RatiosOfWidthsComeBack) {
  for (Index width = 1; width < 200; ++width)
    for (Index hidden = 1; hidden < 500; ++hidden)
      ASSERT_EQ((Config{.embed_dim = width, .mlp_ratio = aulos::models::mlp_ratio(hidden, width)}.mlp_hidden()), hidden)
          << width;
}

}  // namespace
