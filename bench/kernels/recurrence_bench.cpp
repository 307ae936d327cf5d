// Linear attention, the delta rule and the selective scan on one thread, forward (0), with the backward (1), and one
// token (2). Shapes as in small language models; FLOP/s as the kernels count them, exponentials of the scan per second.
#include <benchmark/benchmark.h>

#include <vector>

#include "aulos/kernels/delta_rule_backward.hpp"
#include "aulos/kernels/linear_attention_backward.hpp"
#include "aulos/kernels/selective_scan_backward.hpp"

namespace {

using aulos::Index;
namespace kernels = aulos::kernels;

std::vector<float> ramp(Index count) {
  std::vector<float> x(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) x[static_cast<std::size_t>(i)] = 0.01f + 0.001f * static_cast<float>(i * 37 % 101);
  return x;
}

// Counters: operations and bytes, of every operand once, by second.
void count(benchmark::State& state, double flops, double floats) {
  using benchmark::Counter;
  state.counters["flops"] = Counter(flops, Counter::kIsIterationInvariantRate);
  state.counters["bytes"] = Counter(4 * floats, Counter::kIsIterationInvariantRate, Counter::kIs1024);
}

void linear_attention(benchmark::State& state, kernels::LinearForm form, kernels::Normaliser normaliser) {
  const Index n = state.range(0), d = state.range(1), heads = n >= 4096 ? 16 : 8;
  const bool backward = state.range(2) == 1;
  const kernels::LinearAttentionShape s{1, heads, n, n, d, d, form, normaliser, 1.0, 1e-6};
  const auto q = ramp(n * heads * d), k = q, v = q;
  auto out = q, dq = q, dk = q, dv = q, kv = ramp(heads * d * d), sum = ramp(heads * d);
  const std::vector<float> decay(static_cast<std::size_t>(heads), 0.97f);
  const auto rows = [&](auto& x) { return kernels::tokens_major(x.data(), n, heads, d); };
  kernels::LinearAttentionOperands<float> in{rows(q), rows(k), rows(v)};
  if (normaliser == kernels::Normaliser::none) in.decay = decay.data();
  if (n == 1) in.initial = {kv.data(), sum.data()};
  aulos::ThreadTeam team(1);
  const auto threads = team.threads(kernels::linear_attention_scratch<float>(s));
  const auto threads_back = team.threads(kernels::linear_attention_backward_scratch<float>(s));
  kernels::LinearAttentionGradients<float> g;
  g.out = g.dout = rows(q);
  g.dq = rows(dq), g.dk = rows(dk), g.dv = rows(dv);
  for (auto _ : state) {
    if (backward) {
      kernels::linear_attention_backward<float>(threads_back, s, in, g);
    } else {
      kernels::linear_attention<float>(threads, s, in, rows(out), {kv.data(), sum.data()});
    }
    benchmark::ClobberMemory();
  }
  const double within = form == kernels::LinearForm::causal ? 4.0 * 64 * static_cast<double>(d) : 0.0;
  const double flops = static_cast<double>(n * heads) * (within + 4.0 * static_cast<double>(d * d));
  // q, k, v and out; backward also dout and the gradients of the first three.
  count(state, (backward ? 2.5 : 1.0) * flops, (backward ? 8.0 : 4.0) * static_cast<double>(q.size()));
}

void delta_rule(benchmark::State& state) {
  const Index n = state.range(0), d = state.range(1), heads = 8;
  const bool backward = state.range(2) == 1;
  const kernels::DeltaRuleShape s{1, heads, n, d, d, 1.0};
  const auto q = ramp(n * heads * d), beta = ramp(n * heads);
  auto out = q, dq = q, dk = q, dv = q, last = ramp(heads * d * d);
  const auto rows = [&](auto& x) { return kernels::tokens_major(x.data(), n, heads, d); };
  const kernels::DeltaRuleOperands<float> in{rows(q), rows(q), rows(q), kernels::tokens_major(beta.data(), n, heads, 1),
                                             last.data()};
  aulos::ThreadTeam team(1);
  const auto threads = team.threads(kernels::delta_rule_scratch<float>(s));
  const auto threads_back = team.threads(kernels::delta_rule_backward_scratch<float>(s));
  kernels::DeltaRuleGradients<float> g;
  g.dout = rows(q);
  g.dq = rows(dq), g.dk = rows(dk), g.dv = rows(dv);
  std::vector<float> state_after(last);
  for (auto _ : state) {
    if (backward) {
      kernels::delta_rule_backward<float>(threads_back, s, in, g);
    } else {
      kernels::delta_rule<float>(threads, s, in, rows(out), state_after.data());
    }
    benchmark::ClobberMemory();
  }
  const double flops =
      static_cast<double>(n * heads) * (6.0 * static_cast<double>(d * d) + 2.0 * 64 * 4 * static_cast<double>(d));
  count(state, (backward ? 2.5 : 1.0) * flops, (backward ? 8.0 : 4.0) * static_cast<double>(q.size()));
}

void selective_scan(benchmark::State& state) {
  const Index n = state.range(0), channels = state.range(1), states = 16;
  const bool backward = state.range(2) == 1;
  const kernels::SelectiveScanShape s{1, n, channels, states};
  const auto u = ramp(n * channels), b = ramp(n * states), d = ramp(channels);
  auto a = ramp(channels * states), last = a, out = u, du = u, ddelta = u, dz = u, da = a, db = b, dc = b;
  for (float& x : a) x = -10 * x;
  const auto rows = [&](auto& x) { return kernels::tokens_major(x.data(), n, 1, channels); };
  const auto vectors = [&](auto& x) { return kernels::tokens_major(x.data(), n, 1, states); };
  const kernels::SelectiveScanOperands<float> in{rows(u),  rows(u), a.data(), vectors(b), vectors(b),
                                                 d.data(), rows(u), d.data(), nullptr};
  std::vector<float> workspace(static_cast<std::size_t>(kernels::selective_scan_backward_workspace(s)));
  aulos::ThreadTeam team(1);
  const auto threads = team.threads(kernels::selective_scan_scratch<float>(s));
  const auto threads_back = team.threads(kernels::selective_scan_backward_scratch<float>(s));
  kernels::SelectiveScanGradients<float> g;
  g.dout = rows(u);
  g.du = rows(du), g.ddelta = rows(ddelta), g.dz = rows(dz);
  g.da = da.data(), g.db = vectors(db), g.dc = vectors(dc);
  for (auto _ : state) {
    if (backward) {
      kernels::selective_scan_backward<float>(threads_back, s, in, g, workspace.data());
    } else {
      kernels::selective_scan<float>(threads, s, in, rows(out), last.data());
    }
    benchmark::ClobberMemory();
  }
  // u, delta, z and out; backward also dout and the gradients of the first three.
  count(state, (backward ? 3.0 : 1.0) * 6 * static_cast<double>(n * channels * states),
        (backward ? 8.0 : 4.0) * static_cast<double>(u.size()));
  state.counters["exp"] =
      benchmark::Counter(static_cast<double>(n * channels * states), benchmark::Counter::kIsIterationInvariantRate);
}

using kernels::LinearForm;
using kernels::Normaliser;
void shapes(benchmark::internal::Benchmark* b) {
  for (const int d : {32, 64, 128}) b->Args({1024, d, 0})->Args({1024, d, 1});
  b->Args({4096, 64, 0})->Args({1, 64, 2});
}
BENCHMARK_CAPTURE(linear_attention, full, LinearForm::full, Normaliser::score_sum)->Apply(shapes);
BENCHMARK_CAPTURE(linear_attention, causal, LinearForm::causal, Normaliser::score_sum)->Apply(shapes);
BENCHMARK_CAPTURE(linear_attention, retention, LinearForm::causal, Normaliser::none)->Apply(shapes);
BENCHMARK(delta_rule)->Apply(shapes);
BENCHMARK(selective_scan)
    ->Args({1024, 384, 0})
    ->Args({1024, 384, 1})
    ->Args({1024, 1536, 0})
    ->Args({1024, 1536, 1})
    ->Args({4096, 512, 0})
    ->Args({1, 1536, 2});

}  // namespace
