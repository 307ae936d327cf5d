// What the benchmarks of modules share.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>
#include <vector>

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

// The share of call()'s time that is spent in products and attention, by the context's profile, in percent: median of a
// few calls. What is fused into a product (bias, activation, gate and residual) is part of it.
template <class Call>
double product_percent(aulos::Context& context, const Call& call) {
  constexpr std::string_view products[] = {"linear", "linear_residual", "matmul", "scaled_dot_product_attention",
                                           "linear_attention"};
  std::vector<double> shares;
  for (int i = 0; i < 5; ++i) {
    context.start_profile();
    const auto begin = std::chrono::steady_clock::now();
    call();
    const std::chrono::duration<double> all = std::chrono::steady_clock::now() - begin;
    double seconds = 0;
    for (const aulos::ProfileRecord& record : context.stop_profile()) {
      if (std::find(std::begin(products), std::end(products), record.operation) != std::end(products)) {
        seconds += record.seconds;
      }
    }
    shares.push_back(100 * seconds / all.count());
  }
  std::nth_element(shares.begin(), shares.begin() + 2, shares.end());
  return shares[2];
}

// A module packed for the mode, called again and again by call(module, context, inputs), where inputs(context) makes
// tensors. Counters: the operations and bytes that the plan counts, by second, the peak of memory, and the percentage
// of the time that products and attention take.
template <class Module, class Inputs, class Call>
void run_module(benchmark::State& state, Module module, const Inputs& inputs, const Call& call) {
  const aulos::Numeric mode = numeric_of(state);
  aulos::Context context({.threads = 1, .numeric = mode});
  aulos::nn::initialise_uniform(module, context.random(), 1);
  const aulos::Plan plan = aulos::plan([&](aulos::Context& dry) { call(module, dry, inputs(dry)); });
  aulos::nn::pack(module, mode);
  const auto given = inputs(context);
  call(module, context, given);
  for (auto _ : state) call(module, context, given);
  using Counter = benchmark::Counter;
  state.counters["flops"] = Counter(plan.flops, Counter::kIsIterationInvariantRate);
  state.counters["bytes"] = Counter(plan.bytes, Counter::kIsIterationInvariantRate, Counter::kIs1024);
  state.counters["product_percent"] = product_percent(context, [&] { call(module, context, given); });
  state.counters["peak_bytes"] = Counter(static_cast<double>(plan.peak_bytes), Counter::kDefaults, Counter::kIs1024);
  state.SetLabel(aulos::name_of(mode));
}

}  // namespace bench
