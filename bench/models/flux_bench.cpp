// Flux of a quarter of its width with two blocks of either kind: 256 image tokens and 77 of text.
#include "aulos/models/flux.hpp"

#include "bench/modules.hpp"

namespace {

using Model = aulos::models::Flux<float>;
using aulos::Index;
using aulos::Shape;

void flux(benchmark::State& state, Index image, Index text) {
  struct Inputs {
    aulos::Tensor<float, 3> latent, prompt;
    aulos::Tensor<float, 2> pooled;
    aulos::Tensor<float, 1> timestep;
    aulos::Tensor<float, 2> image_ids, text_ids;
  };
  const aulos::models::FluxConfig config{.num_layers = 2, .num_single_layers = 2, .num_attention_heads = 6};
  bench::run_module(
      state, Model(config),
      [=](aulos::Context& context) {
        return Inputs{context.normal<float>(Shape<3>{1, image, config.in_channels}),
                      context.normal<float>(Shape<3>{1, text, config.joint_attention_dim}),
                      context.normal<float>(Shape<2>{1, config.pooled_projection_dim}),
                      context.normal<float>(Shape<1>{1}),
                      context.normal<float>(Shape<2>{image, 3}),
                      context.normal<float>(Shape<2>{text, 3})};
      },
      [](const Model& model, aulos::Context& context, const Inputs& in) {
        benchmark::DoNotOptimize(
            model(context, in.latent, in.prompt, in.pooled, in.timestep, in.image_ids, in.text_ids));
      });
}

BENCHMARK_CAPTURE(flux, 256_77, 256, 77)->Apply(bench::name_modes);

}  // namespace
