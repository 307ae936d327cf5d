#include "common/shapes_model.hpp"

#include "inspect/families.hpp"

namespace inspect {

namespace {

using aulos_examples::ShapesConfig;
using aulos_examples::ShapesModel;

// One step of drawing: the text, then the velocity.
std::string forward(aulos::Context& dry, const ShapesModel& model, const Request& request) {
  const Index height = request.height > 0 ? request.height : model.side();
  const Index width = request.width > 0 ? request.width : model.side();
  const Index tokens = request.tokens > 0 ? request.tokens : model.text_encoder.position_embedding.extent(0);
  const Index batch = request.batch;
  model.velocity(dry, dry.empty<float>(aulos::Shape<4>{batch, model.transformer.config.in_channels, height, width}),
                 dry.empty<std::int64_t>(aulos::Shape<2>{batch, tokens}), dry.empty<float>(aulos::Shape<1>{batch}));
  return aulos::concat_text({height, " x ", width, " pixels, ", tokens, " text tokens, batch ", batch});
}

// What the repository's checkpoint is.
ShapesConfig published() {
  ShapesConfig config;
  config.text_encoder.vocab_size = 28;
  config.transformer = {.sample_size = 64,
                        .patch_size = 4,
                        .in_channels = 3,
                        .out_channels = 3,
                        .num_layers = 6,
                        .attention_head_dim = 32,
                        .num_attention_heads = 4,
                        .joint_attention_dim = 96,
                        .pooled_projection_dim = 96,
                        .pos_embed_max_size = 16,
                        .qk_norm = aulos::models::QkNormKind::rms_norm};
  return config;
}

}  // namespace

void add_shapes(Layouts& layouts) {
  LayoutOf<ShapesModel, ShapesConfig> layout{
      .system = "shapes",
      .names = "names of the examples' model",
      .published = {{"text_to_image's", published()}},
      .of_checkpoint =
          [](const aulos::io::Checkpoint& checkpoint, const std::string&) {
            if (auto config = aulos::models::config_in_metadata<ShapesConfig>(checkpoint)) return *config;
            throw aulos::ConfigError("shapes: no `config` in the metadata");
          },
      .stored_as = [](const std::string& name, const ShapesConfig&) { return as_named(name); },
      .forward = forward,
  };
  add(layouts, layout);
}

}  // namespace inspect
