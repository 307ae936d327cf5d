// Small SD3 models and their inputs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "aulos/core/context.hpp"
#include "aulos/core/random.hpp"
#include "aulos/models/sd3.hpp"
#include "aulos/nn/initialise.hpp"

namespace aulos_tests {

using SD3 = aulos::models::SD3<float>;
using SD3Config = aulos::models::SD3Config;

// Three blocks of everything that SD3.5 has: the first with dual attention, the last without text of its own.
inline SD3Config small_sd35() {
  return {.sample_size = 16,
          .patch_size = 2,
          .in_channels = 4,
          .out_channels = 3,
          .num_layers = 3,
          .attention_head_dim = 16,
          .num_attention_heads = 4,
          .joint_attention_dim = 48,
          .pooled_projection_dim = 24,
          .pos_embed_max_size = 12,
          .qk_norm = aulos::models::QkNormKind::rms_norm,
          .dual_attention_layers = {0}};
}

inline SD3 random_sd3(const SD3Config& config, std::uint64_t seed = 1, double std = 0.2) {
  SD3 model(config);
  aulos::Random random(seed);
  aulos::nn::initialise_normal(model, random, std);
  model.derive_buffers();
  return model;
}

// Inputs of a call: a latent that is not square, seven text tokens.
struct SD3Inputs {
  aulos::Tensor<float, 4> latent;
  aulos::Tensor<float, 3> prompt;
  aulos::Tensor<float, 2> pooled;
  aulos::Tensor<float, 1> timestep;

  SD3Inputs(aulos::Context& context, const SD3Config& c, aulos::Index batch, aulos::Index height = 12,
            aulos::Index width = 8, aulos::Index tokens = 7)
      : latent(context.normal<float>(aulos::Shape<4>{batch, c.in_channels, height, width})),
        prompt(context.normal<float>(aulos::Shape<3>{batch, tokens, c.joint_attention_dim})),
        pooled(context.normal<float>(aulos::Shape<2>{batch, c.pooled_projection_dim})),
        timestep(context.uniform<float>(aulos::Shape<1>{batch})) {
    if (context.dry()) return;
    for (aulos::Index i = 0; i < batch; ++i) timestep.mutable_data()[i] *= 1000;
  }

  // A template, so that only who calls it compiles the model's forward.
  template <class Model>
  aulos::Tensor<float, 4> run(aulos::Context& context, const Model& model) const {
    return model(context, latent, prompt, pooled, timestep);
  }
};

template <int Rank>
std::vector<float> values(const aulos::Tensor<float, Rank>& x) {
  return {x.data(), x.data() + x.count()};
}

// The model's result for fixed inputs; in sd3_test.cpp.
std::vector<float> sd3_output(const SD3& model);

}  // namespace aulos_tests
