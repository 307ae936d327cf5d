// vit: the block and the whole model.
#include "aulos/models/vit.hpp"
#include "verify/families.hpp"

namespace verify {

using aulos::Case;
using aulos::models::ViT;
using aulos::models::ViTBlock;
using aulos::models::ViTConfig;

namespace {

void block(Case& c) {
  ViTConfig config;
  ViTConfig::fields(config, aulos::models::FieldReader("vit", c.config()));
  config.embed_dim = c.config().get<aulos::Index>("dim");
  const auto& block = c.module<ViTBlock<float>>(aulos::models::vit_block<float>(config));
  c.output("out", block(c.input<3>("x")));
}

void model(Case& c) {
  const auto& vit = c.module<ViT<float>>(ViTConfig::from_json(c.config()));
  c.output("logits", vit(c.context(), c.input<4>("x")));
}

}  // namespace

void add_vit(aulos::Registry& registry) {
  registry.add("vit.block", block);
  registry.add("vit.model", model);
}

}  // namespace verify
