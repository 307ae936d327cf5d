#include "aulos/autograd/closure_arena.hpp"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <vector>

namespace {

using aulos::ClosureArena;

using Log = std::vector<int>;

TEST(ClosureArena, RunsTheLastClosureFirst) {
  ClosureArena<Log> arena;
  for (int i = 0; i < 5; ++i) arena.push([i](Log& log) { log.push_back(i); });
  EXPECT_EQ(arena.size(), 5u);
  Log log;
  arena.run_reversed(log);
  EXPECT_EQ(log, (Log{4, 3, 2, 1, 0}));
  EXPECT_EQ(arena.size(), 0u);
}

TEST(ClosureArena, FillsManyBlocksWithClosuresOfAnySize) {
  ClosureArena<Log> arena;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 1000; ++i) {
      std::array<char, 300> ballast{};
      ballast[0] = static_cast<char>(i % 100);
      if (i % 3 == 0)
        arena.push([i, ballast](Log& log) { log.push_back(i + ballast[0] - i % 100); });
      else
        arena.push([i](Log& log) { log.push_back(i); });
    }
    Log log;
    arena.run_reversed(log);
    ASSERT_EQ(log.size(), 1000u);
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(log[static_cast<std::size_t>(i)], 999 - i);
  }
}

TEST(ClosureArena, KeepsWhatAClosureHoldsAligned) {
  ClosureArena<Log> arena;
  for (char c = 0; c < 3; ++c) {
    arena.push([c](Log& log) { log.push_back(c); });
    const long double value = 1.5L;
    arena.push([value](Log& log) {
      log.push_back(static_cast<int>(reinterpret_cast<std::uintptr_t>(&value) % alignof(long double)));
    });
  }
  Log log;
  arena.run_reversed(log);
  EXPECT_EQ(log, (Log{0, 2, 0, 1, 0, 0}));
}

TEST(ClosureArena, DestroysEachClosureRightAfterItsRun) {
  ClosureArena<Log> arena;
  auto first = std::make_shared<int>(1), second = std::make_shared<int>(2);
  arena.push([first](Log& log) { log.push_back(static_cast<int>(first.use_count())); });
  const std::weak_ptr<int> watch = second;
  arena.push([first](Log&) {});
  arena.push([second = std::move(second)](Log& log) { log.push_back(*second); });
  EXPECT_EQ(first.use_count(), 3);
  Log log;
  arena.run_reversed(log);
  EXPECT_TRUE(watch.expired());
  EXPECT_EQ(log, (Log{2, 2}));  // the second copy of `first` was gone when the first closure ran
  EXPECT_EQ(first.use_count(), 1);
}

TEST(ClosureArena, ClearAndDestructionDestroyWithoutRunning) {
  const auto held = std::make_shared<int>(1);
  {
    ClosureArena<Log> arena;
    arena.push([held](Log&) { ADD_FAILURE(); });
    arena.clear();
    EXPECT_EQ(held.use_count(), 1);
    EXPECT_EQ(arena.size(), 0u);
    arena.push([held](Log&) { ADD_FAILURE(); });
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1);
}

TEST(ClosureArena, AFailureLeavesTheRestToBeCleared) {
  ClosureArena<Log> arena;
  const auto held = std::make_shared<int>(1);
  arena.push([held](Log& log) { log.push_back(1); });
  arena.push([held](Log&) { throw std::runtime_error("no"); });
  arena.push([held](Log& log) { log.push_back(3); });
  Log log;
  EXPECT_THROW(arena.run_reversed(log), std::runtime_error);
  EXPECT_EQ(log, (Log{3}));
  arena.clear();
  EXPECT_EQ(held.use_count(), 1);
  arena.push([](Log& l) { l.push_back(7); });
  arena.run_reversed(log);
  EXPECT_EQ(log, (Log{3, 7}));
}

}  // namespace
