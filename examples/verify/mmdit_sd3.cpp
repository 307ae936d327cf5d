// mmdit-sd3: the joint block and the whole model.
#include "aulos/models/sd3.hpp"
#include "verify/families.hpp"

namespace verify {

using aulos::Case;
using aulos::models::SD3;
using aulos::models::SD3Block;
using aulos::models::SD3Config;

namespace {

SD3Config block_config(const aulos::io::json::Value& json) {
  SD3Config config;
  config.num_attention_heads = json.get<aulos::Index>("num_attention_heads");
  config.attention_head_dim = json.get<aulos::Index>("attention_head_dim");
  if (!json.get_or<std::string>("qk_norm", "").empty()) config.qk_norm = aulos::models::QkNormKind::rms_norm;
  return config;
}

void joint_block(Case& c) {
  const bool last = c.config().get_or<bool>("context_pre_only", false);
  const bool dual = c.config().get_or<bool>("use_dual_attention", false);
  const auto& block = c.module<SD3Block<float>>(block_config(c.config()), last, dual);
  SD3Block<float>::Streams streams;
  streams[0] = c.input<3>("hidden_states");
  streams[1] = c.input<3>("encoder_hidden_states");
  const auto temb = c.input<2>("temb");
  streams = block(std::move(streams), aulos::silu(temb));
  c.output("hidden_states", streams[0]);
  if (!last) c.output("encoder_hidden_states", streams[1]);
}

void model(Case& c) {
  auto& sd3 = c.module<SD3<float>>(SD3Config::from_json(c.config()));
  sd3.derive_buffers();
  const auto latent = c.input<4>("hidden_states");
  const auto prompt = c.input<3>("encoder_hidden_states");
  const auto pooled = c.input<2>("pooled_projections");
  const auto timestep = c.input<1>("timestep");
  c.output("sample", sd3(c.context(), latent, prompt, pooled, timestep));
}

}  // namespace

void add_mmdit_sd3(aulos::Registry& registry) {
  registry.add("mmdit-sd3.joint_block", joint_block);
  registry.add("mmdit-sd3.model", model);
}

}  // namespace verify
