// ViT-Ti and ViT-S on an image of 224 by 224: 197 tokens. DeiT-III's form of the latter, with LayerScale.
#include "aulos/models/vit.hpp"

#include "bench/modules.hpp"

namespace {

using aulos::models::ViTConfig;
using Model = aulos::models::ViT<float>;

void vit(benchmark::State& state, const ViTConfig& config) {
  bench::run_module(
      state, Model(config),
      [&](aulos::Context& context) {
        return context.normal<float>(aulos::Shape<4>{1, config.in_chans, config.img_size, config.img_size});
      },
      [](const Model& model, aulos::Context& context, const aulos::Tensor<float, 4>& image) {
        benchmark::DoNotOptimize(model(context, image));
      });
}

BENCHMARK_CAPTURE(vit, tiny, ViTConfig::vit_tiny())->Apply(bench::name_modes);
BENCHMARK_CAPTURE(vit, s, ViTConfig::vit_small())->Apply(bench::name_modes);
BENCHMARK_CAPTURE(vit, s_deit3, ViTConfig::deit3(ViTConfig::vit_small()))->Apply(bench::name_modes);

}  // namespace
