// Matrix products against Eigen's (float) on the same job: both run in turn in one process, with the rate of the
// instruction that ours uses beside them. Time = median of ours; counters: GFLOP/s, Eigen's time divided by ours, share
// of the instruction's rate, and of one row's products bytes/s of the weight.
// g++ 12 reports its own _mm512_undefined_*() as uninitialized wherever Eigen uses them.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include <benchmark/benchmark.h>

#include <Eigen/Core>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "aulos/kernels/gemm.hpp"
#include "aulos/kernels/matmul.hpp"
#include "bench/numbers.hpp"

namespace {

namespace kernels = aulos::kernels;
using aulos::Index;
using aulos::Numeric;
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// How the weight is stored, and how far the product may round.
struct Kind {
  const char* name;
  bool packed;
  Numeric storage, mode;
};

using bench::Floats, bench::fill, bench::median;

// Seconds per call, averaged over as many calls as take a millisecond.
template <class F>
double seconds(const F& f, int repeats) {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / repeats;
}

// The loop of every benchmark here: Eigen and ours in turn, their medians as counters.
template <class Ours, class Eigens>
void side_by_side(benchmark::State& state, double flops, double bytes, Index threads, Numeric mode, const Ours& ours,
                  const Eigens& eigens) {
  std::vector<double> our_times, eigen_times, peaks, ratios;
  ours();
  eigens();
  const int repeats = static_cast<int>(std::max(1.0, 1e-3 / std::max(seconds(ours, 1), 1e-9)));
  for (auto _ : state) {
    peaks.push_back(bench::peak_rate(mode));
    eigen_times.push_back(seconds(eigens, repeats));
    our_times.push_back(seconds(ours, repeats));
    ratios.push_back(eigen_times.back() / our_times.back());
    state.SetIterationTime(our_times.back());
  }
  const double rate = flops / median(our_times);
  state.counters["GFLOP/s"] = rate * 1e-9;
  state.counters["bytes/s"] = bytes / median(our_times);
  state.counters["eigen/ours"] = median(ratios);
  state.counters["peak_share"] = rate / (*std::max_element(peaks.begin(), peaks.end()) * static_cast<double>(threads));
}

// y = x W^T + bias, as of a linear layer.
void linear(benchmark::State& state, Index m, Index k, Index n, const Kind& kind, int thread_count) {
  const auto x = fill(m * k, 1), w = fill(n * k, 2), bias = fill(n, 3);
  Floats y(static_cast<std::size_t>(m * n)), y_eigen(y);
  aulos::ThreadTeam team(thread_count);
  kernels::WeightView<float> weight{.rows = w.data(), .ldw = k};
  std::vector<std::byte> storage;
  if (kind.packed) {
    const Numeric type = kind.storage;
    storage.resize(kernels::packed_bytes<float>(n, k, type) + 64);
    void* panels = storage.data();
    std::size_t space = storage.size();
    std::align(64, space - 64, panels, space);
    kernels::pack_weight(team.threads(), w.data(), k, n, k, type, panels);
    weight = {.panels = panels, .type = type};
  }
  const double weight_bytes =
      static_cast<double>(kind.packed ? kernels::packed_bytes<float>(n, k, kind.storage) : sizeof(float) * w.size());
  const kernels::GemmShape shape{m, n, k};
  const auto scratch = kernels::gemm_scratch(shape, weight, kind.mode);
  const kernels::BiasActivation<float> epilogue{bias.data()};
  const Eigen::Map<const Matrix> ex(x.data(), m, k), ew(w.data(), n, k);
  const Eigen::Map<const Eigen::RowVectorXf> eb(bias.data(), n);
  Eigen::Map<Matrix> ey(y_eigen.data(), m, n);
  Eigen::setNbThreads(1);
  side_by_side(
      state, 2.0 * static_cast<double>(m * n * k), weight_bytes + 4.0 * static_cast<double>(m * (k + n)), thread_count,
      kind.mode,
      [&] { kernels::gemm(team.threads(scratch), x.data(), k, weight, epilogue, y.data(), n, shape, kind.mode); },
      [&] {
        if (m == 1) {
          ey.row(0).transpose().noalias() = ew * ex.row(0).transpose();
        } else {
          ey.noalias() = ex * ew.transpose();
        }
        ey.rowwise() += eb;
      });
  const float root = std::sqrt(static_cast<float>(k));  // the deviation of a sum is a third of it
  for (std::size_t i = 0; i < y.size(); ++i) {
    const float tolerance = (kind.storage == Numeric::exact ? 5e-5f : 2e-2f) * root;
    if (!(std::abs(y[i] - y_eigen[i]) <= tolerance)) return state.SkipWithError("differs from Eigen");
  }
}

// C = A B with op(A) and op(B) as in the gradients of a linear layer.
void product(benchmark::State& state, Index m, Index k, Index n, bool a_transposed, bool b_transposed) {
  const auto a = fill(m * k, 1), b = fill(n * k, 2);
  Floats c(static_cast<std::size_t>(m * n)), c_eigen(c);
  using View = kernels::MatrixView<const float>;
  const View va = a_transposed ? View{a.data(), k, m, m, 1}.transposed() : View{a.data(), m, k, k, 1};
  const View vb = b_transposed ? View{b.data(), n, k, k, 1}.transposed() : View{b.data(), k, n, n, 1};
  aulos::ThreadTeam team(1);
  const auto scratch = kernels::matmul_scratch<float>({m, n, k});
  const Eigen::Map<const Matrix> ea(a.data(), a_transposed ? k : m, a_transposed ? m : k);
  const Eigen::Map<const Matrix> eb(b.data(), b_transposed ? n : k, b_transposed ? k : n);
  Eigen::Map<Matrix> ec(c_eigen.data(), m, n);
  side_by_side(
      state, 2.0 * static_cast<double>(m * n * k), 4.0 * static_cast<double>(m * k + k * n + m * n), 1, Numeric::exact,
      [&] { kernels::matmul(team.threads(scratch), va, vb, c.data(), n, kernels::Update::assign); },
      [&] {
        if (a_transposed && b_transposed) {
          ec.noalias() = ea.transpose() * eb.transpose();
        } else if (a_transposed) {
          ec.noalias() = ea.transpose() * eb;
        } else if (b_transposed) {
          ec.noalias() = ea * eb.transpose();
        } else {
          ec.noalias() = ea * eb;
        }
      });
}

const int registered = [] {
  struct {
    Index m, k, n;
  } const shapes[] = {{1024, 1536, 1536}, {1024, 1536, 6144}, {4096, 1536, 1536}, {77, 1536, 1536},
                      {256, 256, 1024},   {64, 64, 256},      {8, 1536, 1536},    {1, 1536, 1536}};
  static constexpr Kind kinds[] = {{"f32", true, Numeric::exact, Numeric::exact},
                                   {"bf16", true, Numeric::bf16, Numeric::bf16},
                                   {"int8", true, Numeric::int8, Numeric::int8},
                                   {"f32_from_bf16", true, Numeric::bf16, Numeric::exact},
                                   {"f32_rows", false, Numeric::exact, Numeric::exact}};
  for (const auto& s : shapes) {
    const std::string size = std::to_string(s.m) + "_" + std::to_string(s.k) + "_" + std::to_string(s.n);
    for (const auto& kind : kinds) {
      for (int threads = 1; threads <= 2; ++threads) {
        const std::string name = "gemm_" + size + "/" + kind.name + "/threads:" + std::to_string(threads);
        benchmark::RegisterBenchmark(
            name.c_str(), [s, &kind, threads](benchmark::State& state) { linear(state, s.m, s.k, s.n, kind, threads); })
            ->UseManualTime()
            ->Unit(benchmark::kMillisecond);
      }
    }
  }
  for (const bool a : {false, true}) {
    for (const bool b : {false, true}) {
      const std::string name = std::string("matmul_1024_1536_1536/") + (a ? "At" : "A") + (b ? "Bt" : "B");
      benchmark::RegisterBenchmark(name.c_str(),
                                   [a, b](benchmark::State& state) { product(state, 1024, 1536, 1536, a, b); })
          ->UseManualTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
  return 0;
}();

}  // namespace
