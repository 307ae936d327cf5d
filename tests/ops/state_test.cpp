#include "aulos/ops/state.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::any::LastState;
using aulos::any::StatePair;

StatePair<float> pair_of(AnyTensor<float> initial, const AnyTensor<float>& x, LastState last) {
  const aulos::Op op("state", aulos::arg("x", x));
  return {op, std::move(initial), x.dims(), last};
}

TEST(StatePair, IsInPlaceWhereNobodyElseHoldsTheState) {
  Context context;
  const auto x = context.zeros<float>(Shape<2>{2, 3});
  auto state = context.zeros<float>(Shape<2>{2, 3});
  const float* memory = state.data();
  EXPECT_NE(pair_of(state.any(), x.any(), LastState::keep).to.data(), memory);
  EXPECT_TRUE(pair_of(state.any(), x.any(), LastState::skip).to.empty());
  const auto given = pair_of(std::move(state).any(), x.any(), LastState::keep);
  EXPECT_EQ(given.to.data(), memory);
  EXPECT_EQ(given.from.data(), memory);
}

TEST(StatePair, IsFreshUnderATapeAndWithoutAnInitialState) {
  Context context;
  GradTape tape(context);
  auto x = context.zeros<float>(Shape<2>{2, 3});
  tape.watch(x);
  auto state = context.zeros<float>(Shape<2>{2, 3});
  const float* memory = state.data();
  const auto pair = pair_of(std::move(state).any(), x.any(), LastState::keep);
  EXPECT_EQ(pair.from.data(), memory);
  EXPECT_NE(pair.to.data(), memory);
  EXPECT_FALSE(pair.ghost);
  const auto none = pair_of({}, x.any(), LastState::keep);
  EXPECT_TRUE(none.from.empty());
  EXPECT_FALSE(none.to.empty());
}

TEST(StatePair, TakesADenseCopyOfAView) {
  Context context;
  const auto x = context.zeros<float>(Shape<2>{2, 3});
  const auto view = of<float>(context, Shape<2>{2, 4}, {1, 2, 3, 4, 5, 6, 7, 8}).slice(1, 1, 4);
  const auto pair = pair_of(view.any(), x.any(), LastState::keep);
  EXPECT_EQ(values(pair.from), (std::vector<float>{2, 3, 4, 6, 7, 8}));
  EXPECT_EQ(pair.to.data(), pair.from.data());
}

}  // namespace
