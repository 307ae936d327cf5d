#include "aulos/core/threads.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <limits>
#include <new>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace {

using aulos::FloatMode;
using aulos::FloatModeScope;
using aulos::FunctionRef;
using aulos::Index;
using aulos::Scratch;
using aulos::Threads;
using aulos::ThreadTeam;

// An application's threads: one for each piece, all at once, started from the last piece on.
struct ThreadPerPiece {
  Index promised;
  Index concurrency() const { return promised; }
  void run(Index pieces, FunctionRef<void(Index)> body) const {
    std::vector<std::thread> threads;
    for (Index piece = pieces; piece-- > 0;) threads.emplace_back([body, piece] { body(piece); });
    for (auto& thread : threads) thread.join();
  }
};

std::vector<int> runs_of_pieces(Threads threads, Index pieces) {
  std::vector<std::atomic<int>> runs(static_cast<std::size_t>(pieces));
  threads.run(pieces, [&](Index piece, Scratch&) { ++runs[static_cast<std::size_t>(piece)]; });
  return {runs.begin(), runs.end()};
}

std::vector<int> once(Index pieces) { return std::vector<int>(static_cast<std::size_t>(pieces), 1); }

TEST(ThreadsTest, RunsEachPieceOnce) {
  for (const int count : {1, 2, 3, 7, 16}) {
    ThreadTeam team(count);
    EXPECT_EQ(team.count(), count);
    EXPECT_EQ(team.threads().count(), count);
    for (const std::size_t bytes : {0U, 1000U}) {
      for (const Index pieces : {0, 1, 2, 17, 300}) {
        EXPECT_EQ(runs_of_pieces(team.threads(bytes), pieces), once(pieces));
        EXPECT_EQ(runs_of_pieces(team.serial(bytes), pieces), once(pieces));
      }
    }
  }
}

TEST(ThreadsTest, AllThreadsTakePart) {
  ThreadTeam team(3);
  std::atomic<int> arrived{0};
  team.threads(64).run(3, [&](Index, Scratch&) {
    ++arrived;
    while (arrived < 3) std::this_thread::yield();
  });
  EXPECT_EQ(arrived, 3);
}

TEST(ThreadsTest, SerialViewsRunInOrderOnTheCaller) {
  ThreadTeam team(4);
  alignas(64) std::byte memory[128];
  for (const Threads threads : {team.serial(), team.serial(100), Threads::serial(), Threads(memory, sizeof memory)}) {
    EXPECT_EQ(threads.count(), 1);
    std::vector<Index> order;
    const auto self = std::this_thread::get_id();
    threads.run(5, [&](Index piece, Scratch&) {
      EXPECT_EQ(std::this_thread::get_id(), self);
      order.push_back(piece);
    });
    EXPECT_EQ(order, (std::vector<Index>{0, 1, 2, 3, 4}));
  }
  Threads(memory, sizeof memory).run(2, [&](Index, Scratch& scratch) {
    EXPECT_EQ(reinterpret_cast<std::byte*>(scratch.take<float>(4)), memory) << "each piece has all of it";
  });
}

TEST(ThreadsTest, RejectsFewerThreadsThanOne) {
  EXPECT_THROW(ThreadTeam(0), aulos::ConfigError);
  EXPECT_THROW(ThreadTeam(-2), aulos::ConfigError);
  ThreadPerPiece none{0};
  EXPECT_THROW(ThreadTeam{none}, aulos::ConfigError);
}

// Each piece fills its scratch, waits, and finds it as it was.
void expect_private_scratch(ThreadTeam& team, Index pieces) {
  std::atomic<Index> inside{0}, most{0}, wrong{0};
  constexpr Index n = 300;
  team.threads(2 * aulos::scratch_size<Index>(n)).run(pieces, [&](Index piece, Scratch& scratch) {
    const Index now = ++inside;
    for (Index seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
    }
    auto* a = scratch.take<Index>(n);
    auto* b = scratch.take<Index>(n);
    std::fill(a, a + n, piece);
    std::fill(b, b + n, -piece);
    std::this_thread::yield();
    if (std::count(a, a + n, piece) != n || std::count(b, b + n, -piece) != n) ++wrong;
    if (reinterpret_cast<std::uintptr_t>(a) % 64 != 0) ++wrong;
    --inside;
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(most, team.count());
}

TEST(ThreadsTest, ScratchBelongsToThePiece) {
  for (const int count : {1, 2, 5}) {
    ThreadTeam team(count);
    for (int repeat = 0; repeat < 20; ++repeat) expect_private_scratch(team, 40);
  }
}

TEST(ThreadsTest, ScratchBelongsToThePieceWithAnExecutorThatRunsMoreThanItPromised) {
  for (const Index promised : {1, 2, 70}) {
    ThreadPerPiece executor{promised};
    ThreadTeam team(executor);
    EXPECT_EQ(team.count(), promised);
    for (int repeat = 0; repeat < 5; ++repeat) expect_private_scratch(team, 12);
  }
}

TEST(ThreadsTest, ScratchGrowsOnlyWhenMoreIsAskedFor) {
  ThreadTeam team(2);
  EXPECT_EQ(team.held_bytes(), 0U);
  const Threads small = team.threads(100);
  const auto held = team.held_bytes();
  EXPECT_GE(held, 200U);
  team.threads(50);
  team.serial(100);
  EXPECT_EQ(team.held_bytes(), held);
  team.threads(100000);
  EXPECT_GE(team.held_bytes(), 200000U);
  // A view from before stays good.
  small.run(8, [](Index, Scratch& scratch) { std::fill_n(scratch.take<std::byte>(64), 64, std::byte{1}); });
  EXPECT_THROW(team.threads(std::numeric_limits<std::size_t>::max() / 2), std::bad_alloc);
  expect_private_scratch(team, 8);
}

// Pieces that run pieces of the same team, `levels` deep; each level's scratch survives what runs inside.
Index nested(Threads threads, int levels) {
  std::atomic<Index> leaves{0};
  threads.run(3, [&](Index piece, Scratch& scratch) {
    auto* mine = scratch.take<Index>(8);
    std::fill_n(mine, 8, piece);
    if (levels > 1) {
      EXPECT_EQ(threads.count(), 1);
      leaves += nested(threads, levels - 1);
    } else {
      ++leaves;
    }
    EXPECT_EQ(std::count(mine, mine + 8, piece), 8);
  });
  return leaves;
}

TEST(ThreadsTest, ANestedRunIsSerialWithScratchOfItsOwn) {
  for (const int count : {1, 2, 4}) {
    ThreadTeam team(count);
    for (int repeat = 0; repeat < 50; ++repeat) {
      EXPECT_EQ(nested(team.threads(64), 2), 9);
      EXPECT_EQ(nested(team.threads(64), 3), 27);
      EXPECT_EQ(nested(team.serial(64), 3), 27);
    }
  }
  ThreadPerPiece executor{2};
  ThreadTeam team(executor);
  EXPECT_EQ(nested(team.threads(64), 3), 27);
}

TEST(ThreadsTest, ANestedRunStaysOnItsThreadWhateverTheTeam) {
  ThreadTeam team(3), other(3);
  team.threads().run(6, [&](Index, Scratch&) {
    const auto self = std::this_thread::get_id();
    for (ThreadTeam* inner : {&team, &other}) {
      inner->threads(1000).run(4, [&](Index, Scratch& scratch) {
        EXPECT_EQ(std::this_thread::get_id(), self);
        scratch.take<double>(100)[99] = 1;
      });
    }
  });
  EXPECT_EQ(team.held_bytes() + other.held_bytes(), 0U);
}

// Which piece's text arrives, and as what; every started piece has ended by then.
template <class Thrown>
std::string text_of_failure(Threads threads, Index pieces, Index first, Index last) {
  std::atomic<int> inside{0};
  try {
    threads.run(pieces, [&](Index piece, Scratch&) {
      ++inside;
      if (piece % 3 == 0) std::this_thread::yield();
      if (piece >= first && piece <= last) {
        --inside;
        throw Thrown("piece " + std::to_string(piece));
      }
      --inside;
    });
  } catch (const Thrown& error) {
    EXPECT_EQ(inside, 0);
    EXPECT_STREQ(typeid(error).name(), typeid(Thrown).name());
    return error.what();
  }
  return "nothing";
}

TEST(ThreadsTest, TheFirstFailureInPieceOrderIsRethrown) {
  ThreadPerPiece executor{3};
  ThreadTeam one(1), two(2), four(4), lent(executor);
  for (ThreadTeam* team : {&one, &two, &four, &lent}) {
    const int repeats = team == &lent ? 20 : 1000;
    for (int repeat = 0; repeat < repeats; ++repeat) {
      for (const std::size_t bytes : {0U, 64U}) {
        const Threads threads = team->threads(bytes);
        ASSERT_EQ(text_of_failure<aulos::ShapeError>(threads, 7, 0, 0), "piece 0");
        ASSERT_EQ(text_of_failure<aulos::ShapeError>(threads, 7, 6, 6), "piece 6");
        ASSERT_EQ(text_of_failure<aulos::ShapeError>(threads, 7, 0, 6), "piece 0");
        ASSERT_EQ(text_of_failure<std::out_of_range>(threads, 7, 2, 6), "piece 2");
        ASSERT_EQ(text_of_failure<std::out_of_range>(threads, 7, 9, 9), "nothing");
        ASSERT_EQ(runs_of_pieces(threads, 7), once(7)) << "usable afterwards";
      }
    }
  }
}

TEST(ThreadsTest, BadAllocOfAPieceArrivesAsBadAlloc) {
  ThreadTeam team(3);
  EXPECT_THROW(team.threads(64).run(9, [](Index, Scratch&) { throw std::bad_alloc(); }), std::bad_alloc);
  EXPECT_THROW(team.threads(64).run(9,
                                    [](Index piece, Scratch&) {
                                      if (piece == 8) throw 5;
                                    }),
               int);
  EXPECT_EQ(runs_of_pieces(team.threads(64), 9), once(9));
}

TEST(ThreadsTest, AFailureOfANestedRunPassesThrough) {
  ThreadTeam team(2);
  const auto run = [&] {
    team.threads(64).run(4, [&](Index outer, Scratch&) {
      team.threads(64).run(4, [&](Index inner, Scratch&) {
        if (outer >= 2 && inner >= 1) throw aulos::Error(std::to_string(outer) + std::to_string(inner));
      });
    });
  };
  try {
    run();
    FAIL();
  } catch (const aulos::Error& error) {
    EXPECT_STREQ(error.what(), "21");
  }
  EXPECT_EQ(nested(team.threads(64), 2), 9) << "no thread thinks that it is still inside a piece";
}

TEST(ThreadsTest, ASecondThreadGetsAnErrorAtOnce) {
  ThreadTeam team(2);
  const Threads view = team.threads(64), serial = team.serial(64);
  std::atomic<bool> inside{false}, tried{false};
  std::thread second([&] {
    while (!inside) std::this_thread::yield();
    EXPECT_THROW(view.run(2, [](Index, Scratch&) {}), aulos::Error);
    EXPECT_THROW(serial.run(2, [](Index, Scratch&) {}), aulos::Error);
    EXPECT_THROW(team.threads(1 << 20), aulos::Error);
    tried = true;
  });
  const auto wait = [&](Index, Scratch&) {
    inside = true;
    while (!tried) std::this_thread::yield();
  };
  view.run(2, wait);
  second.join();
  inside = tried = false;
  std::thread third([&] {
    while (!inside) std::this_thread::yield();
    EXPECT_THROW(view.run(2, [](Index, Scratch&) {}), aulos::Error);
    tried = true;
  });
  serial.run(1, wait);
  third.join();
  EXPECT_EQ(runs_of_pieces(view, 9), once(9));
}

TEST(ThreadsTest, ThreadsMayUseATeamOneAfterTheOther) {
  ThreadTeam team(3);
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::thread([&] { expect_private_scratch(team, 6); }).join();
  }
}

TEST(ThreadsTest, TeamsOfManyThreadsAreIndependent) {
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([] {
      ThreadTeam team(2);
      for (int repeat = 0; repeat < 50; ++repeat) expect_private_scratch(team, 10);
    });
  }
  for (auto& caller : callers) caller.join();
}

TEST(ThreadsTest, TeamsMayShareAPool) {
  aulos::ThreadPool pool(3);
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&pool] {
      ThreadTeam team(pool);
      EXPECT_EQ(team.count(), 3);
      for (int repeat = 0; repeat < 50; ++repeat) expect_private_scratch(team, 10);
    });
  }
  for (auto& caller : callers) caller.join();
}

TEST(ThreadsTest, PiecesHaveTheFloatModeOfTheCaller) {
#if defined(__SSE__) || defined(__aarch64__)
  ThreadPerPiece executor{4};
  ThreadTeam own(4), lent(executor);
  for (ThreadTeam* team : {&own, &lent}) {
    const FloatMode usual = FloatMode::current();
    for (const FloatMode mode : {usual.flushing_denormals(), usual}) {
      const FloatModeScope scope(mode);
      std::atomic<int> arrived{0}, other{0};
      team->threads().run(4, [&](Index, Scratch&) {
        ++arrived;
        while (arrived < 4) std::this_thread::yield();  // all four threads
        volatile float tiny = std::numeric_limits<float>::denorm_min();
        const bool flushed = tiny * 2 == 0;
        if (FloatMode::current() != mode || flushed != mode.flushes_denormals()) ++other;
      });
      EXPECT_EQ(other, 0);
      EXPECT_EQ(FloatMode::current(), mode);
    }
    try {
      const FloatModeScope scope(usual.flushing_denormals());
      team->threads().run(4, [](Index, Scratch&) { throw 1; });
    } catch (int) {
    }
    EXPECT_EQ(FloatMode::current(), usual);
  }
#endif
}

}  // namespace
