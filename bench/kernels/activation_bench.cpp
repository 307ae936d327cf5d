// Activation functions against Eigen's expression for the same job, in one process. Counters: GFLOP/s, of 10 operations
// an element, as the ops count them for a plan whatever the function (of relu 1), GB/s of read and written memory,
// `eigen_ratio`, Eigen's time divided by ours for the same shape, best of several interleaved runs, and the largest
// errors of both (`error`, `eigen_error`).
#include "aulos/kernels/activation.hpp"

#include <benchmark/benchmark.h>

#include <Eigen/Core>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <type_traits>
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

// `eigen` is the expression one writes with Eigen. Where that is less accurate than ours, `accurate` is one that keeps
// more digits: 1 + erf(x / sqrt(2)) and 1 + tanh(y) cancel for negative x (gelu(-4) is off by 7e-4 of itself, gelu(-5)
// by 6e-2), and Eigen's tanh is a rational function with errors of up to 4.7 ULP (ours: 2). Neither ratio stands for
// the other: read them with the errors.
struct Gelu {
  static constexpr simd::Gelu ours{};
  static double exact(double x) { return 0.5 * x * std::erfc(-x * 0.70710678118654752); }
  static void accurate(const Array& x, Array& y) { y = 0.5f * x * (-0.70710678f * x).erfc(); }
  static void eigen(const Array& x, Array& y) { y = 0.5f * x * (1.0f + (x * 0.70710678f).erf()); }
};
struct GeluTanh {
  static constexpr simd::GeluTanh ours{};
  static double exact(double x) { return x / (1 + std::exp(-1.5957691216057308 * (x + 0.044715 * x * x * x))); }
  static void accurate(const Array& x, Array& y) {
    y = x / (1.0f + (-1.59576912f * (x + 0.044715f * x * x * x)).exp());
  }
  static void eigen(const Array& x, Array& y) {
    y = 0.5f * x * (1.0f + (0.79788456f * (x + 0.044715f * x * x * x)).tanh());
  }
};
struct Silu {
  static constexpr simd::Silu ours{};
  static double exact(double x) { return x / (1 + std::exp(-x)); }
  static void eigen(const Array& x, Array& y) { y = x / (1.0f + (-x).exp()); }
};
struct Tanh {
  static constexpr simd::Tanh ours{};
  static double exact(double x) { return std::tanh(x); }
  static void accurate(const Array& x, Array& y) {
    y = x.unaryExpr([](float v) { return std::tanh(v); });
  }
  static void eigen(const Array& x, Array& y) { y = x.tanh(); }
};
struct Exp {
  static constexpr simd::Exp ours{};
  static double exact(double x) { return std::exp(x); }
  static void eigen(const Array& x, Array& y) { y = x.exp(); }
};
struct Log {
  static constexpr simd::Log ours{};
  static double exact(double x) { return std::log(x); }
  static void eigen(const Array& x, Array& y) { y = x.log(); }
};
struct Sigmoid {
  static constexpr simd::Sigmoid ours{};
  static double exact(double x) { return 1 / (1 + std::exp(-x)); }
  static void eigen(const Array& x, Array& y) { y = 1.0f / (1.0f + (-x).exp()); }
};
struct Relu {
  static constexpr simd::Relu ours{};
  static double exact(double x) { return x > 0 ? x : 0; }
  static void eigen(const Array& x, Array& y) { y = x.max(0.0f); }
};

// The largest error of y, in machine epsilons times max(|y|, |x| / 2^20).
template <class F>
double largest_error(const Array& x, const Array& y) {
  double worst = 0;
  for (Index i = 0; i < std::min<Index>(x.size(), 4096); ++i) {
    const double exact = F::exact(static_cast<double>(x[i]));
    const double size = std::max({std::abs(exact), std::abs(static_cast<double>(x[i])) * 0x1p-20, 1e-30});
    worst = std::max(worst, std::abs(static_cast<double>(y[i]) - exact) / size * 0x1p23);
  }
  return worst;
}

template <class F>
void activation(benchmark::State& state) {
  const Index count = state.range(0);
  Array x(count), y(count);  // aligned as tensors are
  const float first = std::is_same_v<F, Log> ? 0.01f : -6.0f;
  for (Index i = 0; i < count; ++i) x[i] = first + static_cast<float>(i % 1013) / 85;
  aulos::ThreadTeam team(1);
  const auto timed = [&](const auto& run) {
    return [&] {
      run();
      benchmark::DoNotOptimize(y.data());
      benchmark::ClobberMemory();
    };
  };
  const auto run_ours = [&] {
    kernels::activate<float>(team.threads(), 1, count, {x.data(), count}, {y.data(), count}, F::ours);
  };
  const auto run_eigen = [&] { F::eigen(x, y); };
  const auto run_accurate = [&] {
    if constexpr (requires { F::accurate(x, y); }) F::accurate(x, y);
  };
  const auto ours = timed(run_ours);
  const auto eigen = timed(run_eigen);
  const auto accurate = timed(run_accurate);
  constexpr bool has_accurate = requires { F::accurate(x, y); };
  for (auto _ : state) ours();
  state.counters["error"] = largest_error<F>(x, y);
  eigen();
  state.counters["eigen_error"] = largest_error<F>(x, y);
  double best_ours = 1e9, best_eigen = 1e9, best_accurate = 1e9;
  const int turns = static_cast<int>(4'000'000 / count) + 10;
  for (int turn = 0; turn < turns; ++turn) {
    best_ours = std::min(best_ours, seconds(ours));
    best_eigen = std::min(best_eigen, seconds(eigen));
    if (has_accurate) best_accurate = std::min(best_accurate, seconds(accurate));
  }
  state.counters["eigen_ratio"] = best_eigen / best_ours;
  if (has_accurate) {
    accurate();
    state.counters["accurate_error"] = largest_error<F>(x, y);
    state.counters["accurate_ratio"] = best_accurate / best_ours;
  }
  const double flops = std::is_same_v<F, Relu> ? 1 : 10;
  state.counters["GFLOP/s"] =
      benchmark::Counter(flops * 1e-9 * static_cast<double>(count), benchmark::Counter::kIsIterationInvariantRate);
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
