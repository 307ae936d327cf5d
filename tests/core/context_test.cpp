#include "aulos/core/context.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "aulos/ops/layout.hpp"
#include "tests/support/child.hpp"
#include "tests/support/sanitized.hpp"

namespace {

using aulos::Context;
using aulos::Cost;
using aulos::FunctionRef;
using aulos::Index;
using aulos::Random;
using aulos::Scope;
using aulos::Scratch;
using aulos::Shape;
using aulos::ShapeError;
using aulos::Tensor;
using aulos::Threads;

static_assert(!std::is_copy_constructible_v<Context> && !std::is_move_constructible_v<Context>);

constexpr Cost small_cost{.flops = 10, .bytes = 10};
constexpr Cost large_cost{.flops = 1e9, .bytes = 1e6, .scratch = 256};

template <class T, int Rank>
std::vector<T> values(const Tensor<T, Rank>& x) {
  return {x.data(), x.data() + x.count()};
}

template <class F>
void expect_error(const std::string& text, F&& f) {
  try {
    f();
    ADD_FAILURE() << "no error, expected: " << text;
  } catch (const aulos::Error& error) {
    EXPECT_EQ(error.what(), text);
  }
}

// ---- tensors

TEST(Context, MakesTensors) {
  Context context({.threads = 1});
  EXPECT_EQ(values(context.full(Shape<2>{1, 3}, 2.5)), (std::vector<double>{2.5, 2.5, 2.5}));
  EXPECT_EQ(values(context.zeros<std::int32_t>(Shape<1>{2})), (std::vector<std::int32_t>{0, 0}));
  const std::uint8_t bytes[] = {1, 2, 3};
  EXPECT_EQ(values(context.from(Shape<1>{3}, bytes)), (std::vector<std::uint8_t>{1, 2, 3}));
  const auto none = context.from<float, 2>(Shape<2>{0, 3}, nullptr);
  EXPECT_FALSE(none.empty());
  EXPECT_EQ(none.count(), 0);
  const auto fresh = context.empty<float>(Shape<1>{5});
  EXPECT_NE(fresh(0), fresh(0));  // NaN in test builds
}

TEST(Context, DrawsWhatItsGeneratorDraws) {
  Context context({.threads = 2, .seed = 42});
  Context twin({.threads = 1, .seed = 42});
  Context other({.threads = 1, .seed = 43});
  const auto x = context.normal<float>(Shape<2>{7, 5});
  const auto u = context.uniform<double>(Shape<1>{6});
  EXPECT_EQ(values(x), values(twin.normal<float>(Shape<1>{35})));
  EXPECT_EQ(values(u), values(twin.uniform<double>(Shape<1>{6})));
  EXPECT_NE(values(x), values(other.normal<float>(Shape<1>{35})));
  Random random(42);
  std::vector<float> expected(35);
  random.normal(expected.data(), 35);
  EXPECT_EQ(values(x), expected);
  for (const double each : values(u)) EXPECT_TRUE(each >= 0 && each < 1);
  EXPECT_NE(values(context.normal<float>(Shape<1>{35})), values(x));  // the stream goes on
  EXPECT_EQ(context.random().position(), 35u + 6u + 35u);
}

TEST(Context, RefusesImpossibleShapes) {
  Context context({.threads = 1});
  const aulos::MemoryUse before = context.memory();
  expect_error("shape [2, -1] has a negative extent", [&] { context.empty<float>(Shape<2>{2, -1}); });
  expect_error("shape [4294967296, 4294967296] has more bytes than a 64-bit index can count", [&] {
    context.empty<float>(Shape<2>{Index{1} << 32, Index{1} << 32});
  });
  expect_error("shape [2305843009213693952] has more bytes than a 64-bit index can count",
               [&] { context.zeros<float>(Shape<1>{Index{1} << 61}); });
  EXPECT_EQ(context.memory(), before);
}

TEST(Context, ATerabyteIsABadAlloc) {
  Context context({.threads = 1});
  const auto x = context.full<float>(Shape<1>{4}, 3);
  const aulos::MemoryUse before = context.memory();
  EXPECT_THROW(context.empty<float>(Shape<2>{Index{1} << 19, Index{1} << 19}), std::bad_alloc);
  EXPECT_THROW(context.full<double>(Shape<1>{Index{1} << 58}, 1), std::bad_alloc);
  EXPECT_THROW(context.reserve(std::size_t{1} << 40), std::bad_alloc);
  EXPECT_EQ(context.memory(), before);
  EXPECT_EQ(values(context.full<float>(Shape<1>{2}, 1)), (std::vector<float>{1, 1}));
  EXPECT_EQ(values(x), (std::vector<float>{3, 3, 3, 3}));
  EXPECT_THROW(Context({.threads = 1, .reserve_bytes = std::size_t{1} << 40}), std::bad_alloc);
}

TEST(Context, ALimitOfTheProcessIsABadAlloc) {
#if AULOS_TEST_SANITIZED
  GTEST_SKIP() << "a sanitizer needs the address space";
#endif
  const int status = aulos_tests::in_child([] {
    Context context({.threads = 1});
    const auto x = context.full<float>(Shape<1>{1000}, 1);
    if (!aulos_tests::limit_memory(std::size_t{64} << 20)) return 77;
    for (int round = 0; round < 3; ++round) {
      try {
        context.zeros<float>(Shape<1>{64 << 20});
        return 1;
      } catch (const std::bad_alloc&) {
      }
      const auto y = context.full<float>(Shape<1>{1 << 20}, 2);
      if (y(5) != 2 || x(7) != 1) return 2;
    }
    return 0;
  });
  if (status == 77) GTEST_SKIP() << "no limits on this system";
  EXPECT_EQ(status, 0);
}

TEST(Context, ReservesMemoryOnce) {
  Context context({.threads = 1, .reserve_bytes = 1 << 20});
  EXPECT_EQ(context.memory().held, std::size_t{1} << 20);
  for (int round = 0; round < 10; ++round) {
    const auto a = context.empty<float>(Shape<1>{100000});
    const auto b = context.empty<float>(Shape<1>{100000});
  }
  EXPECT_EQ(context.memory().held, std::size_t{1} << 20);
  EXPECT_EQ(context.memory().live, 0u);
  EXPECT_EQ(context.memory().peak, 2u * 400000u);
  context.reset_memory_peak();
  EXPECT_EQ(context.memory().peak, 0u);
  context.reserve(1 << 21);
  EXPECT_EQ(context.memory().held, std::size_t{1} << 21);
}

// ---- lifetimes

TEST(Context, ATensorMayOutliveIt) {
  auto context = std::make_unique<Context>(aulos::ContextOptions{.threads = 2, .seed = 5});
  auto x = context->normal<float>(Shape<2>{50, 3});
  auto row = x.select(0, 49);
  const std::vector<float> before = values(x), last = values(row);
  context.reset();
  EXPECT_EQ(values(x), before);
  expect_error(
      "dense: no argument belongs to a Context (or its Context is gone); where all are parameters, write "
      "p.tensor(context), or p.tensor(x) for the Context of x",
      [&] { dense(x.slice(1, 0, 2)); });
  x = {};
  EXPECT_EQ(values(row), last);
  std::thread([view = std::move(row), &last]() mutable {
    EXPECT_EQ(values(view), last);
    view = {};
  }).join();
}

TEST(Context, ATensorOfAnotherContextIsAnArgumentLikeAnyOther) {
  Context first({.threads = 1}), second({.threads = 1});
  const auto x = first.full<float>(Shape<1>{2}, 1);
  const auto y = second.full<float>(Shape<1>{2}, 2);
  const auto both = concat(std::array{x, y}, 0);
  EXPECT_EQ(both.any().context(), &first);  // the first argument decides
  EXPECT_EQ(values(both), (std::vector<float>{1, 1, 2, 2}));
  Context dry(Context::Dry{});
  const auto planned = dry.empty<float>(Shape<1>{2});
  expect_error("a planned tensor [2] has no elements", [&] { concat(std::array{x, planned}, 0); });
  EXPECT_EQ(concat(std::array{planned, x}, 0).extent(0), 4);
}

TEST(Context, IsRefusedOnAnotherThreadInTestBuilds) {
  Context context({.threads = 2});
  const auto x = context.full<float>(Shape<1>{2}, 1);
  std::thread([&] {
    const char* text =
        "context: used on another thread than the one that made it; expected one Context for each thread";
    expect_error(text, [&] { context.empty<float>(Shape<1>{2}); });
    expect_error(text, [&] { context.run("op", small_cost, [](Threads) {}); });
    Context own({.threads = 1});
    EXPECT_EQ(own.full<float>(Shape<1>{1}, 4)(0), 4);
  }).join();
  EXPECT_EQ(values(concat(std::array{x, x}, 0)), (std::vector<float>{1, 1, 1, 1}));
}

// ---- running

TEST(Context, RunsSmallWorkAloneAndLargeWorkOnAllThreads) {
  Context context({.threads = 3});
  EXPECT_EQ(context.threads(), 3);
  context.run("small", small_cost, [](Threads threads) { EXPECT_EQ(threads.count(), 1); });
  context.run("large", large_cost, [](Threads threads) {
    EXPECT_EQ(threads.count(), 3);
    std::vector<int> done(20);
    threads.run(20, [&](Index piece, Scratch& scratch) {
      scratch.take<float>(64)[63] = 1;
      ++done[static_cast<std::size_t>(piece)];
    });
    EXPECT_EQ(done, std::vector<int>(20, 1));
  });
  EXPECT_EQ(Context({.threads = 1}).threads(), 1);
  EXPECT_EQ(Context().threads(), aulos::default_thread_count());
  EXPECT_THROW(Context({.threads = -1}), aulos::ConfigError);
}

// Runs pieces backwards on the calling thread.
struct Backwards {
  int runs = 0;
  static Index concurrency() { return 4; }
  void run(Index pieces, FunctionRef<void(Index)> body) {
    ++runs;
    while (pieces > 0) body(--pieces);
  }
};

TEST(Context, RunsOnALentExecutor) {
  Backwards executor;
  Context context(executor, {.seed = 9, .reserve_bytes = 4096});
  EXPECT_EQ(context.threads(), 4);
  EXPECT_GE(context.memory().held, 4096u);
  std::vector<Index> order;
  context.run("large", large_cost,
              [&](Threads threads) { threads.run(5, [&](Index piece, Scratch&) { order.push_back(piece); }); });
  EXPECT_EQ(order, (std::vector<Index>{4, 3, 2, 1, 0}));
  EXPECT_EQ(executor.runs, 1);
  EXPECT_EQ(values(context.normal<double>(Shape<1>{3})), values(Context({.seed = 9}).normal<double>(Shape<1>{3})));
}

TEST(Context, PassesOnWhatAKernelThrows) {
  Context context({.threads = 2});
  context.start_profile();
  for (int round = 0; round < 3; ++round) {
    EXPECT_THROW(context.run("bad", large_cost,
                             [](Threads threads) {
                               threads.run(8, [](Index piece, Scratch&) {
                                 if (piece == 5) throw std::bad_alloc();
                               });
                             }),
                 std::bad_alloc);
  }
  context.run("good", small_cost, [](Threads) {});
  const auto records = context.stop_profile();
  ASSERT_EQ(records.size(), 1u);  // what failed did not happen
  EXPECT_STREQ(records[0].operation, "good");
}

// ---- plan, profile, capture, scopes

TEST(Context, ADryOneCountsAndDoesNotRun) {
  Context dry(Context::Dry{{.threads = 7, .seed = 1}});
  EXPECT_TRUE(dry.dry());
  EXPECT_EQ(dry.threads(), 1);
  const auto huge = dry.normal<float>(Shape<2>{Index{1} << 20, Index{1} << 20});
  EXPECT_EQ(dry.memory().live, std::size_t{4} << 40);
  EXPECT_EQ(dry.memory().held, std::size_t{4} << 40);
  EXPECT_EQ(dry.random().position(), 0u);  // nothing was drawn
  const auto zeros = dry.zeros<float>(Shape<1>{1000});
  bool called = false;
  dry.run("a", {.flops = 100, .bytes = 20, .scratch = 512}, [&](Threads) { called = true; });
  dry.run("b", {.flops = 11, .bytes = 2, .scratch = 128}, [&](Threads) { called = true; });
  EXPECT_FALSE(called);
  const aulos::Plan plan = dry.planned();
  EXPECT_EQ(plan.flops, 111);
  EXPECT_EQ(plan.bytes, 22);
  EXPECT_EQ(plan.scratch_bytes, 512u);
  EXPECT_EQ(plan.peak_bytes, (std::size_t{4} << 40) + 4032u);
  EXPECT_EQ(plan.parameters, 0);
  EXPECT_FALSE(Context({.threads = 1}).dry());
}

TEST(Context, ProfilesWhatItRuns) {
  Context context({.threads = 1});
  context.run("before", small_cost, [](Threads) {});
  context.start_profile();
  {
    const Scope outer(context.scopes(), "blocks", 3);
    context.run("a", {.flops = 5, .bytes = 6},
                [](Threads) { std::this_thread::sleep_for(std::chrono::milliseconds(2)); });
    const Scope inner(context.scopes(), "attn");
    context.run("b", {.flops = 7, .bytes = 8}, [](Threads) {});
  }
  context.run("a", {.flops = 1, .bytes = 2}, [](Threads) {});
  const auto records = context.stop_profile();
  ASSERT_EQ(records.size(), 3u);
  EXPECT_STREQ(records[0].operation, "a");
  EXPECT_EQ(records[0].scope, "blocks.3");
  EXPECT_GE(records[0].seconds, 0.002);
  EXPECT_EQ(records[0].flops, 5);
  EXPECT_EQ(records[0].bytes, 6);
  EXPECT_EQ(records[1].scope, "blocks.3.attn");
  EXPECT_EQ(records[2].scope, "");
  context.run("after", small_cost, [](Threads) {});
  EXPECT_TRUE(context.stop_profile().empty());
  context.start_profile();
  EXPECT_TRUE(context.stop_profile().empty());
}

TEST(Context, CapturesValuesByName) {
  Context context({.threads = 1});
  const auto x = context.full<float>(Shape<2>{2, 3}, 1);
  const auto d = context.full<double>(Shape<1>{2}, 2);
  EXPECT_FALSE(context.capturing());
  context.start_capture("blocks.1");
  EXPECT_TRUE(context.capturing());
  for (Index i = 0; i < 3; ++i) {
    const Scope scope(context.scopes(), "blocks", i);
    dense(x.slice(1, 0, 2));
    dense(d);
  }
  const auto floats = context.stop_capture<float>();
  EXPECT_FALSE(context.capturing());
  ASSERT_EQ(floats.size(), 2u);
  EXPECT_EQ(floats[0].name, "blocks.1/dense:x");
  EXPECT_EQ(floats[1].name, "blocks.1/dense");
  EXPECT_EQ(to_string(floats[1].value.dims()), "[2, 2]");
  const auto doubles = context.stop_capture<double>();
  ASSERT_FALSE(doubles.empty());
  EXPECT_EQ(doubles[0].name, "blocks.1/dense:x");
  context.start_capture("");
  dense(x);
  EXPECT_EQ(context.stop_capture<float>().at(0).name, "/dense:x");  // without a scope
  context.start_capture("/dense");  // left running: what is kept must not keep the pool alive in a knot
  const Scope scope(context.scopes(), "s");
  dense(x.slice(1, 0, 2));
}

TEST(Context, ErrorsOfOpsNameTheScope) {
  Context context({.threads = 1});
  const auto x = context.full<float>(Shape<2>{2, 3}, 1);
  const auto y = context.full<float>(Shape<2>{3, 3}, 1);
  expect_error("concat: [2, 3] and [3, 3] differ outside axis 1", [&] { concat(std::array{x, y}, 1); });
  const Scope outer(context.scopes(), "transformer_blocks", 3);
  {
    const Scope inner(context.scopes(), "attn2");
    expect_error("transformer_blocks.3.attn2: concat: [2, 3] and [3, 3] differ outside axis 1", [&] {
      concat(std::array{x, y}, 1);
    });
  }
  expect_error("transformer_blocks.3: concat: x is empty (moved from?)", [&] {
    concat(std::array{x, Tensor<float, 2>{}}, 1);
  });
}

}  // namespace
