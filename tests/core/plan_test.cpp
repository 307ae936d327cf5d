#include "aulos/core/plan.hpp"

#include <gtest/gtest.h>

#include <array>

#include "aulos/ops/layout.hpp"

namespace {

using aulos::Context;
using aulos::Index;
using aulos::Plan;
using aulos::Shape;

TEST(Plan, CountsWhatIsDone) {
  const Plan plan = aulos::plan([](Context& context) {
    const auto x = context.zeros<float>(Shape<2>{10, 16});  // 640 bytes
    context.run("a", {.flops = 5, .bytes = 7, .scratch = 96}, [](aulos::Threads) { FAIL(); });
    const auto y = concat(std::array{x, x}, 0);  // 1280
    return x;                                    // lives on, but nobody counts it any more
  });
  EXPECT_EQ(plan.flops, 5);
  EXPECT_EQ(plan.bytes, 7 + 2 * 1280);
  EXPECT_EQ(plan.scratch_bytes, 96u);
  EXPECT_EQ(plan.peak_bytes, 640u + 1280u);
  EXPECT_EQ(plan.held_bytes, 640u + 1280u);
  EXPECT_EQ(plan.parameters, 0);
}

TEST(Plan, OfNothingIsNothing) {
  const Plan plan = aulos::plan([](Context&) {});
  EXPECT_EQ(plan.flops, 0);
  EXPECT_EQ(plan.peak_bytes, 0u);
}

TEST(Plan, PassesErrorsOn) {
  EXPECT_THROW(aulos::plan([](Context& context) { context.empty<float>(Shape<1>{-1}); }), aulos::ShapeError);
}

// What a Context needs in fact: the same peak, and with the planned memory reserved not a byte more.
TEST(Plan, IsWhatAContextNeeds) {
  const auto work = [](Context& context) {
    auto x = context.zeros<float>(Shape<2>{100, 64});
    for (Index i = 0; i < 20; ++i) {
      const auto wide = concat(std::array{x, x.slice(0, 0, 50)}, 0);
      const auto part = dense(wide.slice(1, i, 64).slice(0, i, 150));
      x = concat(std::array{dense(wide.slice(0, 3, 90 + i)), dense(wide.slice(0, 0, 13 - i / 2))}, 0);
    }
  };
  const Plan plan = aulos::plan(work);
  Context fresh({.threads = 2});
  work(fresh);
  EXPECT_EQ(fresh.memory().peak, plan.peak_bytes);
  Context context({.threads = 1, .reserve_bytes = plan.held_bytes});
  for (int round = 0; round < 3; ++round) work(context);
  EXPECT_EQ(context.memory().peak, plan.peak_bytes);
  EXPECT_EQ(context.memory().held, plan.held_bytes);
}

// Only counted: attention over a hundred thousand tokens, the patches of a large image.
TEST(Plan, SizesBeyond32BitsAreRight) {
  const Plan plan = aulos::plan([](Context& context) {
    const auto scores = context.empty<float>(Shape<4>{1, 16, 100000, 100000});
    EXPECT_EQ(scores.count(), 160000000000);
    const auto patches = context.empty<float>(Shape<3>{1, 2800 * 2800, 288 * 9});
    EXPECT_EQ(patches.reshape(Shape<1>{2800 * 2800 * Index{2592}}).count(), 20321280000);
  });
  EXPECT_EQ(plan.peak_bytes, 4u * (160000000000u + 20321280000u));
}

}  // namespace
