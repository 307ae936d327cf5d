// Scratch memory of running pieces: one slot for each piece that runs, found through an atomic bitmap.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <thread>

#include "aulos/core/config.hpp"
#if AULOS_ASSERT_LEVEL >= 1
#include <string>

#include "aulos/core/error.hpp"
#endif

namespace aulos::inline AULOS_ISA {

// Scratch memory of one running piece: 64-byte aligned, contents undefined, taken front to back.
class Scratch {
 public:
  static constexpr std::size_t alignment = 64;

  Scratch(std::byte* data, std::size_t bytes) noexcept : data_(data), left_(bytes) {}

  // The next `count` elements of T, 64-byte aligned. The kernel's *_scratch function must have asked for them, each
  // array rounded up to 64 bytes: scratch_size<T>(count).
  template <class T>
  T* take(Index count) noexcept(AULOS_ASSERT_LEVEL < 1);

 private:
  std::byte* data_;
  std::size_t left_;
};

// The bytes that Scratch::take<T>(count) uses up.
template <class T>
constexpr std::size_t scratch_size(Index count) noexcept {
  return (static_cast<std::size_t>(count) * sizeof(T) + Scratch::alignment - 1) / Scratch::alignment *
         Scratch::alignment;
}

template <class T>
T* Scratch::take(Index count) noexcept(AULOS_ASSERT_LEVEL < 1) {
  const std::size_t bytes = scratch_size<T>(count);
#if AULOS_ASSERT_LEVEL >= 1
  if (count < 0 || bytes > left_) {
    throw Error("scratch: asked for " + std::to_string(count) + " elements of " + std::to_string(sizeof(T)) +
                " bytes, expected at most " + std::to_string(left_) + " bytes");
  }
#endif
#if AULOS_ASSERT_LEVEL >= 2
  if (bytes > 0) std::memset(static_cast<void*>(data_), 0xFF, bytes);  // NaN, so that stale memory shows
#endif
  auto* taken = reinterpret_cast<T*>(data_);
  data_ += bytes;
  left_ -= bytes;
  return taken;
}

// `count` equal slots of scratch in one allocation. Any thread may acquire a slot; growing needs every slot free.
class ScratchSlots {
 public:
  explicit ScratchSlots(Index count)
      : count_(count), used_(std::make_unique<std::atomic<std::uint64_t>[]>(static_cast<std::size_t>(words()))) {
    const auto past_end = static_cast<std::uint64_t>(count % 64);  // slots that don't exist are taken for ever
    if (past_end != 0) used_[static_cast<std::size_t>(words() - 1)].store(~std::uint64_t{0} << past_end);
  }
  ScratchSlots(const ScratchSlots&) = delete;
  ScratchSlots& operator=(const ScratchSlots&) = delete;
  ~ScratchSlots() { release_memory(); }

  Index count() const noexcept { return count_; }

  // Bytes held for all slots together.
  std::size_t held_bytes() const noexcept { return static_cast<std::size_t>(count_) * stride_; }

  // Makes each slot hold at least `bytes`: allocates (and may throw std::bad_alloc) when that is more than ever before.
  void reserve(std::size_t bytes) {
    if (bytes <= stride_) return;
    constexpr std::size_t apart = 128;  // two cache lines, which some processors fetch together
    if (bytes > (SIZE_MAX - apart) / static_cast<std::size_t>(count_)) throw std::bad_alloc();
    const std::size_t stride = (bytes + apart - 1) / apart * apart;
    if (stride > SIZE_MAX / static_cast<std::size_t>(count_)) throw std::bad_alloc();
    release_memory();
    const std::size_t all = static_cast<std::size_t>(count_) * stride;
    memory_ = static_cast<std::byte*>(::operator new[](all, std::align_val_t{Scratch::alignment}));
    stride_ = stride;
  }

  // A free slot, for this thread until release(slot). Waits while none is free, which only an executor that runs more
  // pieces at once than it promised brings about.
  Index acquire() noexcept {
    for (;;) {
      for (Index word = 0; word < words(); ++word) {
        auto& used = used_[static_cast<std::size_t>(word)];
        std::uint64_t bits = used.load(std::memory_order_relaxed);
        while (~bits != 0) {
          const int free = std::countr_one(bits);
          if (used.compare_exchange_weak(bits, bits | std::uint64_t{1} << free, std::memory_order_acquire,
                                         std::memory_order_relaxed)) {
            return word * 64 + free;
          }
        }
      }
      std::this_thread::yield();
    }
  }
  void release(Index slot) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << (slot % 64);
    used_[static_cast<std::size_t>(slot / 64)].fetch_and(~bit, std::memory_order_release);
  }

  std::byte* memory(Index slot) noexcept { return memory_ + static_cast<std::size_t>(slot) * stride_; }

 private:
  Index words() const noexcept { return (count_ + 63) / 64; }
  void release_memory() noexcept {
    ::operator delete[](memory_, std::align_val_t{Scratch::alignment});
    memory_ = nullptr;
    stride_ = 0;
  }

  Index count_;
  std::unique_ptr<std::atomic<std::uint64_t>[]> used_;
  std::byte* memory_ = nullptr;
  std::size_t stride_ = 0;
};

}  // namespace aulos::inline AULOS_ISA
