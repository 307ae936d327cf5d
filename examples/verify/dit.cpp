// dit: the block, the whole model and its guidance, the other three ways to condition it.
#include "aulos/models/dit.hpp"
#include "verify/families.hpp"

namespace verify {

using aulos::Case;
using aulos::Index;
using aulos::models::DiT;
using aulos::models::DiTBlock;
using aulos::models::DiTConfig;
using aulos::models::DiTTransformer;

namespace {

// Of a part: what the case does not say keeps its default.
DiTConfig part_config(const Case& c) {
  DiTConfig config;
  DiTConfig::fields(config, aulos::models::FieldReader("dit", c.config()));
  return config;
}

void block(Case& c) {
  const auto& block = c.module<DiTBlock<float>>(part_config(c));
  const auto x = c.input<3>("x");
  const auto vector = c.input<2>("c");
  c.output("out", block(x, {aulos::silu(vector), {}}));
}

// Times may be whole numbers.
aulos::Tensor<float, 1> times(Case& c) {
  if (c.checkpoint().info("input/t").dtype == aulos::Dtype::f32) return c.input<1>("t");
  const auto t = c.indices<1>("t");
  auto as_float = c.context().empty<float>(t.shape());
  for (Index i = 0; i < t.count(); ++i) as_float.mutable_data()[i] = static_cast<float>(t(i));
  return as_float;
}

DiT<float>& whole(Case& c) {
  auto& dit = c.module<DiT<float>>(DiTConfig::from_json(c.config()));
  dit.derive_buffers();
  return dit;
}

void model(Case& c) {
  const auto& dit = whole(c);
  const auto x = c.input<4>("x");
  c.output("out", dit(c.context(), x, times(c), c.indices<1>("y")));
}

void guided(Case& c) {
  const auto& dit = whole(c);
  const double scale = c.config().get<double>("cfg_scale");
  const Index channels = c.config().get_or<Index>("guided_channels", 3);
  const auto x = c.input<4>("x");
  c.output("out", dit.forward_with_cfg(c.context(), x, times(c), c.indices<1>("y"), scale, channels));
}

// The transformer alone, its final layer unnamed.
struct Variant : DiTTransformer<float> {
  using DiTTransformer<float>::DiTTransformer;
  void visit(auto&& v) {
    v("blocks", blocks);
    final_layer.visit(v);
  }
};

void variant(Case& c) {
  const auto& variant = c.module<Variant>(part_config(c), c.config().get<Index>("out"));
  const auto x = c.input<3>("x");
  const auto t = c.input<2>("t");
  const auto y = c.input<2>("y");
  c.output("out", variant(c.context(), x, t, y));
}

}  // namespace

void add_dit(aulos::Registry& registry) {
  registry.add("dit.block", block);
  registry.add("dit.cfg", guided);
  registry.add("dit.model", model);
  registry.add("dit.variant", variant);
}

}  // namespace verify
