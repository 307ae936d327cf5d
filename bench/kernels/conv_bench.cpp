// Convolutions of the usual shapes: forward, adjoint and weight gradient on one thread, in GFLOP/s
// and bytes (of every operand once) a second.
#include "aulos/kernels/conv.hpp"

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

namespace {

namespace kernels = aulos::kernels;
using aulos::Index;
using kernels::ConvShape;
using kernels::WindowAxis;

constexpr WindowAxis axis(Index in, Index kernel, Index stride = 1, Index before = 0, Index after = 0,
                          Index dilation = 1) {
  return {in, WindowAxis::outputs(in, before, after, kernel, stride, dilation), kernel, stride, before, dilation};
}

enum class Direction { forward, adjoint, weight };

void convolution(benchmark::State& state, const ConvShape& s, Direction direction) {
  const auto numbers = [](Index count) { return std::vector<float>(static_cast<std::size_t>(count), 0.5f); };
  std::vector<float> x = numbers(s.batch * s.groups * s.in * s.plane()), w = numbers(s.groups * s.out * s.depth());
  std::vector<float> y = numbers(s.batch * s.groups * s.out * s.positions());
  const std::size_t scratch = direction == Direction::forward   ? kernels::conv_scratch<float>(s)
                              : direction == Direction::adjoint ? kernels::conv_transpose_scratch<float>(s)
                                                                : kernels::conv_weight_gradient_scratch<float>(s);
  aulos::ThreadTeam team(1);
  for (auto _ : state) {
    const aulos::Threads threads = team.threads(scratch);
    switch (direction) {
      case Direction::forward:
        kernels::conv<float>(threads, s, x.data(), w.data(), nullptr, y.data());
        break;
      case Direction::adjoint:
        kernels::conv_transpose<float>(threads, s, y.data(), w.data(), nullptr, x.data());
        break;
      case Direction::weight:
        kernels::conv_weight_gradient<float>(threads, s, x.data(), y.data(), w.data());
        break;
    }
    benchmark::ClobberMemory();
  }
  using benchmark::Counter;
  const double bytes = 4.0 * static_cast<double>(x.size() + w.size() + y.size());
  state.counters["GFLOP/s"] = Counter(s.flops() * 1e-9, Counter::kIsIterationInvariantRate);
  state.counters["bytes"] = Counter(bytes, Counter::kIsIterationInvariantRate, Counter::kIs1024);
}

void all_directions(const char* name, const ConvShape& s) {
  const auto add = [&](const char* what, Direction direction) {
    benchmark::RegisterBenchmark((std::string(name) + "/" + what).c_str(),
                                 [=](benchmark::State& state) { convolution(state, s, direction); });
  };
  add("forward", Direction::forward);
  add("adjoint", Direction::adjoint);
  add("weight", Direction::weight);
}

const bool registered = [] {
  all_directions("3x3_64_of_56x56", {1, 1, 64, 64, axis(56, 3, 1, 1, 1), axis(56, 3, 1, 1, 1)});
  all_directions("3x3_256_of_14x14", {1, 1, 256, 256, axis(14, 3, 1, 1, 1), axis(14, 3, 1, 1, 1)});
  all_directions("3x3_stride_2", {1, 1, 64, 128, axis(56, 3, 2, 1, 1), axis(56, 3, 2, 1, 1)});
  all_directions("waveform_1_to_256", {1, 1, 1, 256, {}, axis(32000, 16, 8)});
  all_directions("depthwise_3x3_256_of_56x56", {1, 256, 1, 1, axis(56, 3, 1, 1, 1), axis(56, 3, 1, 1, 1)});
  all_directions("depthwise_causal_4", {1, 1536, 1, 1, {}, axis(2048, 4, 1, 3)});
  return true;
}();

}  // namespace
