// Attention against Eigen's products and softmax, head by head, on the same numbers: both run in turn in one process,
// with the rate of a loop of the instruction that the products are made of and of a loop that reads the keys and
// values. Time = median of ours; counters: GFLOP/s (of the pairs that the mask keeps), bytes/s, Eigen's time divided by
// ours, share of the loop's rate; for one query, share of the rate of reading. g++ 12 reports its own
// _mm512_undefined_*() as uninitialized wherever Eigen uses them.
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
#include <limits>
#include <string>
#include <vector>

#include "aulos/kernels/attention.hpp"
#include "aulos/kernels/attention_backward.hpp"
#include "bench/numbers.hpp"

namespace {

namespace kernels = aulos::kernels;
using aulos::Index;
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Map = Eigen::Map<Matrix>;
using ConstMap = Eigen::Map<const Matrix>;
using KeyMap = Eigen::Map<const Matrix, 0, Eigen::OuterStride<>>;

using bench::Floats, bench::fill, bench::median;

template <class F>
double seconds(const F& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Seconds to read x once.
double read_time(const Floats& x) {
  using Batch = aulos::simd::Batch<float>;
  constexpr Index step = 4 * aulos::simd::lanes<float>;
  Batch sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  const double time = seconds([&] {
    for (Index i = 0; i + step <= static_cast<Index>(x.size()); i += step) {
      AULOS_UNROLL
      for (int v = 0; v < 4; ++v) sum[v] += aulos::simd::load(x.data() + i + v * aulos::simd::lanes<float>);
    }
  });
  benchmark::DoNotOptimize(sum);
  return time;
}

enum class Kind { full, causal, window, bias };
enum class Pass { forward, backward };

constexpr Index window = 128;  // keys on either side

// How keys and values lie: heads one after another, so that Eigen gets dense matrices, or tokens (Eigen's with
// strides).
enum class Layout { heads, tokens };

struct Case {
  const char* name;
  Index heads, nq, nk, width;
  Kind kind = Kind::full;
  aulos::Numeric mode = aulos::Numeric::exact;
  Index groups = heads;
  Layout layout = Layout::heads;

  // The first key and the one behind the last that query i sees.
  Index first_key(Index i) const { return kind == Kind::window ? std::max<Index>(0, i - window) : 0; }
  Index last_key(Index i) const {
    return kind == Kind::causal ? std::min(nk, i + 1) : kind == Kind::window ? std::min(nk, i + window + 1) : nk;
  }
  double pairs() const {
    Index sum = 0;
    for (Index i = 0; i < nq; ++i) sum += last_key(i) - first_key(i);
    return static_cast<double>(heads * sum);
  }
};

struct Data {
  Case c;
  Floats q, k, v, dout, out, lse, dq, dk, dv, bias, workspace;

  explicit Data(const Case& of)
      : c(of),
        q(fill(c.heads * c.nq * c.width, 1, 2.0f)),
        k(fill(c.groups * c.nk * c.width, 2, 2.0f)),
        v(fill(c.groups * c.nk * c.width, 3, 2.0f)),
        dout(fill(c.heads * c.nq * c.width, 4, 2.0f)),
        out(q.size()),
        lse(static_cast<std::size_t>(c.heads * c.nq)),
        dq(q.size()),
        dk(k.size()),
        dv(k.size()),
        bias(fill(c.kind == Kind::bias ? c.nq * c.nk : 0, 5, 2.0f)) {}

  float scale() const { return 1.0f / std::sqrt(static_cast<float>(c.width)); }

  void ours(aulos::ThreadTeam& team, Pass pass) {
    const kernels::AttentionShape shape{1, c.heads, c.groups, c.width, c.width, scale()};
    const auto rows = [&](auto* p, Index n, Index width) { return kernels::heads_major(p, n, c.heads, width); };
    const auto keys = [&](const Floats& x) {
      return c.layout == Layout::heads ? kernels::heads_major(x.data(), c.nk, c.groups, c.width)
                                       : kernels::tokens_major(x.data(), c.nk, c.groups, c.width);
    };
    const kernels::AttentionSide<float> side[] = {{c.nq, c.nk, rows(std::as_const(q).data(), c.nq, c.width), keys(k),
                                                   keys(v), rows(out.data(), c.nq, c.width),
                                                   rows(lse.data(), c.nq, 1)}};
    const kernels::AttentionSideGradients<float> gradients[] = {{rows(std::as_const(dout).data(), c.nq, c.width),
                                                                 {},
                                                                 {rows(dq.data(), c.nq, c.width)},
                                                                 {rows(dk.data(), c.nk, c.width)},
                                                                 {rows(dv.data(), c.nk, c.width)}}};
    workspace.resize(
        static_cast<std::size_t>(kernels::attention_workspace<float>(team.count(), shape, c.nq, c.nk, c.mode)));
    const auto run = [&](const auto& mask, const auto& score) {
      if (pass == Pass::forward) {
        const auto scratch = kernels::attention_scratch<float>(shape, c.nq, c.nk, c.mode);
        kernels::attention<float>(team.threads(scratch), shape, side, mask, score, c.mode,
                                  workspace.empty() ? nullptr : workspace.data());
      } else {
        const auto scratch = kernels::attention_backward_scratch<float>(shape, c.nq, c.nk);
        kernels::attention_backward<float>(team.threads(scratch), shape, side, gradients, mask, score);
      }
    };
    switch (c.kind) {
      case Kind::causal:
        return run(kernels::causal(kernels::Causality::top_left, c.nq, c.nk), kernels::NoScore{});
      case Kind::window:
        return run(kernels::SlidingWindow{.left = window, .right = window}, kernels::NoScore{});
      case Kind::bias:
        return run(kernels::NoMask{}, kernels::AdditiveBias<float>{bias.data(), 0, 0, c.nk});
      case Kind::full:
        return run(kernels::NoMask{}, kernels::NoScore{});
    }
  }

  // The keys or values of query head h.
  KeyMap keys_of(const Floats& x, Index h) const {
    const Index group = h / (c.heads / c.groups), token = c.layout == Layout::heads ? c.width : c.groups * c.width;
    return {x.data() + group * c.width * (c.layout == Layout::heads ? c.nk : 1), c.nk, c.width,
            Eigen::OuterStride<>(token)};
  }

  // The weights of one head, normalised.
  void eigen_weights(Index h, Matrix& p) const {
    const ConstMap eq(q.data() + h * c.nq * c.width, c.nq, c.width);
    p.noalias() = scale() * eq * keys_of(k, h).transpose();
    if (c.kind == Kind::bias) p += ConstMap(bias.data(), c.nq, c.nk);
    for (Index i = 0; i < c.nq; ++i) {
      const Index first = c.first_key(i), last = c.last_key(i);
      p.row(i).head(first).setZero();
      p.row(i).tail(c.nk - last).setZero();
      auto row = p.row(i).segment(first, last - first).array();
      row = (row - row.maxCoeff()).exp();
      row /= row.sum();
    }
  }

  void eigen(Pass pass, Matrix& p, Matrix& ds) {
    for (Index h = 0; h < c.heads; ++h) {
      const Index at_q = h * c.nq * c.width, at_k = h * c.nk * c.width;
      const KeyMap ev = keys_of(v, h);
      eigen_weights(h, p);
      if (pass == Pass::forward) {
        Map(out.data() + at_q, c.nq, c.width).noalias() = p * ev;
        continue;
      }
      const ConstMap eq(q.data() + at_q, c.nq, c.width), ek(k.data() + at_k, c.nk, c.width);
      const ConstMap eo(dout.data() + at_q, c.nq, c.width);
      Map(dv.data() + at_k, c.nk, c.width).noalias() = p.transpose() * eo;
      ds.noalias() = eo * ev.transpose();
      for (Index i = 0; i < c.nq; ++i) {
        const float mean = p.row(i).dot(ds.row(i));
        ds.row(i).array() = scale() * p.row(i).array() * (ds.row(i).array() - mean);
      }
      Map(dq.data() + at_q, c.nq, c.width).noalias() = ds * ek;
      Map(dk.data() + at_k, c.nk, c.width).noalias() = ds.transpose() * eq;
    }
  }
};

double largest_difference(const Floats& x, const Floats& y) {
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double error = std::abs(static_cast<double>(x[i]) - static_cast<double>(y[i]));
    worst = error <= worst ? worst : error;
  }
  return worst;
}

void attention(benchmark::State& state, const Case& c, Pass pass, int threads) {
  Data mine(c), theirs(c);
  Matrix p(c.nq, c.nk), ds(c.nq, c.nk);
  aulos::ThreadTeam team(threads);
  Eigen::setNbThreads(1);
  mine.ours(team, Pass::forward);
  mine.ours(team, pass);
  theirs.eigen(pass, p, ds);
  const bool exact = c.mode == aulos::Numeric::exact;
  std::vector<double> times, ratios, peaks, reads;
  for (auto _ : state) {
    peaks.push_back(bench::peak_rate(pass == Pass::forward ? c.mode : aulos::Numeric::exact));
    reads.push_back(read_time(mine.k) + read_time(mine.v));
    const double eigen_time = seconds([&] { theirs.eigen(pass, p, ds); });
    times.push_back(seconds([&] { mine.ours(team, pass); }));
    ratios.push_back(eigen_time / times.back());
    state.SetIterationTime(times.back());
  }
  const double rate = (pass == Pass::forward ? 4.0 : 10.0) * c.pairs() * static_cast<double>(c.width) / median(times);
  state.counters["GFLOP/s"] = rate * 1e-9;
  // q and out, k and v; backward q, out, dout and dq, k, v, dk and dv.
  const double arrays = pass == Pass::forward ? 2 : 4;
  state.counters["bytes/s"] = 4 * arrays * static_cast<double>(mine.q.size() + mine.k.size()) / median(times);
  state.counters["eigen/ours"] = median(ratios);
  state.counters["peak_share"] = rate / (*std::max_element(peaks.begin(), peaks.end()) * threads);
  if (c.nq == 1 && pass == Pass::forward) state.counters["read_share"] = median(reads) / median(times);
  const double error = pass == Pass::forward
                           ? largest_difference(mine.out, theirs.out)
                           : std::max({largest_difference(mine.dq, theirs.dq), largest_difference(mine.dk, theirs.dk),
                                       largest_difference(mine.dv, theirs.dv)});
  if (!(error <= (exact ? 1e-3 : 0.1))) state.SkipWithError("differs from Eigen");
}

const int registered = [] {
  const Case cases[] = {{"256_256", 24, 256, 256, 64},
                        {"1024_1024", 24, 1024, 1024, 64},
                        {"4096_4096", 24, 4096, 4096, 64},
                        {"1024_1024_causal", 24, 1024, 1024, 64, Kind::causal},
                        {"1024_77", 24, 1024, 77, 64},
                        {"1_1024", 24, 1, 1024, 64},
                        {"1_4096", 24, 1, 4096, 64},
                        {"1_16384", 24, 1, 16384, 64},
                        {"1_4096_tokens", 24, 1, 4096, 64, Kind::full, aulos::Numeric::exact, 24, Layout::tokens},
                        {"1_16384_one_head", 1, 1, 16384, 64},
                        {"1024_1024_width_32", 48, 1024, 1024, 32},
                        {"1024_1024_width_40", 24, 1024, 1024, 40},
                        {"1024_1024_width_72", 24, 1024, 1024, 72},
                        {"1024_1024_width_96", 16, 1024, 1024, 96},
                        {"1024_1024_width_128", 12, 1024, 1024, 128},
                        {"1024_1024_width_256", 6, 1024, 1024, 256},
                        {"1024_1024_bias", 24, 1024, 1024, 64, Kind::bias},
                        {"4096_4096_window", 24, 4096, 4096, 64, Kind::window},
                        {"1024_1024_groups", 24, 1024, 1024, 64, Kind::full, aulos::Numeric::exact, 4},
                        {"bf16_256_256", 24, 256, 256, 64, Kind::full, aulos::Numeric::bf16},
                        {"bf16_1024_1024", 24, 1024, 1024, 64, Kind::full, aulos::Numeric::bf16},
                        {"bf16_4096_4096", 24, 4096, 4096, 64, Kind::full, aulos::Numeric::bf16},
                        {"bf16_1024_1024_causal", 24, 1024, 1024, 64, Kind::causal, aulos::Numeric::bf16},
                        {"bf16_1024_1024_width_32", 48, 1024, 1024, 32, Kind::full, aulos::Numeric::bf16},
                        {"bf16_1024_1024_width_40", 24, 1024, 1024, 40, Kind::full, aulos::Numeric::bf16},
                        {"bf16_1024_1024_width_128", 12, 1024, 1024, 128, Kind::full, aulos::Numeric::bf16},
                        {"bf16_1024_1024_bias", 24, 1024, 1024, 64, Kind::bias, aulos::Numeric::bf16},
                        {"bf16_4096_4096_window", 24, 4096, 4096, 64, Kind::window, aulos::Numeric::bf16},
                        {"bf16_1024_1024_groups", 24, 1024, 1024, 64, Kind::full, aulos::Numeric::bf16, 4},
                        {"bf16_1024_77", 24, 1024, 77, 64, Kind::full, aulos::Numeric::bf16},
                        {"bf16_1_4096", 24, 1, 4096, 64, Kind::full, aulos::Numeric::bf16}};
  for (const Case& c : cases) {
    for (const Pass pass : {Pass::forward, Pass::backward}) {
      // The backward is always exact; Eigen's here knows dense heads only.
      const bool dense = c.groups == c.heads && c.layout == Layout::heads;
      if (pass == Pass::backward && (c.mode != aulos::Numeric::exact || !dense)) continue;
      for (int threads = 1; threads <= 2; ++threads) {
        const std::string name = std::string(pass == Pass::forward ? "attention_" : "attention_backward_") + c.name +
                                 "/threads:" + std::to_string(threads);
        benchmark::RegisterBenchmark(
            name.c_str(), [c, pass, threads](benchmark::State& state) { attention(state, c, pass, threads); })
            ->UseManualTime()
            ->Unit(benchmark::kMillisecond);
      }
    }
  }
  return 0;
}();

}  // namespace
