#include "aulos/core/parameter.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "aulos/ops/layout.hpp"

namespace {

using aulos::Context;
using aulos::Index;
using aulos::Parameter;
using aulos::Shape;
using aulos::Tensor;

static_assert(std::regular<Parameter<float, 2>>);
static_assert(std::is_nothrow_move_constructible_v<Parameter<float, 2>> &&
              std::is_nothrow_move_assignable_v<Parameter<float, 2>>);

Parameter<float, 1> parameter(std::initializer_list<float> values) {
  Parameter<float, 1> p(Shape<1>{static_cast<Index>(values.size())});
  std::copy(values.begin(), values.end(), p.data());
  return p;
}

TEST(Parameter, ADefaultOneIsAbsent) {
  Parameter<float, 2> p;
  EXPECT_TRUE(p.empty());
  EXPECT_FALSE(p.ready());
  EXPECT_EQ(p.count(), 0);
  EXPECT_EQ(p.data(), nullptr);
  EXPECT_EQ(std::as_const(p).data(), nullptr);
  EXPECT_FALSE(p.trainable());
  p.set_trainable(true);
  EXPECT_FALSE(p.trainable());
  EXPECT_TRUE(p.tensor().empty());
  EXPECT_EQ(p, (Parameter<float, 2>()));
}

TEST(Parameter, HasMemoryFromItsFirstWriteOn) {
  Parameter<float, 2> p(Shape<2>{1 << 30, 1 << 20});  // four petabytes, never written
  EXPECT_FALSE(p.empty());
  EXPECT_FALSE(p.ready());
  EXPECT_EQ(p.count(), Index{1} << 50);
  EXPECT_EQ(std::as_const(p).data(), nullptr);
  const Parameter<float, 2> copy = p;  // nor copied
  EXPECT_FALSE(copy.ready());
  EXPECT_EQ(copy, p);
  EXPECT_THROW(p.data(), std::bad_alloc);
  EXPECT_FALSE(p.ready());
  Parameter<double, 1> q(Shape<1>{3});
  ASSERT_NE(q.data(), nullptr);
  EXPECT_TRUE(q.ready());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(q.data()) % 64, 0u);
  EXPECT_EQ(std::vector<double>(q.data(), q.data() + 3), (std::vector<double>{0, 0, 0}));
  EXPECT_THROW((Parameter<float, 1>(Shape<1>{-1})), aulos::ShapeError);
  EXPECT_THROW((Parameter<float, 2>(Shape<2>{Index{1} << 40, Index{1} << 40})), aulos::ShapeError);
}

TEST(Parameter, ACopyEqualsItsOriginalAndOwnsItsElements) {
  Parameter<float, 1> p = parameter({1, 2, 3});
  p.set_trainable(false);
  Parameter<float, 1> q = p;
  EXPECT_EQ(q, p);
  EXPECT_FALSE(q.trainable());
  EXPECT_NE(std::as_const(q).data(), std::as_const(p).data());
  q.data()[1] = 5;
  EXPECT_NE(q, p);
  EXPECT_EQ(p.data()[1], 2);
  p = q;
  EXPECT_EQ(p, q);
  p = *&p;
  EXPECT_EQ(p, q);
  const Parameter<float, 1> unwritten(Shape<1>{3});
  EXPECT_NE(unwritten, p);
  p = unwritten;
  EXPECT_EQ(p, unwritten);
  EXPECT_NE(parameter({1}), parameter({1, 1}));
  EXPECT_NE(parameter({0.0f}), parameter({-0.0f}));  // bits decide
}

TEST(Parameter, AMovedFromOneIsAbsent) {
  Parameter<float, 1> p = parameter({1, 2});
  const float* data = std::as_const(p).data();
  Parameter<float, 1> q = std::move(p);
  EXPECT_TRUE(p.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(std::as_const(q).data(), data);
  p = std::move(q);
  EXPECT_TRUE(q.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(std::as_const(p).data(), data);
}

TEST(Parameter, IsATensorThatCountsNothing) {
  const Parameter<float, 1> p = parameter({1, 2, 3, 4});
  const Tensor<float, 1> x = p;
  EXPECT_EQ(x.data(), p.data());
  EXPECT_EQ(x.any().context(), nullptr);
  EXPECT_FALSE(x.any().sole());  // nobody may write into it
  const Tensor<float, 1> tail = x.slice(0, 2, 4);
  EXPECT_EQ(tail(0), 3);
  EXPECT_EQ(x.any().buffer()->references, 0);
  // So that many threads read it at once.
  std::array<std::thread, 4> threads;
  std::array<float, 4> sums{};
  for (std::size_t t = 0; t < threads.size(); ++t) {
    threads[t] = std::thread([&p, &sum = sums[t]] {
      for (int round = 0; round < 1000; ++round) {
        const Tensor<float, 1> own = p;
        const Tensor<float, 1> copy = own.slice(0, 1, 3);
        sum += copy(0) + copy(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sums, (std::array<float, 4>{5000, 5000, 5000, 5000}));
}

TEST(Parameter, JoinsAContextWhereAllArgumentsAreParameters) {
  const Parameter<float, 1> p = parameter({1, 2, 3, 4});
  Context context({.threads = 1});
  const auto x = context.zeros<double>(Shape<3>{1, 2, 3});
  for (const Tensor<float, 1>& of : {p.tensor(context), p.tensor(x)}) {
    EXPECT_EQ(of.data(), p.data());  // no copy
    EXPECT_EQ(of.any().context(), &context);
    EXPECT_EQ(of.reshape(Shape<2>{2, 2}).select(0, 1).any().context(), &context);  // views keep it
    EXPECT_FALSE(of.any().sole());
    EXPECT_EQ(of.any().buffer()->references, 0);
    EXPECT_EQ(concat(std::array{of, p.tensor()}, 0)(7), 4);
  }
  EXPECT_EQ(p.tensor().any().context(), nullptr);            // others see nothing of it
  EXPECT_EQ(p.tensor(p.tensor()).any().context(), nullptr);  // a parameter has none to share
  EXPECT_TRUE((Parameter<float, 1>().tensor(context).empty()));
  EXPECT_EQ(context.memory().live, 64u);  // x
}

TEST(Parameter, UsedBeforeItHasValuesIsAnErrorThatNamesIt) {
  Context context({.threads = 1});
  const Parameter<float, 1> p(Shape<1>{3});
  const auto x = context.full<float>(Shape<1>{3}, 1);
  const auto expect = [](const char* text, auto&& f) {
    try {
      f();
      ADD_FAILURE() << text;
    } catch (const aulos::Error& error) {
      EXPECT_STREQ(error.what(), text);
    }
  };
  expect("concat: x [3] has no values yet: load or initialise the model first", [&] {
    concat(std::array{x, p.tensor()}, 0);
  });
  expect("a parameter [3] has no values yet: load or initialise the model first", [&] { p.tensor().data(); });
  Context dry(Context::Dry{});
  const auto planned = dry.empty<float>(Shape<1>{3});
  EXPECT_EQ(concat(std::array{planned, p.tensor()}, 0).extent(0), 6);  // a plan needs no values
}

}  // namespace
