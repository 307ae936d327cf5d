// mmdit-flux: both kinds of blocks and the whole model.
#include "aulos/models/flux.hpp"
#include "verify/families.hpp"

namespace verify {

using aulos::Case;
using aulos::Index;
using aulos::Tensor;
using aulos::models::Flux;
using aulos::models::FluxConfig;
using aulos::models::FluxSingleBlock;
using aulos::models::ImageTextBlock;
using aulos::models::TextStream;

namespace {

FluxConfig block_config(const Case& c) {
  FluxConfig config;
  config.num_attention_heads = c.config().get<Index>("num_attention_heads");
  config.attention_head_dim = c.config().get<Index>("attention_head_dim");
  config.set_axes(*c.config().find("axes_dims_rope"));
  return config;
}

// Coordinates of tokens, whole numbers in the file.
Tensor<float, 2> ids(Case& c, const char* name) {
  const Tensor<std::int64_t, 2> whole = c.indices<2>(name);
  Tensor<float, 2> x = c.context().empty<float>(whole.shape());
  for (Index i = 0; i < whole.count(); ++i) x.mutable_data()[i] = static_cast<float>(whole.data()[i]);
  return x;
}

void double_block(Case& c) {
  const FluxConfig config = block_config(c);
  const auto& block =
      c.module<ImageTextBlock<float>>(config.width(), aulos::models::flux_qkv<float>(config), TextStream::updated);
  ImageTextBlock<float>::Streams streams;
  streams[0] = c.input<3>("hidden_states");
  streams[1] = c.input<3>("encoder_hidden_states");
  const auto rotation = aulos::models::flux_rotation(config, ids(c, "img_ids"), ids(c, "txt_ids"));
  streams = block(std::move(streams), aulos::silu(c.input<2>("temb")), rotation);
  c.output("hidden_states", streams[0]);
  c.output("encoder_hidden_states", streams[1]);
}

void single_block(Case& c) {
  const FluxConfig config = block_config(c);
  const auto& block = c.module<FluxSingleBlock<float>>(config, c.config().get_or<double>("mlp_ratio", 4));
  const auto image = c.input<3>("hidden_states");
  const auto text = c.input<3>("encoder_hidden_states");
  const auto rotation = aulos::models::flux_rotation(config, ids(c, "img_ids"), ids(c, "txt_ids"));
  const Index split = text.extent(1);
  const auto x = block(aulos::concat(std::array{text, image}, 1), aulos::silu(c.input<2>("temb")),
                       {{Flux<float>::joined_table(rotation)}, rotation.pairs});
  c.output("encoder_hidden_states", x.slice(1, 0, split));
  c.output("hidden_states", x.slice(1, split, x.extent(1)));
}

void model(Case& c) {
  const auto& flux = c.module<Flux<float>>(FluxConfig::from_json(c.config()));
  const auto latent = c.input<3>("hidden_states");
  const auto prompt = c.input<3>("encoder_hidden_states");
  const auto pooled = c.input<2>("pooled_projections");
  const auto timestep = c.input<1>("timestep");
  const Tensor<float, 1> guidance = c.has_input("guidance") ? c.input<1>("guidance") : Tensor<float, 1>{};
  c.output("sample",
           flux(c.context(), latent, prompt, pooled, timestep, ids(c, "img_ids"), ids(c, "txt_ids"), guidance));
}

}  // namespace

void add_mmdit_flux(aulos::Registry& registry) {
  registry.add("mmdit-flux.double_block", double_block);
  registry.add("mmdit-flux.single_block", single_block);
  registry.add("mmdit-flux.model", model);
}

}  // namespace verify
