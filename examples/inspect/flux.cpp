#include "aulos/models/flux.hpp"

#include "inspect/families.hpp"

namespace inspect {

namespace {

using Flux = aulos::models::Flux<float>;
using aulos::Shape;
using aulos::models::CheckpointLayout;
using aulos::models::FluxConfig;

constexpr Index pixels = 16;  // a side of a token: 8 by the autoencoder, 2 by packing

std::string forward(aulos::Context& dry, const Flux& model, const Request& request) {
  const FluxConfig& c = model.config;
  const Index height = multiple_of(pixels, request.height > 0 ? request.height : 1024, "height");
  const Index width = multiple_of(pixels, request.width > 0 ? request.width : 1024, "width");
  const Index tokens = request.tokens > 0 ? request.tokens : 512;
  const Index batch = request.batch, image = (height / pixels) * (width / pixels);
  const auto one_each = [&] { return dry.empty<float>(Shape<1>{batch}); };
  model(dry, dry.empty<float>(Shape<3>{batch, image, c.in_channels}),
        dry.empty<float>(Shape<3>{batch, tokens, c.joint_attention_dim}),
        dry.empty<float>(Shape<2>{batch, c.pooled_projection_dim}), one_each(), dry.empty<float>(Shape<2>{image, 3}),
        dry.empty<float>(Shape<2>{tokens, 3}), c.guidance_embeds ? one_each() : aulos::Tensor<float, 1>());
  return aulos::concat_text({height, " x ", width, " pixels, ", tokens, " text tokens, batch ", batch});
}

}  // namespace

void add_flux(Layouts& layouts) {
  LayoutOf<Flux, FluxConfig> layout{
      .system = "flux",
      .names = "diffusers' names",
      .published = {{"FLUX.1 dev", FluxConfig::flux1_dev()}, {"FLUX.1 schnell", FluxConfig::flux1_schnell()}},
      .of_checkpoint =
          [](const aulos::io::Checkpoint& checkpoint, const std::string& prefix) {
            return aulos::models::flux_config_of(checkpoint, {CheckpointLayout::diffusers, prefix});
          },
      .stored_as = [](const std::string& name, const FluxConfig&) { return as_named(name); },
      .forward = forward,
  };
  add(layouts, layout);
  layout.names = "names of the published single file";
  layout.of_checkpoint = [](const aulos::io::Checkpoint& checkpoint, const std::string& prefix) {
    return aulos::models::flux_config_of(checkpoint, {CheckpointLayout::single_file, prefix});
  };
  layout.stored_as = [](const std::string& name, const FluxConfig&) {
    return aulos::models::flux_single_file_name(name, 4);
  };
  add(layouts, layout);
}

}  // namespace inspect
