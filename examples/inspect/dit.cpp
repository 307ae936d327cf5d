#include "aulos/models/dit.hpp"

#include "inspect/families.hpp"

namespace inspect {

namespace {

using DiT = aulos::models::DiT<float>;
using aulos::Shape;
using aulos::models::DiTConfig;

constexpr Index pixels = 8;  // a side of the latent's elements, by the autoencoder

std::string forward(aulos::Context& dry, const DiT& model, const Request& request) {
  const DiTConfig& c = model.config;
  const Index height = multiple_of(pixels, request.height > 0 ? request.height : c.input_size * pixels, "height");
  const Index width = multiple_of(pixels, request.width > 0 ? request.width : c.input_size * pixels, "width");
  const Index batch = request.batch;
  model(dry, dry.empty<float>(Shape<4>{batch, c.in_channels, height / pixels, width / pixels}),
        dry.empty<float>(Shape<1>{batch}), dry.empty<std::int64_t>(Shape<1>{batch}));
  return aulos::concat_text({height, " x ", width, " pixels, batch ", batch});
}

}  // namespace

void add_dit(Layouts& layouts) {
  add<DiT>(layouts, {.system = "dit",
                     .names = "official names",
                     .published = {{"DiT-S/2", DiTConfig::s(2)},
                                   {"DiT-S/4", DiTConfig::s(4)},
                                   {"DiT-S/8", DiTConfig::s(8)},
                                   {"DiT-B/2", DiTConfig::b(2)},
                                   {"DiT-B/4", DiTConfig::b(4)},
                                   {"DiT-B/8", DiTConfig::b(8)},
                                   {"DiT-L/2", DiTConfig::l(2)},
                                   {"DiT-L/4", DiTConfig::l(4)},
                                   {"DiT-L/8", DiTConfig::l(8)},
                                   {"DiT-XL/2", DiTConfig::xl(2)},
                                   {"DiT-XL/4", DiTConfig::xl(4)},
                                   {"DiT-XL/8", DiTConfig::xl(8)},
                                   {"DiT-XL/2 for 512 x 512", DiTConfig::xl(2, 64)}},
                     .of_checkpoint = aulos::models::dit_config_of,
                     .stored_as = [](const std::string& name, const DiTConfig&) { return as_named(name); },
                     .forward = forward});
}

}  // namespace inspect
