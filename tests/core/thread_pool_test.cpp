#include "aulos/core/thread_pool.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "tests/support/sanitized.hpp"

namespace {

using aulos::Index;
using aulos::ThreadPool;
using std::chrono::milliseconds;

// How often each piece ran.
std::vector<int> runs_of_pieces(ThreadPool& pool, Index pieces) {
  std::vector<std::atomic<int>> runs(static_cast<std::size_t>(pieces));
  pool.run(pieces, [&](Index piece) { ++runs[static_cast<std::size_t>(piece)]; });
  return {runs.begin(), runs.end()};
}

TEST(ThreadPoolTest, RunsEachPieceOnce) {
  for (const int threads : {1, 2, 3, 7, 16}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.concurrency(), threads);
    for (const Index pieces : {0, 1, 2, 3, 16, 17, 1000}) {
      EXPECT_EQ(runs_of_pieces(pool, pieces), std::vector<int>(static_cast<std::size_t>(pieces), 1)) << threads;
    }
  }
}

TEST(ThreadPoolTest, ANegativeCountRunsNothing) {
  ThreadPool pool(2);
  pool.run(-3, [](Index) { ADD_FAILURE(); });
}

TEST(ThreadPoolTest, NoJobSeesThePiecesOfAnother) {
  // Short jobs in quick succession: late workers meet a job that is over, or the next one.
  for (const int threads : {2, 4}) {
    ThreadPool pool(threads);
    for (Index job = 1; job <= 20000; ++job) {
      const Index pieces = 2 + job % 5;
      std::atomic<Index> sum{0};
      pool.run(pieces, [&, job](Index piece) { sum.fetch_add(job * (piece + 1), std::memory_order_relaxed); });
      ASSERT_EQ(sum.load(), job * pieces * (pieces + 1) / 2) << job;
    }
  }
}

TEST(ThreadPoolTest, SleepingWorkersWakeUp) {
  ThreadPool pool(3);
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::this_thread::sleep_for(milliseconds(2));
    // Every piece waits for all the others, so all three threads must have come.
    std::atomic<int> arrived{0};
    pool.run(3, [&](Index) {
      ++arrived;
      while (arrived < 3) std::this_thread::yield();
    });
    EXPECT_EQ(arrived, 3);
  }
}

TEST(ThreadPoolTest, TheCallerSleepsThroughALongPieceAndWakesUp) {
  ThreadPool pool(2);
  std::atomic<int> ended{0};
  std::thread::id caller = std::this_thread::get_id();
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::atomic<int> arrived{0};
    pool.run(2, [&](Index) {
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
      if (std::this_thread::get_id() != caller) std::this_thread::sleep_for(milliseconds(2));
      ++ended;
    });
    EXPECT_EQ(ended, 2 * (repeat + 1));
  }
}

TEST(ThreadPoolTest, WritesOfPiecesAreSeenByTheCaller) {
  ThreadPool pool(4);
  std::vector<Index> values(1000);
  for (int repeat = 0; repeat < 200; ++repeat) {
    pool.run(1000, [&](Index piece) { values[static_cast<std::size_t>(piece)] += piece; });
  }
  EXPECT_EQ(std::accumulate(values.begin(), values.end(), Index{0}), 200 * 999 * 500);
}

TEST(ThreadPoolTest, ABusyPoolLeavesTheCallerAlone) {
  ThreadPool pool(3);
  std::atomic<int> inner{0};
  pool.run(4, [&](Index) {
    const auto self = std::this_thread::get_id();
    pool.run(5, [&](Index) {
      EXPECT_EQ(std::this_thread::get_id(), self);
      pool.run(2, [&](Index) { ++inner; });
    });
  });
  EXPECT_EQ(inner, 4 * 5 * 2);
}

TEST(ThreadPoolTest, ManyThreadsMayShareOnePool) {
  ThreadPool pool(3);
  std::atomic<Index> sum{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int job = 0; job < 500; ++job) pool.run(7, [&](Index piece) { sum += piece; });
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(sum, 4 * 500 * 21);
}

TEST(ThreadPoolTest, StartsAndEndsAtOnce) {
  for (int repeat = 0; repeat < 200; ++repeat) {
    ThreadPool pool(4);
    if (repeat % 2 == 0) {
      EXPECT_EQ(runs_of_pieces(pool, 3), std::vector<int>(3, 1));
    }
  }
}

TEST(ThreadPoolTest, IdleWorkersSleep) {
  // As many threads as may spin at all: a pool of more than there are processors never does.
  const int threads = static_cast<int>(std::clamp<Index>(aulos::affinity_count(), 2, 4));
  std::vector<std::unique_ptr<ThreadPool>> pools;
  for (int i = 0; i < 4; ++i) {
    pools.push_back(std::make_unique<ThreadPool>(threads));
    runs_of_pieces(*pools.back(), 8);
  }
  const auto cpu_seconds = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](timeval t) {
      return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
  };
  std::this_thread::sleep_for(milliseconds(20));
  const double before = cpu_seconds();
  std::this_thread::sleep_for(milliseconds(400));
  EXPECT_LT(cpu_seconds() - before, 0.02);
}

TEST(ThreadPoolTest, AForkedChildRunsAloneAndEnds) {
  if (AULOS_TEST_THREAD_SANITIZED) GTEST_SKIP() << "the child could not detach a thread";
  ThreadPool pool(3);
  runs_of_pieces(pool, 10);
  std::this_thread::sleep_for(milliseconds(2));
  auto* lent = new ThreadPool(3);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool right = runs_of_pieces(pool, 10) == std::vector<int>(10, 1);
    delete lent;  // must not wait for threads that the child doesn't have
    _exit(right ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(runs_of_pieces(*lent, 10), std::vector<int>(10, 1)) << "the parent's pool is as it was";
  delete lent;
}

#if defined(__linux__) && !AULOS_TEST_SANITIZED
TEST(ThreadPoolTest, HasFewerThreadsWhereTheSystemRefusesThem) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // Address space for a few of the stacks only.
    rlimit limit{};
    getrlimit(RLIMIT_STACK, &limit);
    const rlim_t stack = limit.rlim_cur == RLIM_INFINITY ? rlim_t{2} << 20 : limit.rlim_cur;
    long pages = 0;
    if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
      if (std::fscanf(file, "%ld", &pages) != 1) pages = 0;
      std::fclose(file);
    }
    limit.rlim_cur = static_cast<rlim_t>(pages) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + 4 * stack;
    setrlimit(RLIMIT_AS, &limit);
    ThreadPool pool(64);
    std::atomic<Index> sum{0};
    pool.run(100, [&](Index piece) { sum += piece; });
    _exit(pool.concurrency() >= 64 ? 1 : pool.concurrency() < 1 ? 2 : sum == 4950 ? 0 : 3);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 0);
}
#endif

}  // namespace
