// SD3.5 medium at half its width, with two blocks of either kind: 256 image tokens and 77 of text.
#include "aulos/models/sd3.hpp"

#include "bench/modules.hpp"

namespace {

using Model = aulos::models::SD3<float>;
using aulos::Index;
using aulos::Shape;

void sd3(benchmark::State& state, Index side, Index text) {
  struct Inputs {
    aulos::Tensor<float, 4> latent;
    aulos::Tensor<float, 3> prompt;
    aulos::Tensor<float, 2> pooled;
    aulos::Tensor<float, 1> timestep;
  };
  const aulos::models::SD3Config config{.num_layers = 4,
                                        .num_attention_heads = 12,
                                        .qk_norm = aulos::models::QkNormKind::rms_norm,
                                        .dual_attention_layers = {0, 1}};
  Model model(config);
  model.derive_buffers();
  bench::run_module(
      state, model,
      [=](aulos::Context& context) {
        return Inputs{context.normal<float>(Shape<4>{1, config.in_channels, side, side}),
                      context.normal<float>(Shape<3>{1, text, config.joint_attention_dim}),
                      context.normal<float>(Shape<2>{1, config.pooled_projection_dim}),
                      context.normal<float>(Shape<1>{1})};
      },
      [](const Model& of, aulos::Context& context, const Inputs& in) {
        benchmark::DoNotOptimize(of(context, in.latent, in.prompt, in.pooled, in.timestep));
      });
}

BENCHMARK_CAPTURE(sd3, 256_77, 32, 77)->Apply(bench::name_modes);

}  // namespace
