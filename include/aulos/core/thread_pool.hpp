// A fork-join pool: the caller and its workers run the pieces of one job, and the caller returns when all have ended.
#pragma once

#include <atomic>
#include <cstdint>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "aulos/core/clock.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/executor.hpp"
#include "aulos/core/function_ref.hpp"
#include "aulos/core/thread_count.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace aulos::inline AULOS_ISA {

// Neither allocates nor locks in run(). A worker that waits spins for at most `spin_time`, then sleeps. Where the
// system refuses a thread, the pool has fewer. The destructor joins the workers; exit() without it is harmless.
//
// A job is open to workers between two changes of `gate_`; a worker enters by a compare-and-swap that finds it open,
// and the caller leaves only when it has closed the gate and every worker that entered has left. So a worker that
// wakes late can't meet the next job's pieces with this job's body.
//
// After fork() the child has no workers: its calls run alone, and the destructor leaves the parent's threads be. The
// fork must not fall into a run.
class ThreadPool {
 public:
  // `threads` counts the caller: a pool of one starts no thread.
  explicit ThreadPool(int threads) {
    if (threads <= 1) return;
    const Index processors = affinity_count();
    spins_ = processors == 0 || threads <= processors;  // else a spinning thread keeps a working one waiting
    workers_.reserve(static_cast<std::size_t>(threads - 1));
    try {
      while (workers_.size() + 1 < static_cast<std::size_t>(threads)) workers_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
    } catch (const std::bad_alloc&) {
    }
    concurrency_ = static_cast<Index>(workers_.size()) + 1;
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() {
    const bool forked = process() != process_;  // some C libraries would wait for ever for the parent's threads
    stopping_.store(true, std::memory_order_relaxed);
    epoch_.fetch_add(1, std::memory_order_seq_cst);
    if (!forked) epoch_.notify_all();
    for (std::thread& worker : workers_) forked ? worker.detach() : worker.join();
  }

  Index concurrency() const noexcept { return concurrency_; }

  // body(0..pieces-1), each once. The body must not throw. A call that finds the pool busy (a nested one, or another
  // thread's) runs its pieces on its own thread.
  void run(Index pieces, FunctionRef<void(Index)> body) noexcept {
    if (pieces <= 1 || workers_.empty() || busy_.exchange(true, std::memory_order_acquire)) {
      for (Index piece = 0; piece < pieces; ++piece) body(piece);
      return;
    }
    body_ = &body;
    pieces_ = pieces;
    next_.store(0, std::memory_order_relaxed);
    gate_.store(open, std::memory_order_release);
    epoch_.fetch_add(1, std::memory_order_seq_cst);
    wake(pieces - 1);
    take_pieces();
    close();
    busy_.store(false, std::memory_order_release);
  }

 private:
  static constexpr double spin_seconds = 60e-6;
  static constexpr std::uint32_t open = 1, one_worker = 2;  // of gate_: its lowest bit, and the unit of its count

  void work() noexcept {
    std::uint32_t seen = 0;
    for (;;) {
      await_job(seen);
      seen = epoch_.load(std::memory_order_acquire);
      if (stopping_.load(std::memory_order_relaxed)) return;
      if (!enter()) continue;  // came too late: the others have done it
      take_pieces();
      leave();
    }
  }

  void take_pieces() noexcept {
    for (;;) {
      const Index piece = next_.fetch_add(1, std::memory_order_relaxed);
      if (piece >= pieces_) return;
      (*body_)(piece);
    }
  }

  bool enter() noexcept {
    std::uint32_t gate = gate_.load(std::memory_order_relaxed);
    while ((gate & open) != 0) {
      if (gate_.compare_exchange_weak(gate, gate + one_worker, std::memory_order_acquire, std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }

  void leave() noexcept {
    if (gate_.fetch_sub(one_worker, std::memory_order_seq_cst) != one_worker) return;
    if (caller_sleeps_.load(std::memory_order_seq_cst)) gate_.notify_one();  // the last one, and the gate is closed
  }

  void close() noexcept {
    gate_.fetch_and(~open, std::memory_order_acquire);
    const auto empty = [this] { return gate_.load(std::memory_order_seq_cst) == 0; };
    if (spin_until(empty)) return;
    caller_sleeps_.store(true, std::memory_order_seq_cst);
    for (;;) {
      const std::uint32_t gate = gate_.load(std::memory_order_seq_cst);
      if (gate == 0) break;
      gate_.wait(gate, std::memory_order_acquire);
    }
    caller_sleeps_.store(false, std::memory_order_relaxed);
  }

  void await_job(std::uint32_t seen) noexcept {
    const auto changed = [this, seen] { return epoch_.load(std::memory_order_acquire) != seen; };
    if (spin_until(changed)) return;
    // Either this thread sees the new epoch, or who made it sees this thread counted as asleep and wakes it.
    asleep_.fetch_add(1, std::memory_order_seq_cst);
    while (epoch_.load(std::memory_order_seq_cst) == seen) epoch_.wait(seen, std::memory_order_acquire);
    asleep_.fetch_sub(1, std::memory_order_relaxed);
  }

  void wake(Index wanted) noexcept {
    const Index asleep = asleep_.load(std::memory_order_seq_cst);
    if (asleep == 0) return;
    if (wanted >= asleep) {
      epoch_.notify_all();
    } else {
      for (; wanted > 0; --wanted) epoch_.notify_one();
    }
  }

  template <class Condition>
  bool spin_until(Condition condition) const noexcept {
    if (condition()) return true;
    if (!spins_) return false;
    const double start = seconds_now();
    do {
      for (int i = 0; i < 16; ++i) {
        pause();
        if (condition()) return true;
      }
    } while (seconds_now() - start < spin_seconds);
    return false;
  }

  static void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  static long process() noexcept {
#if defined(__unix__) || defined(__APPLE__)
    return static_cast<long>(getpid());
#else
    return 0;
#endif
  }

  static constexpr std::size_t line = 64;  // what different threads write lies on different cache lines

  alignas(line) std::atomic<std::uint32_t> epoch_{0};  // grows with each job
  std::atomic<Index> asleep_{0};                       // workers asleep on epoch_
  std::atomic<bool> stopping_{false};
  alignas(line) std::atomic<std::uint32_t> gate_{0};  // open, and how many workers are inside
  std::atomic<bool> caller_sleeps_{false};
  alignas(line) std::atomic<Index> next_{0};  // the next piece that nobody has taken
  alignas(line) std::atomic<bool> busy_{false};
  const FunctionRef<void(Index)>* body_ = nullptr;
  Index pieces_ = 0;
  bool spins_ = false;
  Index concurrency_ = 1;
  long process_ = process();
  std::vector<std::thread> workers_;
};

static_assert(Executor<ThreadPool>);

}  // namespace aulos::inline AULOS_ISA
