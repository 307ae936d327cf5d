// Flux: published sizes, what its formulas promise, both checkpoint layouts.
#include "aulos/models/flux.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "aulos/core/context.hpp"
#include "aulos/core/random.hpp"
#include "aulos/nn/initialise.hpp"
#include "tests/kernels/thread_counts.hpp"

namespace {

using aulos::ConfigError;
using aulos::Context;
using aulos::Dtype;
using aulos::Index;
using aulos::Shape;
using aulos::ShapeError;
using aulos::Tensor;
using aulos::io::Checkpoint;
using aulos::models::Flux;
using aulos::models::FluxConfig;

FluxConfig small() {
  return {.in_channels = 6,
          .out_channels = 5,
          .num_layers = 2,
          .num_single_layers = 2,
          .attention_head_dim = 8,
          .num_attention_heads = 2,
          .joint_attention_dim = 10,
          .pooled_projection_dim = 7,
          .guidance_embeds = true,
          .axes_dims_rope = {2, 2, 4}};
}

Flux<float> random_flux(const FluxConfig& config) {
  Flux<float> model(config);
  aulos::Random random(1);
  aulos::nn::initialise_normal(model, random, 0.2);
  return model;
}

struct Inputs {
  Tensor<float, 3> latent, prompt;
  Tensor<float, 2> pooled, image_ids, text_ids;
  Tensor<float, 1> timestep, guidance;

  Inputs(Context& context, const FluxConfig& c, Index rows = 2, Index columns = 3, Index words = 3)
      : latent(context.normal<float>(Shape<3>{2, rows * columns, c.in_channels})),
        prompt(context.normal<float>(Shape<3>{2, words, c.joint_attention_dim})),
        pooled(context.normal<float>(Shape<2>{2, c.pooled_projection_dim})),
        image_ids(aulos::grid_positions<float>(context, Shape<3>{1, rows, columns})),
        text_ids(context.zeros<float>(Shape<2>{words, 3})),
        timestep(context.full(Shape<1>{2}, 0.4f)),
        guidance(context.full(Shape<1>{2}, 3.5f)) {}

  std::vector<float> run(Context& context, const Flux<float>& model) const {
    const auto y = model(context, latent, prompt, pooled, timestep, image_ids, text_ids, guidance);
    return {y.data(), y.data() + y.count()};
  }
  void shift_ids(Context& context, Tensor<float, 2> Inputs::*of, float by) {
    Tensor<float, 2> moved = context.empty<float>((this->*of).shape());
    for (Index i = 0; i < moved.count(); ++i) moved.mutable_data()[i] = (this->*of).data()[i] + by;
    this->*of = moved;
  }
};

float distance(const std::vector<float>& a, const std::vector<float>& b) {
  float most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

TEST(Flux, CountsTheParametersOfThePublishedModels) {
  EXPECT_EQ(aulos::nn::parameter_count(Flux<float>(FluxConfig::flux1_dev())), 11901408320);
  EXPECT_EQ(aulos::nn::parameter_count(Flux<float>(FluxConfig::flux1_schnell())), 11891178560);
}

TEST(Flux, OnlyDistancesOfCoordinatesMatter) {
  Context context({.threads = 1, .seed = 2});
  const Flux<float> model = random_flux(small());
  Inputs in(context, model.config);
  const auto y = in.run(context, model);
  in.shift_ids(context, &Inputs::image_ids, 5);
  const auto image_moved = in.run(context, model);
  in.shift_ids(context, &Inputs::text_ids, 5);
  EXPECT_LT(distance(in.run(context, model), y), 1e-4f);
  EXPECT_GT(distance(image_moved, y), 1e-3f);
}

TEST(Flux, ThreadsDoNotChangeABit) {
  const Flux<float> model = random_flux(small());
  std::vector<std::vector<float>> results;
  for (const int threads : aulos_test::thread_counts) {
    Context context({.threads = threads, .seed = 2});
    const Inputs in(context, model.config, 19, 23, 37);  // enough to share
    results.push_back(in.run(context, model));
  }
  for (const auto& result : results) EXPECT_EQ(result, results[0]);
}

TEST(Flux, GuidanceBelongsToDistilledModels) {
  Context context({.threads = 1});
  const Flux<float> model = random_flux(small());
  Inputs in(context, model.config);
  in.guidance = {};
  EXPECT_THROW(in.run(context, model), ShapeError);
}

// ---- checkpoints

struct Stored {
  std::vector<Index> shape;
  std::vector<float> values;
};
using Tensors = std::map<std::string, Stored>;

Tensors tensors_of(const Flux<float>& model) {
  Tensors tensors;
  aulos::nn::for_each_parameter(model, [&](const auto& p) {
    tensors[p.name] = {p.shape, {p.any().data(), p.any().data() + p.count()}};
  });
  return tensors;
}

Checkpoint checkpoint(const Tensors& tensors, std::vector<std::byte>& bytes) {
  std::vector<aulos::io::SaveTensor> list;
  for (const auto& [name, stored] : tensors)
    list.push_back({name, Dtype::f32, stored.shape, std::as_bytes(std::span(stored.values))});
  bytes = aulos::io::serialize(list);
  return Checkpoint::from_bytes(bytes, "flux.safetensors");
}

// The published single-file layout, written down from its description.
Tensors single_file(Tensors from, const FluxConfig& config, const std::string& prefix) {
  Tensors to;
  const auto move = [&](const std::string& a, const std::string& b) {
    to[prefix + b] = from.at(a);
    from.erase(a);
  };
  const auto both = [&](const std::string& a, const std::string& b) {
    move(a + ".weight", b + ".weight");
    move(a + ".bias", b + ".bias");
  };
  const auto fuse = [&](const std::string& a, const std::vector<std::string>& names, const std::string& b) {
    for (const std::string leaf : {".weight", ".bias"}) {
      Stored all = from.at(a + names[0] + leaf);
      for (std::size_t i = 1; i < names.size(); ++i) {
        const Stored& part = from.at(a + names[i] + leaf);
        all.shape[0] += part.shape[0];
        all.values.insert(all.values.end(), part.values.begin(), part.values.end());
      }
      for (const std::string& name : names) from.erase(a + name + leaf);
      to[prefix + b + leaf] = all;
    }
  };
  for (const auto& [a, b] : {std::pair("timestep_embedder", "time_in"), std::pair("text_embedder", "vector_in"),
                             std::pair("guidance_embedder", "guidance_in")}) {
    both(std::string("time_text_embed.") + a + ".linear_1", std::string(b) + ".in_layer");
    both(std::string("time_text_embed.") + a + ".linear_2", std::string(b) + ".out_layer");
  }
  both("context_embedder", "txt_in");
  both("x_embedder", "img_in");
  both("proj_out", "final_layer.linear");
  both("norm_out.linear", "final_layer.adaLN_modulation.1");
  for (const std::string leaf : {".weight", ".bias"}) {
    auto& values = to.at(prefix + "final_layer.adaLN_modulation.1" + leaf).values;
    std::rotate(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  }
  for (Index i = 0; i < config.num_layers; ++i) {
    const std::string a = "transformer_blocks." + std::to_string(i) + ".";
    const std::string b = "double_blocks." + std::to_string(i) + ".";
    both(a + "norm1.linear", b + "img_mod.lin");
    both(a + "norm1_context.linear", b + "txt_mod.lin");
    fuse(a + "attn.", {"to_q", "to_k", "to_v"}, b + "img_attn.qkv");
    fuse(a + "attn.", {"add_q_proj", "add_k_proj", "add_v_proj"}, b + "txt_attn.qkv");
    move(a + "attn.norm_q.weight", b + "img_attn.norm.query_norm.scale");
    move(a + "attn.norm_k.weight", b + "img_attn.norm.key_norm.scale");
    move(a + "attn.norm_added_q.weight", b + "txt_attn.norm.query_norm.scale");
    move(a + "attn.norm_added_k.weight", b + "txt_attn.norm.key_norm.scale");
    both(a + "attn.to_out.0", b + "img_attn.proj");
    both(a + "attn.to_add_out", b + "txt_attn.proj");
    both(a + "ff.net.0.proj", b + "img_mlp.0");
    both(a + "ff.net.2", b + "img_mlp.2");
    both(a + "ff_context.net.0.proj", b + "txt_mlp.0");
    both(a + "ff_context.net.2", b + "txt_mlp.2");
  }
  for (Index i = 0; i < config.num_single_layers; ++i) {
    const std::string a = "single_transformer_blocks." + std::to_string(i) + ".";
    const std::string b = "single_blocks." + std::to_string(i) + ".";
    both(a + "norm.linear", b + "modulation.lin");
    fuse(a, {"attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"}, b + "linear1");
    move(a + "attn.norm_q.weight", b + "norm.query_norm.scale");
    move(a + "attn.norm_k.weight", b + "norm.key_norm.scale");
    both(a + "proj_out", b + "linear2");
  }
  EXPECT_TRUE(from.empty()) << from.begin()->first;
  return to;
}

TEST(FluxCheckpoint, BothLayoutsGiveTheSameModel) {
  const FluxConfig config = small();
  const Flux<float> model = random_flux(config);
  const Tensors expected = tensors_of(model);
  const auto expect_same = [&](const Flux<float>& loaded) {
    for (const auto& [name, stored] : tensors_of(loaded)) EXPECT_EQ(stored.values, expected.at(name).values) << name;
  };
  std::vector<std::byte> bytes;
  expect_same(Flux<float>::load(checkpoint(expected, bytes), {.config = config}));
  for (const std::string prefix : {"", "model.diffusion_model."}) {
    Tensors file = single_file(expected, config, prefix);
    if (!prefix.empty()) file["vae.decoder.conv_in.weight"] = {{1}, {0}};
    expect_same(Flux<float>::load(checkpoint(file, bytes), {.config = config}));
  }
  expect_same(Flux<float>::load(checkpoint(single_file(expected, config, "part."), bytes),
                                {.prefix = "part.", .config = config}));
}

TEST(FluxCheckpoint, TheShapesTellThePublishedConfiguration) {
  FluxConfig config = small();
  config.num_attention_heads = 1;
  config.attention_head_dim = 128;
  config.axes_dims_rope = {16, 56, 56};
  const Tensors tensors = tensors_of(random_flux(config));
  std::vector<std::byte> bytes;
  EXPECT_EQ(Flux<float>::load(checkpoint(tensors, bytes)).config, config);
  EXPECT_EQ(Flux<float>::load(checkpoint(single_file(tensors, config, ""), bytes)).config, config);
}

TEST(FluxCheckpoint, WhatStaysOpenIsNamed) {
  std::vector<std::byte> bytes;
  const Checkpoint file = checkpoint(tensors_of(random_flux(small())), bytes);
  try {
    Flux<float>::load(file);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("axes_dims_rope"), std::string::npos) << error.what();
  }
}

TEST(FluxConfig, TextAndBack) {
  const FluxConfig config = small();
  EXPECT_EQ(FluxConfig::from_json(aulos::io::json::parse(config.to_json())), config);
  EXPECT_EQ(FluxConfig::from_json(aulos::io::json::parse(R"({"in_channels": 12, "out_channels": null})")).out_channels,
            12);
  EXPECT_THROW(FluxConfig::from_json(aulos::io::json::parse(R"({"axes_dims_rope": [16, 56, 54]})")), ConfigError);
  EXPECT_THROW(FluxConfig::from_json(aulos::io::json::parse(R"({"axes_dims_rope": [16, 112]})")), ConfigError);
  EXPECT_THROW(FluxConfig::from_json(aulos::io::json::parse(R"({"num_layers": 0})")), ConfigError);
}

}  // namespace
