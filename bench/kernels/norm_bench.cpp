// Layer norm, RMS norm, modulation and softmax against Eigen's expressions for the same job, in one process. Counters:
// GFLOP/s, of 8 operations an element of a norm, 10 of softmax, as the ops count them for a plan (moments 4, the rest
// 4; an exponential 6), bytes of read and written memory, and `eigen_ratio`, Eigen's time divided by ours, best of
// several interleaved runs.
#include "aulos/kernels/norm.hpp"

#include <benchmark/benchmark.h>

#include <Eigen/Core>
#include <chrono>
#include <vector>

#include "aulos/kernels/softmax.hpp"

namespace {

namespace kernels = aulos::kernels;
using aulos::Index;
using Matrix = Eigen::Array<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Row = Eigen::Array<float, 1, Eigen::Dynamic>;

template <class Run>
double seconds(Run run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Row by row, so that Eigen too finds each row in the cache.
struct LayerNorm {
  static constexpr double flops = 8;
  static void ours(aulos::Threads threads, const Matrix& x, const Matrix& affine, Matrix& y) {
    kernels::layer_norm<float>(threads, {x.rows(), x.cols(), 1e-5},
                               {.x = {x.data(), x.cols()}, .weight = affine.data(), .bias = affine.data() + x.cols()},
                               {y.data(), y.cols()});
  }
  static void eigen(const Matrix& x, const Matrix& affine, Matrix& y) {
    for (Index r = 0; r < x.rows(); ++r) {
      const float mean = x.row(r).mean();
      const float variance = (x.row(r) - mean).square().mean();
      y.row(r) = (x.row(r) - mean) * (1 / std::sqrt(variance + 1e-5f)) * affine.row(0) + affine.row(1);
    }
  }
};
struct RmsNorm {
  static constexpr double flops = 8;
  static void ours(aulos::Threads threads, const Matrix& x, const Matrix& affine, Matrix& y) {
    kernels::rms_norm<float>(threads, {x.rows(), x.cols(), 1e-6}, {.x = {x.data(), x.cols()}, .weight = affine.data()},
                             {y.data(), y.cols()});
  }
  static void eigen(const Matrix& x, const Matrix& affine, Matrix& y) {
    for (Index r = 0; r < x.rows(); ++r) {
      y.row(r) = x.row(r) * (1 / std::sqrt(x.row(r).square().mean() + 1e-6f)) * affine.row(0);
    }
  }
};
struct ModulatedLayerNorm {
  static constexpr double flops = 8;
  static void ours(aulos::Threads threads, const Matrix& x, const Matrix& affine, Matrix& y) {
    kernels::layer_norm<float>(
        threads, {x.rows(), x.cols(), 1e-6},
        {.x = {x.data(), x.cols()}, .scale = {affine.data(), 0, 1}, .shift = {affine.data() + x.cols(), 0, 1}},
        {y.data(), y.cols()});
  }
  static void eigen(const Matrix& x, const Matrix& affine, Matrix& y) {
    for (Index r = 0; r < x.rows(); ++r) {
      const float mean = x.row(r).mean();
      const float variance = (x.row(r) - mean).square().mean();
      y.row(r) = (x.row(r) - mean) * (1 / std::sqrt(variance + 1e-6f)) * (1.0f + affine.row(0)) + affine.row(1);
    }
  }
};
struct Softmax {
  static constexpr double flops = 10;
  static void ours(aulos::Threads threads, const Matrix& x, const Matrix&, Matrix& y) {
    kernels::softmax<float>(threads, x.rows(), x.cols(), {x.data(), x.cols()}, {y.data(), y.cols()});
  }
  static void eigen(const Matrix& x, const Matrix&, Matrix& y) {
    for (Index r = 0; r < x.rows(); ++r) {
      y.row(r) = (x.row(r) - x.row(r).maxCoeff()).exp();
      y.row(r) *= 1 / y.row(r).sum();
    }
  }
};

template <class F>
void rows(benchmark::State& state) {
  const Index count = state.range(0), columns = state.range(1);
  const Matrix x = Matrix::Random(count, columns), affine = Matrix::Random(2, columns);
  Matrix y(count, columns);
  aulos::ThreadTeam team(1);
  const auto ours = [&] {
    F::ours(team.threads(), x, affine, y);
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  };
  const auto eigen = [&] {
    F::eigen(x, affine, y);
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  };
  for (auto _ : state) ours();
  double best_ours = 1e9, best_eigen = 1e9;
  const int turns = static_cast<int>(4'000'000 / (count * columns)) + 10;
  for (int turn = 0; turn < turns; ++turn) {
    best_ours = std::min(best_ours, seconds(ours));
    best_eigen = std::min(best_eigen, seconds(eigen));
  }
  state.counters["eigen_ratio"] = best_eigen / best_ours;
  state.counters["GFLOP/s"] = benchmark::Counter(F::flops * 1e-9 * static_cast<double>(count * columns),
                                                 benchmark::Counter::kIsIterationInvariantRate);
  state.SetBytesProcessed(state.iterations() * count * columns * 8);
}

#define AULOS_BENCH(F)     \
  BENCHMARK(rows<F>)       \
      ->Name("norm/" #F)   \
      ->Args({4096, 64})   \
      ->Args({256, 384})   \
      ->Args({1024, 1536}) \
      ->Args({4096, 1536}) \
      ->Args({4096, 6144})
AULOS_BENCH(LayerNorm);
AULOS_BENCH(RmsNorm);
AULOS_BENCH(ModulatedLayerNorm);
AULOS_BENCH(Softmax);

}  // namespace
