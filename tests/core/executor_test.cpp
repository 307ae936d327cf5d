#include "aulos/core/executor.hpp"

#include <gtest/gtest.h>

#include <type_traits>
#include <vector>

namespace {

using aulos::ExecutorRef;
using aulos::FunctionRef;
using aulos::Index;

struct Backwards {
  int runs = 0;
  int concurrency() const { return 3; }  // any integer does
  void run(Index pieces, FunctionRef<void(Index)> body) {
    ++runs;
    for (Index piece = pieces; piece-- > 0;) body(piece);
  }
};
struct WithoutConcurrency {
  void run(Index, FunctionRef<void(Index)>) {}
};
struct WithoutRun {
  Index concurrency() { return 1; }
};

TEST(ExecutorTest, ConceptAsksForConcurrencyAndRun) {
  static_assert(aulos::Executor<Backwards>);
  static_assert(!aulos::Executor<WithoutConcurrency>);
  static_assert(!aulos::Executor<WithoutRun>);
  static_assert(!aulos::Executor<int>);
}

TEST(ExecutorTest, RefRunsOnTheLentExecutor) {
  Backwards backwards;
  const ExecutorRef executor(backwards);
  const ExecutorRef copy = executor;
  std::vector<Index> order;
  executor.run(3, [&](Index piece) { order.push_back(piece); });
  copy.run(0, [&](Index piece) { order.push_back(piece); });
  EXPECT_EQ(order, (std::vector<Index>{2, 1, 0}));
  EXPECT_EQ(backwards.runs, 2);
}

TEST(ExecutorTest, RefIsTwoPointers) {
  static_assert(sizeof(ExecutorRef) == 2 * sizeof(void*));
  static_assert(std::is_trivially_copyable_v<ExecutorRef>);
  static_assert(!std::is_convertible_v<Backwards&, ExecutorRef>, "lending is said, not implied");
}

}  // namespace
