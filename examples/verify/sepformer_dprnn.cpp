// sepformer: DPRNN's mask network.
#include "aulos/models/sepformer.hpp"
#include "aulos/ops/layout.hpp"
#include "verify/families.hpp"

namespace verify {

using namespace aulos;

// x [B, N, L] -> mask [speakers, B, N, L]; the reference keeps channels in front.
void add_sepformer_dprnn(Registry& registry) {
  registry.add("sepformer.dprnn_masknet", [](Case& c) {
    const auto config = models::DprnnConfig::from_json(c.config());
    const auto& net = c.module<models::MaskNet<float, models::RecurrentPath<float>>>(config.masknet());
    const auto masks = net(permute(c.input<3>("x"), Shape<3>{0, 2, 1}));
    c.output("mask", permute(masks, Shape<4>{2, 0, 3, 1}));
  });
}

}  // namespace verify
