#include "aulos/core/function_ref.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <type_traits>

namespace {

using aulos::FunctionRef;

int apply(FunctionRef<int(int)> f, int x) { return f(x); }

TEST(FunctionRefTest, CallsALambdaGivenInPlace) {
  int offset = 39;
  ++offset;
  EXPECT_EQ(apply([offset](int x) { return x + offset; }, 2), 42);
}

TEST(FunctionRefTest, RefersAndDoesNotCopy) {
  struct Counter {
    int calls = 0;
    int operator()(int x) { return x + ++calls; }
    Counter() = default;
    Counter(const Counter&) = delete;
    Counter& operator=(const Counter&) = delete;
  } counter;
  EXPECT_EQ(apply(counter, 10), 11);
  EXPECT_EQ(apply(counter, 10), 12);
  EXPECT_EQ(counter.calls, 2);
}

TEST(FunctionRefTest, CallsConstObjectsThroughTheirConstOperator) {
  struct Both {
    int operator()(int) { return 1; }
    int operator()(int) const { return 2; }
  };
  const Both constant;
  Both variable;
  EXPECT_EQ(apply(constant, 0), 2);
  EXPECT_EQ(apply(variable, 0), 1);
}

TEST(FunctionRefTest, ACopyRefersToTheSameObject) {
  int calls = 0;
  const auto count = [&calls](int) { return ++calls; };
  const FunctionRef<int(int)> first = count;
  FunctionRef<int(int)> second = first;
  second = first;
  second(0);
  first(0);
  EXPECT_EQ(calls, 2);
}

TEST(FunctionRefTest, ForwardsReferencesAndMoveOnlyArguments) {
  const auto swap_in = [](int& x, std::unique_ptr<int> p) { x = *p; };
  const FunctionRef<void(int&, std::unique_ptr<int>)> f = swap_in;
  int x = 0;
  f(x, std::make_unique<int>(7));
  EXPECT_EQ(x, 7);
}

TEST(FunctionRefTest, ConvertsResultsAndDropsThemForVoid) {
  const auto seven = [] { return short{7}; };
  EXPECT_EQ(FunctionRef<long()>(seven)(), 7L);
  const FunctionRef<void()> dropped = seven;
  dropped();
}

TEST(FunctionRefTest, LetsExceptionsThrough) {
  EXPECT_THROW(apply([](int) -> int { throw std::out_of_range("x"); }, 0), std::out_of_range);
}

TEST(FunctionRefTest, AcceptsCallablesOfThatSignatureOnly) {
  struct None {};
  static_assert(!std::is_constructible_v<FunctionRef<int(int)>, None>);
  static_assert(!std::is_constructible_v<FunctionRef<int(int)>, int (*)(None)>);
  static_assert(std::is_trivially_copyable_v<FunctionRef<int(int)>>);
  static_assert(sizeof(FunctionRef<int(int)>) == 2 * sizeof(void*));
}

}  // namespace
