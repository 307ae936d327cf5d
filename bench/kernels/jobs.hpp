// What the programs share whose kernels are a table: a kernel and its memory, timed on one thread. Counters: GFLOP/s
// and bytes/s as the ops count them for a plan (aulos::Cost: operations of the definition, a multiply-add two, a
// function such as exp some ten; every large array once where it is read and once where it is written), and
// `copy_share`, the time that memcpy takes to move as many bytes (half of them read, half written) by ours, best of
// several turns.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "aulos/core/profile.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/kernels/rows.hpp"
#include "bench/numbers.hpp"

namespace bench {

// A kernel whose arrays are its own.
struct Job {
  aulos::Cost cost;
  std::function<void(aulos::Threads)> run;
};

inline Floats zeros(aulos::Index count) { return Floats(static_cast<std::size_t>(count)); }

// Seconds of a call, averaged over `calls`.
template <class Call>
double seconds_per_call(int calls, const Call& call) {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) {
    call();
    benchmark::ClobberMemory();
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / calls;
}

template <class Call>
double copy_share(double bytes, const Call& call) {
  const auto half = static_cast<std::size_t>(bytes / 2);
  Floats from(half / sizeof(float) + 1, 1.0f), to(from.size());
  benchmark::DoNotOptimize(from.data());
  benchmark::DoNotOptimize(to.data());
  const int calls = 1 + static_cast<int>(4e6 / bytes);
  double ours = 1e9, copying = 1e9, spent = 0;
  for (int turn = 0; turn < 20 && (turn < 3 || spent < 0.03); ++turn) {
    copying = std::min(copying, seconds_per_call(calls, [&] { std::memcpy(to.data(), from.data(), half); }));
    const double now = seconds_per_call(calls, call);
    ours = std::min(ours, now);
    spent += now * calls;
  }
  return copying / ours;
}

inline void run_job(benchmark::State& state, const Job& job) {
  aulos::ThreadTeam team(1);
  const aulos::Threads threads = team.threads(job.cost.scratch);
  const auto call = [&] { job.run(threads); };
  for (auto _ : state) {
    call();
    benchmark::ClobberMemory();
  }
  using benchmark::Counter;
  if (job.cost.flops > 0) {
    state.counters["GFLOP/s"] = Counter(job.cost.flops * 1e-9, Counter::kIsIterationInvariantRate);
  }
  state.counters["bytes/s"] = Counter(job.cost.bytes, Counter::kIsIterationInvariantRate);
  state.counters["copy_share"] = copy_share(job.cost.bytes, call);
}

inline void add_job(const std::string& name, std::function<Job()> make) {
  benchmark::RegisterBenchmark(name.c_str(), [make](benchmark::State& state) {
    run_job(state, make());
  })->Unit(benchmark::kMicrosecond);
}

// What kernels of rows find in memory.
struct RowsOperands {
  aulos::Index rows, columns;
  aulos::Index count = rows * columns;
  Floats x = fill(count, 1), f = fill(count, 4), z = x, y{zeros(count)};  // [rows, columns]
  Floats a = fill(columns, 2), b = fill(columns, 3), c = a, d = a;        // [columns]
  Floats of_rows{zeros(rows)};                                            // [rows]
  std::vector<std::int64_t> ids = scattered(rows), at = scattered(rows);  // [rows], each once, far apart
  // For partial sums and what is kept of rows.
  std::vector<double> doubles = std::vector<double>(static_cast<std::size_t>(2 * rows + count / 1024 + 1));

  using Rows = aulos::kernels::Rows<float>;
  Rows rows_of(Floats& of) const { return {of.data(), columns}; }

  static std::vector<std::int64_t> scattered(aulos::Index count) {
    std::vector<std::int64_t> ids(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(i * 2731 % ids.size());
    return ids;
  }
};

// A kernel of rows, what an element costs in operations and in arrays read or written.
struct RowsJob {
  const char* name;
  double flops, arrays;
  void (*run)(aulos::Threads threads, RowsOperands& o);
  std::size_t (*scratch)(aulos::Index columns) = nullptr;
};
struct RowsSize {
  aulos::Index rows, columns;
};
inline void add_jobs(std::span<const RowsJob> jobs, std::span<const RowsSize> sizes) {
  for (const RowsJob& job : jobs) {
    for (const RowsSize& size : sizes) {
      const std::string name =
          std::string(job.name) + "/" + std::to_string(size.rows) + "_" + std::to_string(size.columns);
      add_job(name, [job, size] {
        aulos::Cost cost = aulos::cost_per_element<float>(size.rows * size.columns, job.flops, job.arrays);
        if (job.scratch != nullptr) cost.scratch = job.scratch(size.columns);
        const auto operands = std::make_shared<RowsOperands>(RowsOperands{size.rows, size.columns});
        return Job{cost, [=](aulos::Threads threads) { job.run(threads, *operands); }};
      });
    }
  }
}

}  // namespace bench
