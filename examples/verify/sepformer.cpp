// sepformer: segmentation and overlap-add, the whole model.
#include "aulos/models/sepformer.hpp"

#include "aulos/ops/layout.hpp"
#include "verify/families.hpp"

namespace verify {

using namespace aulos;

namespace {

// The reference keeps channels in front: x [B, C, L], chunks [B, C, K, S].
void segmentation(Case& c) {
  Index i = 0;
  for (const io::json::Value& each : c.config().find("cases")->items()) {
    const std::string number = std::to_string(i++);
    const ChunkTable table = path::half_overlapping(each.get<Index>("L"), each.get<Index>("K"));
    const auto channels_first = [](const Tensor<float, 3>& y) { return permute(y, Shape<3>{0, 2, 1}); };
    const auto x = permute(c.input<3>("x" + number), Shape<3>{0, 2, 1});
    const auto z = permute(c.input<4>("z" + number), Shape<4>{0, 3, 2, 1});
    const auto chunks = segment(x, table);
    c.output("segments" + number, permute(chunks, Shape<4>{0, 3, 2, 1}));
    c.output("roundtrip" + number, channels_first(overlap_add(chunks, table)));
    c.output("overlap_add_z" + number, channels_first(overlap_add(z, table)));
  }
}

void model(Case& c) {
  auto& sepformer = c.module<models::SepFormer<float>>(models::SepFormerConfig::from_json(c.config()));
  sepformer.derive_buffers();
  const auto mix = c.input<2>("mix");
  c.output("sources", sepformer(c.context(), mix));
}

}  // namespace

void add_sepformer(Registry& registry) {
  registry.add("sepformer.segmentation", segmentation);
  registry.add("sepformer.model", model);
}

}  // namespace verify
