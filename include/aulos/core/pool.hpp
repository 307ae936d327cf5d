// The memory of a Context's tensors: one merging arena (two-level segregated fit). Its bookkeeping lies beside the
// memory rather than in it, so that a dry pool (planning) runs the same code and owns no memory at all.
#pragma once

#include <bit>
#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#define AULOS_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define AULOS_ADDRESS_SANITIZER 1
#endif
#endif
#if defined(AULOS_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#endif

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"

namespace aulos::inline AULOS_ISA {

class Context;
class Pool;

// A piece of memory that tensors refer to. A parameter's memory has no pool and is not counted, so that threads share
// a const model without touching a counter.
struct Buffer {
  std::byte* data = nullptr;
  std::size_t bytes = 0;  // a multiple of 64
  Pool* pool = nullptr;
  Index references = 0;
  bool trainable = true;  // a parameter: whether a tape gives it a gradient
  bool ready = true;      // a parameter: whether it has elements yet
  // The arena's own: neighbours in memory, neighbours in the list of free blocks of this size.
  bool free = false;
  Buffer* before = nullptr;
  Buffer* after = nullptr;
  Buffer* previous_free = nullptr;
  Buffer* next_free = nullptr;
};

inline constexpr std::size_t buffer_alignment = 64;

inline constexpr std::size_t round_to_buffer(std::size_t bytes) noexcept {
  return bytes == 0 ? buffer_alignment : (bytes + buffer_alignment - 1) / buffer_alignment * buffer_alignment;
}

inline constexpr std::size_t huge_page = std::size_t{2} << 20;

inline std::align_val_t alignment_of(std::size_t bytes) noexcept {
  return std::align_val_t{bytes >= 2 * huge_page ? huge_page : buffer_alignment};
}

// Memory from the system, in huge pages where it is large, to be given back with operator delete and
// alignment_of(bytes). The system may promise more than it has; what cannot be there beside the caller's `held` bytes
// is a std::bad_alloc here and not a killed process later.
inline std::byte* system_memory(std::size_t bytes, std::size_t held = 0) {
#if defined(__linux__)
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page = sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0 && (held + bytes) / static_cast<std::size_t>(page) >= static_cast<std::size_t>(pages))
    throw std::bad_alloc();
#endif
  auto* data = static_cast<std::byte*>(::operator new(bytes, alignment_of(bytes)));
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (bytes >= 2 * huge_page) madvise(data, bytes / huge_page * huge_page, MADV_HUGEPAGE);
#endif
  return data;
}

// Bytes of a pool. `live` lies in tensors now, `peak` is the most that ever did, `held` is what the system gave; of a
// dry pool, what a pool must hold in one piece to need no more.
struct MemoryUse {
  std::size_t live = 0;
  std::size_t peak = 0;
  std::size_t held = 0;
  bool operator==(const MemoryUse&) const = default;
};

class Pool {
 public:
  enum class Kind { real, dry };

  Pool(Context* context, Kind kind) noexcept : context_(context), kind_(kind) {}
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  Context* context() const noexcept { return context_; }
  bool dry() const noexcept { return kind_ == Kind::dry; }
  const MemoryUse& use() const noexcept { return use_; }
  void reset_peak() noexcept { use_.peak = use_.live; }

  // Memory with one reference; contents undefined (NaN in test builds). Throws std::bad_alloc and changes nothing.
  Buffer* take(std::size_t bytes) {
    if (bytes > max_bytes) throw std::bad_alloc();
    bytes = round_to_buffer(bytes);
    Buffer* block = find(bytes);
    if (block == nullptr) block = grow(bytes > next_chunk() ? bytes : next_chunk());
    unlink(block);
    block = cut(block, bytes);
    block->free = false;
    block->references = 1;
    use_.live += block->bytes;
    if (use_.live > use_.peak) use_.peak = use_.live;
    if (dry()) note_extent(block);
    unpoison(block);
    return block;
  }

  // Called when the last reference is gone.
  [[gnu::noinline]] void give(Buffer* block) noexcept {
    use_.live -= block->bytes;
    poison(block);
    block->free = true;
    if (block->after != nullptr && block->after->free) {
      unlink(block->after);
      merge_with_next(block);
    }
    if (block->before != nullptr && block->before->free) {
      block = block->before;
      unlink(block);
      merge_with_next(block);
    }
    link(block);
    if (context_ == nullptr && use_.live == 0) delete this;
  }

  // Makes the pool hold at least `bytes`, in one piece where nothing lives in it. A dry pool that saw the same takes
  // and gives knows how many: its `held`. Throws std::bad_alloc.
  void reserve(std::size_t bytes) {
    if (dry()) return;
    bytes = round_to_buffer(bytes);
    if (use_.held >= bytes) return;
    if (use_.live == 0) release();
    grow(bytes - use_.held);
  }

  // The Context is gone: the pool goes with its last buffer.
  void orphan() noexcept {
    context_ = nullptr;
    if (use_.live == 0) delete this;
  }

 private:
  static constexpr int rows = 48;  // powers of two of 64 bytes
  static constexpr std::size_t max_bytes = buffer_alignment << (rows - 1);
  static constexpr int columns = 8;  // subdivisions of each
  static constexpr std::size_t first_chunk = 64 * 1024;
  static constexpr std::uintptr_t first_dry_address = std::uintptr_t{1} << 60;

  struct Chunk {
    std::byte* data;
    std::size_t bytes;
    Buffer* first;
  };

  struct Class {
    int row;
    int column;
  };

  ~Pool() {
    for (const Chunk& chunk : chunks_) free_memory(chunk);
  }

  static Class class_of(std::size_t bytes) noexcept {
    const std::size_t units = bytes / buffer_alignment;
    const int row = std::numeric_limits<std::size_t>::digits - 1 - std::countl_zero(units);
    const std::size_t rest = units - (std::size_t{1} << row);
    return {row, row >= 3 ? static_cast<int>(rest >> (row - 3)) : static_cast<int>(rest << (3 - row))};
  }

  // The smallest free block that fits. Ends of chunks are the last resort: what lies before them is used up first, so
  // that a larger chunk gives the same places and a boundless one (a plan's) says how large a chunk must be.
  Buffer* find(std::size_t bytes) const noexcept {
    Buffer* end = nullptr;
    const Class c = class_of(bytes);
    unsigned columns_left = column_bits_[c.row] & ~((1u << c.column) - 1u);
    std::uint64_t rows_left = row_bits_ & ~((std::uint64_t{2} << c.row) - 1u);
    for (int row = c.row;;) {
      for (; columns_left != 0; columns_left &= columns_left - 1) {
        Buffer* best = nullptr;
        for (Buffer* block = lists_[row][std::countr_zero(columns_left)]; block != nullptr; block = block->next_free) {
          if (block->bytes < bytes) continue;
          Buffer*& found = block->after == nullptr ? end : best;
          if (found == nullptr || block->bytes < found->bytes) found = block;
          if (best != nullptr && best->bytes == bytes) return best;
        }
        if (best != nullptr) return best;
      }
      if (rows_left == 0) return end;
      row = std::countr_zero(rows_left);
      columns_left = column_bits_[row];
      rows_left &= rows_left - 1;
    }
  }

  void link(Buffer* block) noexcept {
    const Class c = class_of(block->bytes);
    block->previous_free = nullptr;
    block->next_free = lists_[c.row][c.column];
    if (block->next_free != nullptr) block->next_free->previous_free = block;
    lists_[c.row][c.column] = block;
    column_bits_[c.row] |= 1u << c.column;
    row_bits_ |= std::uint64_t{1} << c.row;
  }

  void unlink(Buffer* block) noexcept {
    if (block->next_free != nullptr) block->next_free->previous_free = block->previous_free;
    if (block->previous_free != nullptr) {
      block->previous_free->next_free = block->next_free;
      return;
    }
    const Class c = class_of(block->bytes);
    lists_[c.row][c.column] = block->next_free;
    if (block->next_free != nullptr) return;
    column_bits_[c.row] &= ~(1u << c.column);
    if (column_bits_[c.row] == 0) row_bits_ &= ~(std::uint64_t{1} << c.row);
  }

  // `bytes` of an unlinked free block, whose rest stays free: the front of a chunk's end, the back of any other block
  // (measured: the rests merge better so). Without a spare descriptor the block stays whole.
  Buffer* cut(Buffer* block, std::size_t bytes) {
    if (block->bytes == bytes) return block;
    Buffer* back = nullptr;
    try {
      back = descriptor();
    } catch (const std::bad_alloc&) {
      link(block);
      throw;
    }
    const bool end = block->after == nullptr;
    const std::size_t front_bytes = end ? bytes : block->bytes - bytes;
    back->data = block->data + front_bytes;
    back->bytes = block->bytes - front_bytes;
    back->pool = this;
    back->free = true;
    back->before = block;
    back->after = block->after;
    if (back->after != nullptr) back->after->before = back;
    block->after = back;
    block->bytes = front_bytes;
    link(end ? back : block);
    return end ? block : back;
  }

  void merge_with_next(Buffer* block) noexcept {
    Buffer* next = block->after;
    block->bytes += next->bytes;
    block->after = next->after;
    if (block->after != nullptr) block->after->before = block;
    next->next_free = spare_;
    spare_ = next;
  }

  // Every chunk but the first few is a quarter of what is held already, so that a pool without a plan stays near its
  // peak and still asks the system only logarithmically often.
  std::size_t next_chunk() const noexcept {
    if (dry()) return max_bytes;
    const std::size_t quarter = round_to_buffer(use_.held / 4);
    return quarter > first_chunk ? quarter : first_chunk;
  }

  Buffer* grow(std::size_t bytes) {
    if (chunks_.size() == chunks_.capacity()) chunks_.reserve(chunks_.size() * 2 + 8);
    Buffer* block = descriptor();
    std::byte* data = nullptr;
    try {
      data = allocate_memory(bytes);
    } catch (...) {
      block->next_free = spare_;
      spare_ = block;
      throw;
    }
    *block = Buffer{};
    block->data = data;
    block->bytes = bytes;
    block->pool = this;
    block->free = true;
    chunks_.push_back({data, bytes, block});
    if (!dry()) use_.held += bytes;
    poison(block);
    link(block);
    return block;
  }

  // Planned chunks follow each other: the furthest end is the size of the piece that would have been enough.
  void note_extent(const Buffer* block) noexcept {
    const std::size_t end = reinterpret_cast<std::uintptr_t>(block->data) - first_dry_address + block->bytes;
    if (end > use_.held) use_.held = end;
  }

  // Hands every chunk back to the system; only when nothing is live.
  void release() noexcept {
    for (const Chunk& chunk : chunks_) {
      unlink(chunk.first);
      chunk.first->next_free = spare_;
      spare_ = chunk.first;
      free_memory(chunk);
    }
    chunks_.clear();
    use_.held = 0;
  }

  Buffer* descriptor() {
    if (spare_ == nullptr) {
      constexpr std::size_t batch = 64;
      descriptors_.push_back(std::make_unique<Buffer[]>(batch));
      for (std::size_t i = 0; i < batch; ++i) {
        descriptors_.back()[i].next_free = spare_;
        spare_ = &descriptors_.back()[i];
      }
    }
    Buffer* taken = spare_;
    spare_ = taken->next_free;
    *taken = Buffer{};
    return taken;
  }

  std::byte* allocate_memory(std::size_t bytes) {
    if (dry()) {
      // Addresses that no processor maps: touching planned memory faults.
      std::byte* data = reinterpret_cast<std::byte*>(next_dry_address_);
      next_dry_address_ += bytes;
      return data;
    }
    return system_memory(bytes, use_.held);
  }

  void free_memory(const Chunk& chunk) const noexcept {
    if (dry()) return;
#if defined(AULOS_ADDRESS_SANITIZER)
    ASAN_UNPOISON_MEMORY_REGION(chunk.data, chunk.bytes);
#endif
    ::operator delete(chunk.data, alignment_of(chunk.bytes));
  }

  void poison([[maybe_unused]] const Buffer* block) const noexcept {
#if defined(AULOS_ADDRESS_SANITIZER)
    if (!dry()) ASAN_POISON_MEMORY_REGION(block->data, block->bytes);
#endif
  }

  void unpoison([[maybe_unused]] const Buffer* block) const noexcept {
#if defined(AULOS_ADDRESS_SANITIZER)
    if (!dry()) ASAN_UNPOISON_MEMORY_REGION(block->data, block->bytes);
#endif
#if AULOS_ASSERT_LEVEL >= 2
    if (!dry()) std::memset(block->data, 0xff, block->bytes);
#endif
  }

  Context* context_;
  Kind kind_;
  MemoryUse use_;
  std::uint64_t row_bits_ = 0;
  unsigned column_bits_[rows] = {};
  Buffer* lists_[rows][columns] = {};
  std::vector<Chunk> chunks_;
  std::vector<std::unique_ptr<Buffer[]>> descriptors_;
  Buffer* spare_ = nullptr;
  std::uintptr_t next_dry_address_ = first_dry_address;
};

// A reference to a buffer. Plain counting: a tensor belongs to the thread of its Context. A parameter's buffer is not
// counted, and a reference may outlive it, as long as nobody looks at it.
class BufferReference {
 public:
  BufferReference() = default;
  // Takes over the caller's reference.
  explicit BufferReference(Buffer* buffer) noexcept
      : buffer_(buffer), counted_(buffer != nullptr && buffer->pool != nullptr) {}
  BufferReference(const BufferReference& other) noexcept : buffer_(other.buffer_), counted_(other.counted_) {
    if (counted_) ++buffer_->references;
  }
  BufferReference(BufferReference&& other) noexcept
      : buffer_(std::exchange(other.buffer_, nullptr)), counted_(std::exchange(other.counted_, false)) {}
  BufferReference& operator=(BufferReference other) noexcept {
    std::swap(buffer_, other.buffer_);
    std::swap(counted_, other.counted_);
    return *this;
  }
  ~BufferReference() {
    if (counted_ && --buffer_->references == 0) buffer_->pool->give(buffer_);
  }

  Buffer* get() const noexcept { return buffer_; }
  Buffer* operator->() const noexcept { return buffer_; }
  explicit operator bool() const noexcept { return buffer_ != nullptr; }

 private:
  Buffer* buffer_ = nullptr;
  bool counted_ = false;
};

}  // namespace aulos::inline AULOS_ISA
