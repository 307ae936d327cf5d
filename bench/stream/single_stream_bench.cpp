// Blocks of one stream: the encoder block of ViT-B on 197 tokens and of DiT-B, modulated, on 256; Flux's parallel block
// of half its width on 384 tokens, rotated.
#include <span>

#include "aulos/models/flux.hpp"
#include "aulos/models/vit.hpp"
#include "aulos/stream/encoder_block.hpp"
#include "bench/modules.hpp"

namespace {

using aulos::Index;
using aulos::Shape;
using aulos::Tensor;

using PlainBlock = aulos::models::ViTBlock<float>;

void encoder_block(benchmark::State& state) {
  bench::run_module(
      state, aulos::models::vit_block<float>(aulos::models::ViTConfig::vit_base()),
      [](aulos::Context& context) {
        return context.normal<float>(Shape<3>{1, 197, 768});
      },
      [](const PlainBlock& block, aulos::Context&, const Tensor<float, 3>& x) { benchmark::DoNotOptimize(block(x)); });
}

using ModulatedBlock = aulos::stream::EncoderBlock<float, aulos::nn::Mlp<float>>;

void modulated_encoder_block(benchmark::State& state) {
  struct Inputs {
    Tensor<float, 3> x;
    ModulatedBlock::Modulation modulation;
  };
  bench::run_module(
      state, ModulatedBlock({.channels = 768, .heads = 12, .hidden = 3072, .affine = aulos::nn::Affine::no}),
      [](aulos::Context& context) {
        const auto row = [&] { return context.normal<float>(Shape<3>{1, 1, 768}); };
        return Inputs{context.normal<float>(Shape<3>{1, 256, 768}), {{row(), row(), row()}, {row(), row(), row()}}};
      },
      [](const ModulatedBlock& block, aulos::Context&, const Inputs& in) {
        benchmark::DoNotOptimize(block(in.x, in.modulation));
      });
}

using ParallelBlock = aulos::models::FluxSingleBlock<float>;

void parallel_block(benchmark::State& state) {
  struct Inputs {
    Tensor<float, 3> x;
    Tensor<float, 2> c;
    aulos::attention::Rotated<float, 1> rotation;
  };
  const aulos::models::FluxConfig config{.num_attention_heads = 12};
  constexpr Index tokens = 384;
  bench::run_module(
      state, ParallelBlock(config),
      [&](aulos::Context& context) {
        const std::span<const Index> axes(config.axes_dims_rope);
        return Inputs{context.normal<float>(Shape<3>{1, tokens, config.width()}),
                      context.normal<float>(Shape<2>{1, config.width()}),
                      {{rope_table(context.normal<float>(Shape<2>{tokens, 3}), axes)}, aulos::RopePairs::interleaved}};
      },
      [](const ParallelBlock& block, aulos::Context&, const Inputs& in) {
        benchmark::DoNotOptimize(block(in.x, in.c, in.rotation));
      });
}

BENCHMARK(encoder_block)->Apply(bench::name_modes);
BENCHMARK(modulated_encoder_block)->Apply(bench::name_modes);
BENCHMARK(parallel_block)->Apply(bench::name_modes);

}  // namespace
