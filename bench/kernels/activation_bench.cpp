// Activation functions against Eigen's expression for the same job, in one process. Counters: GB/s of read and written
// memory, and `eigen_ratio`, Eigen's time divided by ours for the same shape, best of several interleaved runs.
#include "aulos/kernels/activation.hpp"

#include <benchmark/benchmark.h>

#include <Eigen/Core>
#include <chrono>
#include <unsupported/Eigen/SpecialFunctions>

namespace {

namespace kernels = aulos::kernels;
namespace simd = aulos::simd;
using aulos::Index;
using Array = Eigen::Array<float, Eigen::Dynamic, 1>;

template <class Run>
double seconds(Run run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Gelu {
  static constexpr simd::Gelu ours{};
  static void eigen(const Array& x, Array& y) { y = 0.5f * x * (1.0f + (x * 0.70710678f).erf()); }
};
struct GeluTanh {
  static constexpr simd::GeluTanh ours{};
  static void eigen(const Array& x, Array& y) {
    y = 0.5f * x * (1.0f + (0.79788456f * (x + 0.044715f * x * x * x)).tanh());
  }
};
struct Silu {
  static constexpr simd::Silu ours{};
  static void eigen(const Array& x, Array& y) { y = x / (1.0f + (-x).exp()); }
};
struct Tanh {
  static constexpr simd::Tanh ours{};
  static void eigen(const Array& x, Array& y) { y = x.tanh(); }
};
struct Exp {
  static constexpr simd::Exp ours{};
  static void eigen(const Array& x, Array& y) { y = x.exp(); }
};
struct Log {
  static constexpr simd::Log ours{};
  static void eigen(const Array& x, Array& y) { y = x.log(); }
};
struct Sigmoid {
  static constexpr simd::Sigmoid ours{};
  static void eigen(const Array& x, Array& y) { y = 1.0f / (1.0f + (-x).exp()); }
};
struct Relu {
  static constexpr simd::Relu ours{};
  static void eigen(const Array& x, Array& y) { y = x.max(0.0f); }
};

template <class F>
void activation(benchmark::State& state) {
  const Index count = state.range(0);
  Array x(count), y(count);  // aligned as tensors are
  for (Index i = 0; i < count; ++i) x[i] = 0.01f + static_cast<float>(i % 1013) / 150;
  aulos::ThreadTeam team(1);
  const auto ours = [&] {
    kernels::activate<float>(team.threads(), 1, count, {x.data(), count}, {y.data(), count}, F::ours);
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  };
  const auto eigen = [&] {
    F::eigen(x, y);
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  };
  for (auto _ : state) ours();
  double best_ours = 1e9, best_eigen = 1e9;
  const int turns = static_cast<int>(4'000'000 / count) + 10;
  for (int turn = 0; turn < turns; ++turn) {
    best_ours = std::min(best_ours, seconds(ours));
    best_eigen = std::min(best_eigen, seconds(eigen));
  }
  state.counters["eigen_ratio"] = best_eigen / best_ours;
  state.SetBytesProcessed(state.iterations() * count * 8);
}

#define AULOS_BENCH(F) BENCHMARK(activation<F>)->Name("activation/" #F)->Arg(4096)->Arg(262144)->Arg(6291456)
AULOS_BENCH(Gelu);
AULOS_BENCH(GeluTanh);
AULOS_BENCH(Silu);
AULOS_BENCH(Sigmoid);
AULOS_BENCH(Tanh);
AULOS_BENCH(Exp);
AULOS_BENCH(Log);
AULOS_BENCH(Relu);

}  // namespace
