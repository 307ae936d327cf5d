// Small DiT models and their inputs.
#pragma once

#include <vector>

#include "aulos/core/context.hpp"
#include "aulos/core/random.hpp"
#include "aulos/models/dit.hpp"
#include "aulos/nn/initialise.hpp"

namespace aulos_tests {

using DiT = aulos::models::DiT<float>;
using DiTConfig = aulos::models::DiTConfig;

inline DiTConfig small_dit(aulos::models::DiTConditioning conditioning = {}) {
  return {.input_size = 8,
          .patch_size = 2,
          .in_channels = 4,
          .hidden_size = 24,
          .depth = 2,
          .num_heads = 2,
          .num_classes = 5,
          .conditioning = conditioning};
}

constexpr aulos::models::DiTConditioning every_conditioning[] = {
    aulos::models::DiTConditioning::adaln_zero, aulos::models::DiTConditioning::adaln,
    aulos::models::DiTConditioning::in_context, aulos::models::DiTConditioning::cross_attention};

inline DiT random_dit(const DiTConfig& config, double std = 0.2) {
  DiT model(config);
  aulos::Random random(1);
  aulos::nn::initialise_normal(model, random, std);
  model.derive_buffers();
  return model;
}

struct DiTInputs {
  aulos::Tensor<float, 4> latent;
  aulos::Tensor<float, 1> timestep;
  aulos::Tensor<std::int64_t, 1> labels;

  DiTInputs(aulos::Context& context, const DiTConfig& c, aulos::Index batch)
      : latent(context.normal<float>(aulos::Shape<4>{batch, c.in_channels, c.input_size, c.input_size})),
        timestep(context.zeros<float>(aulos::Shape<1>{batch})),
        labels(context.zeros<std::int64_t>(aulos::Shape<1>{batch})) {
    if (context.dry()) return;
    for (aulos::Index i = 0; i < batch; ++i) {
      timestep.mutable_data()[i] = static_cast<float>(997 - 250 * i);
      labels.mutable_data()[i] = i + 1;
    }
  }
  template <class Model>
  aulos::Tensor<float, 4> run(aulos::Context& context, const Model& model) const {
    return model(context, latent, timestep, labels);
  }
};

template <int Rank>
std::vector<float> dit_values(const aulos::Tensor<float, Rank>& x) {
  return {x.data(), x.data() + x.count()};
}

// The model's result for fixed inputs; in dit_test.cpp.
std::vector<float> dit_output(const DiT& model, int threads = 1);

}  // namespace aulos_tests
