#include "aulos/models/flux.hpp"

#include "tests/special/allocations/families.hpp"

namespace aulos_tests {

bool quiet_flux() {
  using aulos::Shape;
  const auto model = random_model<aulos::models::Flux<float>>({.in_channels = 16,
                                                               .out_channels = 16,
                                                               .num_layers = 2,
                                                               .num_single_layers = 2,
                                                               .attention_head_dim = 16,
                                                               .num_attention_heads = 4,
                                                               .joint_attention_dim = 40,
                                                               .pooled_projection_dim = 24,
                                                               .guidance_embeds = true,
                                                               .axes_dims_rope = {4, 6, 6}});
  return quiet_forward("flux", {3, 16}, [&](aulos::Context& context, aulos::Index side) {
    const aulos::models::FluxConfig& c = model.config;
    model(context, context.normal<float>(Shape<3>{2, side * side, c.in_channels}),
          context.normal<float>(Shape<3>{2, 2 * side, c.joint_attention_dim}),
          context.normal<float>(Shape<2>{2, c.pooled_projection_dim}), context.full(Shape<1>{2}, 0.5F),
          aulos::grid_positions<float>(context, Shape<3>{1, side, side}), context.zeros<float>(Shape<2>{2 * side, 3}),
          context.full(Shape<1>{2}, 3.5F));
  });
}

}  // namespace aulos_tests
