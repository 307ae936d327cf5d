// Closures in blocks of memory that are kept and used again: recording allocates only the first time.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA {

// A stack of closures `void(Subject&)`.
template <class Subject>
class ClosureArena {
 public:
  ClosureArena() = default;
  ClosureArena(const ClosureArena&) = delete;
  ClosureArena& operator=(const ClosureArena&) = delete;
  ~ClosureArena() { clear(); }

  template <class F>
  void push(F&& f) {
    using Closure = std::remove_cvref_t<F>;
    static_assert(sizeof(Closure) <= block_bytes && alignof(Closure) <= alignof(std::max_align_t));
    if (entries_.size() == entries_.capacity()) entries_.reserve(entries_.size() * 2 + 64);
    void* place = take(sizeof(Closure));
    ::new (place) Closure(std::forward<F>(f));
    entries_.push_back({place, [](void* object, Subject& subject) { (*static_cast<Closure*>(object))(subject); },
                        [](void* object) noexcept { static_cast<Closure*>(object)->~Closure(); }});
  }

  std::size_t size() const noexcept { return entries_.size(); }

  // Runs the last closure first and destroys each after its run, so that what it holds is free for the next.
  void run_reversed(Subject& subject) {
    while (!entries_.empty()) {
      entries_.back().run(entries_.back().object, subject);
      entries_.back().destroy(entries_.back().object);
      entries_.pop_back();
    }
    rewind();
  }

  void clear() noexcept {
    for (; !entries_.empty(); entries_.pop_back()) entries_.back().destroy(entries_.back().object);
    rewind();
  }

 private:
  static constexpr std::size_t block_bytes = 64 * 1024;

  struct Entry {
    void* object;
    void (*run)(void*, Subject&);
    void (*destroy)(void*) noexcept;
  };

  void* take(std::size_t bytes) {
    constexpr std::size_t alignment = alignof(std::max_align_t);
    bytes = (bytes + alignment - 1) / alignment * alignment;
    if (blocks_.empty() || used_ + bytes > block_bytes) {
      const std::size_t next = blocks_.empty() ? 0 : block_ + 1;
      if (next == blocks_.size()) blocks_.push_back(std::make_unique<std::byte[]>(block_bytes));
      block_ = next;
      used_ = 0;
    }
    void* place = blocks_[block_].get() + used_;
    used_ += bytes;
    return place;
  }

  void rewind() noexcept {
    block_ = 0;
    used_ = 0;
  }

  std::vector<Entry> entries_;
  std::vector<std::unique_ptr<std::byte[]>> blocks_;
  std::size_t block_ = 0;
  std::size_t used_ = 0;
};

}  // namespace aulos::inline AULOS_ISA
