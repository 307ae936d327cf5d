// SD3's dual-stream block on 1024 image and 154 text tokens, and one of half its width on a quarter of the tokens.
#include "aulos/stream/stream_block.hpp"

#include <array>

#include "aulos/models/image_text_block.hpp"
#include "bench/modules.hpp"

namespace {

using Block = aulos::models::ImageTextBlock<float>;
using aulos::Index;
using aulos::Shape;

void dual_stream(benchmark::State& state, Index channels, Index image, Index text) {
  const aulos::attention::SeparateQkv<float> qkv(channels, channels, {channels / 64, 64});
  struct Inputs {
    Block::Streams streams;
    aulos::Tensor<float, 2> c;
  };
  bench::run_module(
      state, Block(channels, qkv, aulos::models::TextStream::updated),
      [=](aulos::Context& context) {
        return Inputs{
            {context.normal<float>(Shape<3>{1, image, channels}), context.normal<float>(Shape<3>{1, text, channels})},
            context.normal<float>(Shape<2>{1, channels})};
      },
      [](const Block& block, aulos::Context&, const Inputs& in) { benchmark::DoNotOptimize(block(in.streams, in.c)); });
}

BENCHMARK_CAPTURE(dual_stream, 1536_1024_154, 1536, 1024, 154)->Apply(bench::name_modes);
BENCHMARK_CAPTURE(dual_stream, 768_256_77, 768, 256, 77)->Apply(bench::name_modes);

}  // namespace
