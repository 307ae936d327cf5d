// What a kernel sees of the threads: a number of pieces to run, and scratch memory for each piece that runs.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

#include "aulos/core/config.hpp"
#include "aulos/core/function_ref.hpp"

namespace aulos::inline AULOS_ISA {

// Scratch memory of one running piece: 64-byte aligned, contents undefined, taken front to back.
class Scratch {
 public:
  Scratch(std::byte* data, std::size_t bytes) noexcept : data_(data), left_(bytes) {}

  // The next `count` elements of T, 64-byte aligned. The kernel's *_scratch function must have asked for them.
  template <class T>
  T* take(Index count) noexcept {
    std::size_t bytes = (static_cast<std::size_t>(count) * sizeof(T) + 63) / 64 * 64;
    auto* p = reinterpret_cast<T*>(data_);
    data_ += bytes;
    left_ -= bytes;
    return p;
  }

 private:
  std::byte* data_;
  std::size_t left_;
};

// A view given to kernels: who runs the pieces, and where their scratch is. Cheap to copy; belongs to a ThreadTeam.
class Threads {
 public:
  using Body = FunctionRef<void(Index piece, Scratch& scratch)>;

  Threads(std::byte* scratch, std::size_t bytes) noexcept : scratch_(scratch), bytes_(bytes) {}

  // How many pieces may run at the same time: a hint for the number of pieces, never for the order of a sum.
  Index count() const noexcept { return 1; }

  // Runs body(0..pieces-1), each once, in any order and on any thread, and returns when all have ended.
  void run(Index pieces, Body body) const {
    for (Index i = 0; i < pieces; ++i) {
      Scratch scratch(scratch_, bytes_);
      body(i, scratch);
    }
  }

 private:
  std::byte* scratch_;
  std::size_t bytes_;
};

// Owns the threads and the scratch; a Context has one, and so has a kernel's test or benchmark.
class ThreadTeam {
 public:
  explicit ThreadTeam(int = 1) {}
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;
  ~ThreadTeam() { ::operator delete[](scratch_, std::align_val_t{64}); }

  // A view whose pieces each get `scratch_bytes` of scratch; allocates only when that is more than ever before.
  Threads threads(std::size_t scratch_bytes = 0) {
    if (scratch_bytes > bytes_) {
      ::operator delete[](scratch_, std::align_val_t{64});
      scratch_ = nullptr;
      scratch_ = static_cast<std::byte*>(::operator new[](scratch_bytes, std::align_val_t{64}));
      bytes_ = scratch_bytes;
    }
    return {scratch_, bytes_};
  }

 private:
  std::byte* scratch_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace aulos::inline AULOS_ISA
