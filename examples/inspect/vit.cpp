#include "aulos/models/vit.hpp"

#include "inspect/families.hpp"

namespace inspect {

namespace {

using ViT = aulos::models::ViT<float>;
using aulos::models::ViTConfig;

std::string forward(aulos::Context& dry, const ViT& model, const Request& request) {
  const ViTConfig& c = model.config;
  const Index height = request.height > 0 ? request.height : c.img_size;
  const Index width = request.width > 0 ? request.width : c.img_size;
  model(dry, dry.empty<float>(aulos::Shape<4>{request.batch, c.in_chans, height, width}));
  return aulos::concat_text({height, " x ", width, " pixels, batch ", request.batch});
}

}  // namespace

void add_vit(Layouts& layouts) {
  const auto deit = [](const ViTConfig& of) { return ViTConfig::deit_distilled(of); };
  const auto deit3 = [](const ViTConfig& of) { return ViTConfig::deit3(of); };
  add<ViT>(layouts, {.system = "vit",
                     .names = "timm's names",
                     .published = {{"ViT-Ti/16", ViTConfig::vit_tiny()},
                                   {"ViT-S/16", ViTConfig::vit_small()},
                                   {"ViT-B/16", ViTConfig::vit_base()},
                                   {"ViT-L/16", ViTConfig::vit_large()},
                                   {"ViT-H/14", ViTConfig::vit_huge()},
                                   {"DeiT-Ti/16, distilled", deit(ViTConfig::vit_tiny())},
                                   {"DeiT-S/16, distilled", deit(ViTConfig::vit_small())},
                                   {"DeiT-B/16, distilled", deit(ViTConfig::vit_base())},
                                   {"DeiT-III-S/16", deit3(ViTConfig::vit_small())},
                                   {"DeiT-III-B/16", deit3(ViTConfig::vit_base())},
                                   {"DeiT-III-L/16", deit3(ViTConfig::vit_large())}},
                     .of_checkpoint = aulos::models::vit_config_of,
                     .stored_as = [](const std::string& name, const ViTConfig&) { return as_named(name); },
                     .forward = forward});
}

}  // namespace inspect
