// What the benchmarks of modules share.
#pragma once

#include <benchmark/benchmark.h>

#include <utility>

#include "aulos/core/context.hpp"
#include "aulos/core/plan.hpp"
#include "aulos/nn/initialise.hpp"
#include "aulos/nn/module.hpp"

namespace bench {

// The modes by the number that benchmarks take as their first argument.
inline aulos::Numeric numeric_of(const benchmark::State& state) { return static_cast<aulos::Numeric>(state.range(0)); }

inline void name_modes(benchmark::internal::Benchmark* b) {
  b->ArgName("mode")->Arg(0)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond)->UseRealTime();
}

// A module packed for the mode, called again and again by call(module, context, inputs), where inputs(context) makes
// tensors. Counters: the operations and bytes that the plan counts, by second, and the peak of memory.
template <class Module, class Inputs, class Call>
void run_module(benchmark::State& state, Module module, const Inputs& inputs, const Call& call) {
  const aulos::Numeric mode = numeric_of(state);
  aulos::Context context({.threads = 1, .numeric = mode});
  aulos::nn::initialise_uniform(module, context.random());
  const aulos::Plan plan = aulos::plan([&](aulos::Context& dry) { call(module, dry, inputs(dry)); });
  aulos::nn::pack(module, mode);
  const auto given = inputs(context);
  call(module, context, given);
  for (auto _ : state) call(module, context, given);
  using Counter = benchmark::Counter;
  state.counters["flops"] = Counter(plan.flops, Counter::kIsIterationInvariantRate);
  state.counters["bytes"] = Counter(plan.bytes, Counter::kIsIterationInvariantRate, Counter::kIs1024);
  state.counters["peak_bytes"] = Counter(static_cast<double>(plan.peak_bytes), Counter::kDefaults, Counter::kIs1024);
  state.SetLabel(aulos::name_of(mode));
}

}  // namespace bench
