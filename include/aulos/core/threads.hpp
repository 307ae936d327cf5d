// What a kernel sees of the threads: a number of pieces to run, and scratch memory for each piece that runs.
#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <thread>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/executor.hpp"
#include "aulos/core/float_mode.hpp"
#include "aulos/core/function_ref.hpp"
#include "aulos/core/scratch.hpp"
#include "aulos/core/thread_pool.hpp"

namespace aulos::inline AULOS_ISA {

class ThreadTeam;

// A view given to kernels: who runs the pieces, and where their scratch is. Cheap to copy; belongs to a ThreadTeam, or
// to one thread's own memory.
class Threads {
 public:
  using Body = FunctionRef<void(Index piece, Scratch& scratch)>;

  // Runs the pieces in order on the calling thread; each has all of the caller's `scratch`.
  Threads(std::byte* scratch, std::size_t bytes) noexcept : scratch_(scratch), bytes_(bytes) {}
  static Threads serial() noexcept { return {nullptr, 0}; }

  // How many pieces may run at the same time: a hint for the number of pieces, never for the order of a sum.
  Index count() const noexcept;

  // Runs body(0..pieces-1), each once, in any order and on any thread, and returns when all have ended.
  // - Inside a piece it is serial, on the calling thread, whatever the team.
  // - If pieces throw, the first in piece order is rethrown here, as it was thrown; later pieces may have been left
  // out.
  // - Pieces run in the floating-point mode of the caller (rounding, flushing of denormals).
  void run(Index pieces, Body body) const;

 private:
  friend class ThreadTeam;
  enum class Mode : unsigned char { serial, parallel };
  Threads(ThreadTeam* team, std::size_t bytes, Mode mode) noexcept : team_(team), bytes_(bytes), mode_(mode) {}

  static void run_in_order(Index pieces, Body body, std::byte* memory, std::size_t bytes) {
    for (Index piece = 0; piece < pieces; ++piece) {
      Scratch scratch(memory, bytes);
      body(piece, scratch);
    }
  }

  ThreadTeam* team_ = nullptr;  // null: the caller's own memory
  std::byte* scratch_ = nullptr;
  std::size_t bytes_ = 0;
  Mode mode_ = Mode::serial;
};

// Owns the threads (or borrows an application's) and the scratch; a Context has one, and so has a kernel's test or
// benchmark. One thread at a time may use it: a second one gets an Error at once. A forked child uses it alone.
class ThreadTeam {
 public:
  // `threads` counts the calling thread; fewer where the system refuses to start them.
  explicit ThreadTeam(int threads = 1)
      : pool_(at_least_one(threads)), executor_(pool_), count_(pool_.concurrency()), slots_(count_) {}

  // Runs on `executor`, which must outlive the team.
  template <Executor E>
  explicit ThreadTeam(E& executor)
      : pool_(1), executor_(executor), count_(at_least_one(executor.concurrency())), slots_(count_) {}

  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  // How many pieces may run at the same time.
  Index count() const noexcept { return count_; }

  // A view whose pieces each get `scratch_bytes` of scratch; allocates only when that is more than ever before.
  Threads threads(std::size_t scratch_bytes = 0) {
    reserve(scratch_bytes);
    return {this, scratch_bytes, Threads::Mode::parallel};
  }

  // The same for work that is too small to share: the pieces run in order on the calling thread.
  Threads serial(std::size_t scratch_bytes = 0) {
    reserve(scratch_bytes);
    return {this, scratch_bytes, Threads::Mode::serial};
  }

  // Scratch bytes held at present, all threads together.
  std::size_t held_bytes() const noexcept { return slots_.held_bytes(); }

 private:
  friend class Threads;

  // Whether the calling thread is inside a piece, of whichever team.
  static bool& inside_piece() noexcept {
    static thread_local bool inside = false;
    return inside;
  }
  class PieceScope {
   public:
    PieceScope() noexcept : former_(inside_piece()) { inside_piece() = true; }
    PieceScope(const PieceScope&) = delete;
    PieceScope& operator=(const PieceScope&) = delete;
    ~PieceScope() { inside_piece() = former_; }

   private:
    bool former_;
  };

  // Exclusive use of the team.
  class Use {
   public:
    explicit Use(ThreadTeam& team) : team_(team) {
      if (team_.busy_.exchange(true, std::memory_order_acquire)) {
        throw Error(
            "threads: a second thread uses this Context while a run is in progress; expected one Context for "
            "each thread");
      }
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    ~Use() { team_.busy_.store(false, std::memory_order_release); }

   private:
    ThreadTeam& team_;
  };

  class Slot {
   public:
    Slot(ScratchSlots& slots, std::size_t bytes) noexcept : slots_(bytes > 0 ? &slots : nullptr) {
      if (slots_ != nullptr) slot_ = slots_->acquire();
    }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    ~Slot() {
      if (slots_ != nullptr) slots_->release(slot_);
    }
    std::byte* memory() const noexcept { return slots_ != nullptr ? slots_->memory(slot_) : nullptr; }

   private:
    ScratchSlots* slots_;
    Index slot_ = 0;
  };

  // The exception of the earliest piece that threw.
  class FirstFailure {
   public:
    // Whether a piece before `piece` has failed already, so that it need not run.
    bool before(Index piece) const noexcept { return piece_.load(std::memory_order_relaxed) < piece; }

    // Inside a handler.
    void record(Index piece) noexcept {
      while (locked_.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
      if (piece < piece_.load(std::memory_order_relaxed)) {
        error_ = std::current_exception();
        piece_.store(piece, std::memory_order_relaxed);
      }
      locked_.clear(std::memory_order_release);
    }

    void rethrow() {
      if (error_ != nullptr) std::rethrow_exception(std::move(error_));
    }

   private:
    std::atomic<Index> piece_{(std::numeric_limits<Index>::max)()};
    std::atomic_flag locked_;
    std::exception_ptr error_;
  };

  template <class Integer>
  static Integer at_least_one(Integer threads) {
    if (threads < 1) {
      throw ConfigError("threads: expected at least 1, got " + std::to_string(static_cast<Index>(threads)));
    }
    return threads;
  }

  void reserve(std::size_t bytes) {
    if (bytes == 0 || inside_piece()) return;  // a nested run brings its own memory
    const Use use(*this);
    slots_.reserve(bytes);
  }

  void run_nested(Index pieces, Threads::Body body, std::size_t bytes) {
    // The scratch of this thread is in use by the piece that called.
    ScratchSlots own(1);
    own.reserve(bytes);
    Threads::run_in_order(pieces, body, own.memory(0), bytes);
  }

  void run_serial(Index pieces, Threads::Body body, std::size_t bytes) {
    const PieceScope piece;
    if (bytes == 0) return Threads::run_in_order(pieces, body, nullptr, 0);  // nothing is shared
    const Use use(*this);
    slots_.reserve(bytes);
    Threads::run_in_order(pieces, body, slots_.memory(0), bytes);
  }

  void run_parallel(Index pieces, Threads::Body body, std::size_t bytes) {
    const Use use(*this);
    slots_.reserve(bytes);
    const FloatMode mode = FloatMode::current();
    FirstFailure failure;
    executor_.run(pieces, [&](Index piece) noexcept {
      if (failure.before(piece)) return;
      const PieceScope inside;
      const FloatModeScope float_mode(mode);
      const Slot slot(slots_, bytes);
      Scratch scratch(slot.memory(), bytes);
      try {
        body(piece, scratch);
      } catch (...) {
        failure.record(piece);
      }
    });
    failure.rethrow();
  }

  ThreadPool pool_;
  ExecutorRef executor_;
  Index count_;
  ScratchSlots slots_;
  std::atomic<bool> busy_{false};
};

inline Index Threads::count() const noexcept {
  return mode_ == Mode::serial || ThreadTeam::inside_piece() ? 1 : team_->count();
}

// Not inlined: compilers would copy the team's machinery, and the body with it, into every kernel.
[[gnu::noinline]] inline void Threads::run(Index pieces, Body body) const {
  if (team_ == nullptr) {
    run_in_order(pieces, body, scratch_, bytes_);
  } else if (ThreadTeam::inside_piece()) {
    team_->run_nested(pieces, body, bytes_);
  } else if (mode_ == Mode::serial || pieces <= 1 || team_->count() == 1) {
    team_->run_serial(pieces, body, bytes_);
  } else {
    team_->run_parallel(pieces, body, bytes_);
  }
}

}  // namespace aulos::inline AULOS_ISA
