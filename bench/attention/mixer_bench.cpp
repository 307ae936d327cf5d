// Self-attention of 1024 tokens, 16 heads of 64, with each mixer in the same module: projections included.
#include "aulos/attention/differential.hpp"
#include "aulos/attention/linear.hpp"
#include "aulos/attention/multi_head_attention.hpp"
#include "aulos/attention/softmax.hpp"
#include "bench/modules.hpp"

namespace {

using namespace aulos::attention;

constexpr aulos::Index tokens = 1024, heads = 16, width = 64;

template <class Mixer>
void self_attention(benchmark::State& state, Mixer mixer) {
  using Module = MultiHeadAttention<float, FusedQkv<float>, Mixer>;
  const Module module{FusedQkv<float>(heads * width, {heads, width}),
                      aulos::nn::Linear<float>(heads * width, heads * width), std::move(mixer)};
  bench::run_module(
      state, module,
      [](aulos::Context& context) {
        return context.normal<float>(aulos::Shape<3>{1, tokens, heads * width});
      },
      [](const Module& of, aulos::Context&, const aulos::Tensor<float, 3>& x) { benchmark::DoNotOptimize(of(x)); });
}

BENCHMARK_CAPTURE(self_attention, softmax, Softmax{})->Apply(bench::name_modes);
BENCHMARK_CAPTURE(self_attention, linear, Linear{})->Apply(bench::name_modes);
BENCHMARK_CAPTURE(self_attention, linear_causal, Linear{.form = aulos::kernels::LinearForm::causal})
    ->Apply(bench::name_modes);
BENCHMARK_CAPTURE(self_attention, differential, Differential<float>(width, 0))->Apply(bench::name_modes);

}  // namespace
