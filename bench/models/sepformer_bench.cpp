// Two speakers out of half a second at 8 kHz: SepFormer with one block of two layers a path instead of two of eight,
// and DPRNN with one block instead of six.
#include "aulos/models/sepformer.hpp"

#include "bench/modules.hpp"

namespace {

template <class Model>
void separate(benchmark::State& state, const typename Model::Config& config) {
  Model model(config);
  model.derive_buffers();
  bench::run_module(
      state, model,
      [](aulos::Context& context) {
        return context.normal<float>(aulos::Shape<2>{1, 4000});
      },
      [](const Model& of, aulos::Context& context, const aulos::Tensor<float, 2>& mixture) {
        benchmark::DoNotOptimize(of(context, mixture));
      });
}

void sepformer(benchmark::State& state) {
  separate<aulos::models::SepFormer<float>>(state,
                                            {.masknet_numlayers = 1, .intra = {.layers = 2}, .inter = {.layers = 2}});
}
void dprnn(benchmark::State& state) { separate<aulos::models::Dprnn<float>>(state, {.num_layers = 1}); }

BENCHMARK(sepformer)->Apply(bench::name_modes);
BENCHMARK(dprnn)->Apply(bench::name_modes);

}  // namespace
