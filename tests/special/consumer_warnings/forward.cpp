// A consumer's file that runs a whole model.
#include "aulos/aulos.hpp"
#include "aulos/models/sd3.hpp"

double run_model(const aulos::models::SD3<float>& model) {
  aulos::Context context({.threads = 1});
  const aulos::models::SD3Config& config = model.config;
  const auto velocity = model(context, context.normal<float>(aulos::Shape<4>{1, config.in_channels, 8, 8}),
                              context.normal<float>(aulos::Shape<3>{1, 3, config.joint_attention_dim}),
                              context.normal<float>(aulos::Shape<2>{1, config.pooled_projection_dim}),
                              context.full<float>(aulos::Shape<1>{1}, 500.0F));
  return static_cast<double>(velocity(0, 0, 0, 0));
}
