#include "aulos/models/sd3.hpp"

#include <algorithm>

#include "inspect/families.hpp"

namespace inspect {

namespace {

using SD3 = aulos::models::SD3<float>;
using aulos::Shape;
using aulos::models::CheckpointLayout;
using aulos::models::SD3Config;

constexpr Index pixels = 8;  // a side of the latent's elements, by the autoencoder

std::string forward(aulos::Context& dry, const SD3& model, const Request& request) {
  const SD3Config& c = model.config;
  const Index side = std::min(c.sample_size, c.pos_embed_max_size * c.patch_size) * pixels;
  const Index height = multiple_of(pixels * c.patch_size, request.height > 0 ? request.height : side, "height");
  const Index width = multiple_of(pixels * c.patch_size, request.width > 0 ? request.width : side, "width");
  const Index tokens = request.tokens > 0 ? request.tokens : 333;  // 77 of CLIP and 256 of T5
  const Index batch = request.batch;
  model(dry, dry.empty<float>(Shape<4>{batch, c.in_channels, height / pixels, width / pixels}),
        dry.empty<float>(Shape<3>{batch, tokens, c.joint_attention_dim}),
        dry.empty<float>(Shape<2>{batch, c.pooled_projection_dim}), dry.empty<float>(Shape<1>{batch}));
  return aulos::concat_text({height, " x ", width, " pixels, ", tokens, " text tokens, batch ", batch});
}

}  // namespace

void add_sd3(Layouts& layouts) {
  LayoutOf<SD3> layout{
      .system = "sd3",
      .names = "diffusers' names",
      .published = {{"SD3 medium", SD3Config::sd3_medium()},
                    {"SD3.5 medium", SD3Config::sd35_medium()},
                    {"SD3.5 large", SD3Config::sd35_large()}},
      .of_checkpoint =
          [](const aulos::io::Checkpoint& checkpoint, const std::string& prefix) {
            return aulos::models::sd3_config_of(checkpoint, {CheckpointLayout::diffusers, prefix});
          },
      .stored_as = [](const std::string& name, const SD3Config&) { return as_named(name); },
      .forward = forward,
  };
  add(layouts, layout);
  layout.names = "names of the published single file";
  layout.of_checkpoint = [](const aulos::io::Checkpoint& checkpoint, const std::string& prefix) {
    return aulos::models::sd3_config_of(checkpoint, {CheckpointLayout::single_file, prefix});
  };
  layout.stored_as = [](const std::string& name, const SD3Config& config) {
    return aulos::models::sd3_single_file_name(name, config.num_layers - 1);
  };
  add(layouts, layout);
}

}  // namespace inspect
