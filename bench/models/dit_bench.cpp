// DiT as a policy calls it in each step (64 tokens of width 256, 8 blocks, one sample), and DiT-S on 256 tokens.
#include "aulos/models/dit.hpp"

#include "bench/modules.hpp"

namespace {

using Model = aulos::models::DiTTransformer<float>;
using aulos::Index;
using aulos::Shape;

void dit(benchmark::State& state, Index tokens, const aulos::models::DiTConfig& config) {
  struct Inputs {
    aulos::Tensor<float, 3> x;
    aulos::Tensor<float, 2> time, label;
  };
  bench::run_module(
      state, Model(config, 16),
      [&](aulos::Context& context) {
        const Shape<2> row{1, config.hidden_size};
        return Inputs{context.normal<float>(Shape<3>{1, tokens, config.hidden_size}), context.normal<float>(row),
                      context.normal<float>(row)};
      },
      [](const Model& model, aulos::Context& context, const Inputs& in) {
        benchmark::DoNotOptimize(model(context, in.x, in.time, in.label));
      });
}

BENCHMARK_CAPTURE(dit, policy_step, 64, aulos::models::DiTConfig{.hidden_size = 256, .depth = 8, .num_heads = 4})
    ->Apply(bench::name_modes);
BENCHMARK_CAPTURE(dit, small, 256, aulos::models::DiTConfig{.hidden_size = 384, .depth = 12, .num_heads = 6})
    ->Apply(bench::name_modes);

}  // namespace
