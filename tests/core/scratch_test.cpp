#include "aulos/core/scratch.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <set>
#include <thread>
#include <vector>

#include "aulos/core/error.hpp"
#include "tests/support/sanitized.hpp"

namespace {

using aulos::Index;
using aulos::Scratch;
using aulos::scratch_size;
using aulos::ScratchSlots;

TEST(ScratchTest, SizesRoundUpToALine) {
  EXPECT_EQ(scratch_size<float>(0), 0U);
  EXPECT_EQ(scratch_size<float>(1), 64U);
  EXPECT_EQ(scratch_size<float>(16), 64U);
  EXPECT_EQ(scratch_size<double>(9), 128U);
}

TEST(ScratchTest, ArraysAreAlignedAndApart) {
  ScratchSlots slots(1);
  slots.reserve(scratch_size<float>(5) + scratch_size<double>(9));
  Scratch scratch(slots.memory(0), scratch_size<float>(5) + scratch_size<double>(9));
  auto* a = scratch.take<float>(5);
  auto* b = scratch.take<double>(9);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a) % 64, 0U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b) % 64, 0U);
  EXPECT_EQ(reinterpret_cast<std::byte*>(b) - reinterpret_cast<std::byte*>(a), 64);
#if AULOS_ASSERT_LEVEL >= 2 && !defined(__FAST_MATH__)
  EXPECT_TRUE(std::isnan(a[4]) && std::isnan(b[8])) << "stale memory must show";
#endif
}

#if AULOS_ASSERT_LEVEL >= 1
TEST(ScratchTest, TakingMoreThanWasAskedForIsReported) {
  alignas(64) std::byte memory[128];
  Scratch scratch(memory, sizeof memory);
  scratch.take<float>(16);
  EXPECT_NO_THROW(scratch.take<float>(0));
  EXPECT_THROW(scratch.take<float>(17), aulos::Error);
  EXPECT_THROW(scratch.take<float>(-1), aulos::Error);
  EXPECT_NO_THROW(scratch.take<double>(8));
}
#endif

TEST(ScratchSlotsTest, AllocatesOnlyToGrow) {
  ScratchSlots slots(3);
  EXPECT_EQ(slots.held_bytes(), 0U);
  slots.reserve(1000);
  const auto* memory = slots.memory(0);
  const auto held = slots.held_bytes();
  EXPECT_GE(held, 3000U);
  EXPECT_LE(held, 3 * 1152U);
  slots.reserve(999);
  slots.reserve(0);
  EXPECT_EQ(slots.memory(0), memory);
  slots.reserve(100000);
  EXPECT_GE(slots.held_bytes(), 300000U);
  for (Index slot = 0; slot < 3; ++slot) std::memset(slots.memory(slot), int(slot), 100000);
  for (Index slot = 0; slot < 3; ++slot) EXPECT_EQ(slots.memory(slot)[99999], std::byte(slot));
}

TEST(ScratchSlotsTest, MemoryThatCannotBeHadIsBadAllocAndTheSlotsStayUsable) {
  ScratchSlots slots(3);
  slots.reserve(64);
  const std::size_t most = std::numeric_limits<std::size_t>::max();
  for (const std::size_t bytes : {most, most / 2, most / 3 + 1, most - 127}) {
    EXPECT_THROW(slots.reserve(bytes), std::bad_alloc) << bytes;
  }
  if (!AULOS_TEST_SANITIZED) {
    EXPECT_THROW(slots.reserve(std::size_t{1} << 60), std::bad_alloc) << "refused by the system";
  }
  slots.reserve(64);
  std::memset(slots.memory(2), 1, 64);
}

TEST(ScratchSlotsTest, EverySlotIsGivenOnce) {
  for (const Index count : {1, 2, 63, 64, 65, 130}) {
    ScratchSlots slots(count);
    std::set<Index> seen;
    for (Index i = 0; i < count; ++i) seen.insert(slots.acquire());
    EXPECT_EQ(static_cast<Index>(seen.size()), count);
    EXPECT_EQ(*seen.begin(), 0);
    EXPECT_EQ(*seen.rbegin(), count - 1);
    slots.release(count / 2);
    EXPECT_EQ(slots.acquire(), count / 2) << "the only free one";
    for (const Index slot : seen) slots.release(slot);
  }
}

TEST(ScratchSlotsTest, MoreThreadsThanSlotsWaitForOne) {
  ScratchSlots slots(2);
  slots.reserve(sizeof(int));
  std::atomic<int> inside{0}, most{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        const Index slot = slots.acquire();
        const int now = ++inside;
        for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
        }
        new (slots.memory(slot)) int(i);  // a race, were the slot given twice
        --inside;
        slots.release(slot);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_LE(most, 2);
}

}  // namespace
