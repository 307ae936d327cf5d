// What a fork and join costs: a team whose workers still spin, one whose workers sleep, and for comparison a pool of
// mutex and condition variable; the serial views; and the size of a job from which a second thread pays.
#include "aulos/core/threads.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace {

using aulos::FunctionRef;
using aulos::Index;
using aulos::Scratch;
using aulos::ThreadTeam;

// The textbook pool: what the library's own is measured against.
class ConditionVariablePool {
 public:
  explicit ConditionVariablePool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  ConditionVariablePool(const ConditionVariablePool&) = delete;
  ConditionVariablePool& operator=(const ConditionVariablePool&) = delete;
  ~ConditionVariablePool() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }
  Index concurrency() const { return static_cast<Index>(workers_.size()) + 1; }
  void run(Index pieces, FunctionRef<void(Index)> body) {
    std::unique_lock lock(mutex_);
    body_ = &body;
    next_ = 0;
    left_ = pieces_ = pieces;
    wake_.notify_all();
    take_pieces(lock);
    done_.wait(lock, [this] { return left_ == 0; });
  }

 private:
  void take_pieces(std::unique_lock<std::mutex>& lock) {
    while (next_ < pieces_) {
      const Index piece = next_++;
      lock.unlock();
      (*body_)(piece);
      lock.lock();
      if (--left_ == 0) done_.notify_one();
    }
  }
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return stopping_ || next_ < pieces_; });
      if (stopping_) return;
      take_pieces(lock);
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const FunctionRef<void(Index)>* body_ = nullptr;
  Index next_ = 0, pieces_ = 0, left_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

// Arithmetic that nothing can skip: two or three nanoseconds a step.
void work(Index steps) {
  double x = 1;
  for (Index i = 0; i < steps; ++i) benchmark::DoNotOptimize(x = x * 1.0000001 + 1e-9);
}

enum class Workers { spinning, sleeping };

template <class Fork>
void fork_join(benchmark::State& state, Workers workers, const Fork& fork) {
  std::vector<double> times;
  for (auto _ : state) {
    if (workers == Workers::sleeping) std::this_thread::sleep_for(std::chrono::microseconds(300));
    const auto begin = std::chrono::steady_clock::now();
    fork();
    times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    state.SetIterationTime(times.back());
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  state.counters["median_ns"] = times[times.size() / 2] * 1e9;
}

void BM_fork_join(benchmark::State& state, Workers workers, std::size_t scratch) {
  ThreadTeam team(static_cast<int>(state.range(0)));
  const auto threads = team.threads(scratch);
  fork_join(state, workers,
            [&] { threads.run(team.count(), [](Index piece, Scratch&) { benchmark::DoNotOptimize(piece); }); });
}
BENCHMARK_CAPTURE(BM_fork_join, spinning, Workers::spinning, 0)->Arg(2)->UseManualTime();
BENCHMARK_CAPTURE(BM_fork_join, spinning_with_scratch, Workers::spinning, 4096)->Arg(2)->UseManualTime();
BENCHMARK_CAPTURE(BM_fork_join, sleeping, Workers::sleeping, 0)->Arg(2)->UseManualTime()->Iterations(2000);

// Both threads certainly meet.
void BM_meet(benchmark::State& state, Workers workers) {
  ThreadTeam team(2);
  const auto threads = team.threads();
  fork_join(state, workers, [&] {
    std::atomic<int> arrived{0};
    threads.run(2, [&](Index, Scratch&) {
      ++arrived;
      while (arrived < 2) {
      }
    });
  });
}
BENCHMARK_CAPTURE(BM_meet, spinning, Workers::spinning)->UseManualTime();
BENCHMARK_CAPTURE(BM_meet, sleeping, Workers::sleeping)->UseManualTime()->Iterations(2000);

void BM_condition_variable(benchmark::State& state, Workers workers) {
  ConditionVariablePool pool(2);
  fork_join(state, workers, [&] {
    std::atomic<int> arrived{0};
    pool.run(2, [&](Index) {
      ++arrived;
      while (arrived < 2) {
      }
    });
  });
}
BENCHMARK_CAPTURE(BM_condition_variable, meet, Workers::spinning)->UseManualTime();
BENCHMARK_CAPTURE(BM_condition_variable, meet_sleeping, Workers::sleeping)->UseManualTime()->Iterations(2000);

void BM_serial(benchmark::State& state) {
  ThreadTeam team(2);
  for (auto _ : state) {
    team.serial(static_cast<std::size_t>(state.range(0))).run(1, [](Index piece, Scratch&) {
      benchmark::DoNotOptimize(piece);
    });
  }
}
BENCHMARK(BM_serial)->Arg(0)->Arg(4096);

// A job in two pieces on 1 and on 2 threads: from which size does the second one pay?
void BM_job(benchmark::State& state) {
  ThreadTeam team(static_cast<int>(state.range(1)));
  const auto threads = team.threads();
  fork_join(state, Workers::spinning, [&] { threads.run(2, [&](Index, Scratch&) { work(state.range(0) / 2); }); });
}
BENCHMARK(BM_job)
    ->ArgNames({"steps", "threads"})
    ->ArgsProduct({{400, 1000, 2000, 4000, 8000, 40000}, {1, 2}})
    ->UseManualTime();

}  // namespace
