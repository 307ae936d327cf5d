#include "aulos/ops/where.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

template <int Rank>
Tensor<std::uint8_t, Rank> mask_of(Context& context, const Shape<Rank>& shape) {
  auto mask = context.empty<std::uint8_t>(shape);
  if (!context.dry())
    for (Index i = 0; i < mask.count(); ++i) mask.mutable_data()[i] = static_cast<std::uint8_t>(i * i % 3);
  return mask;
}

TEST(WhereOp, ChoosesAndRepeats) {
  Context context;
  const auto mask = of<std::uint8_t>(context, Shape<2>{2, 1}, {1, 0});
  const auto a = of<float>(context, Shape<2>{2, 3}, {1, 2, 3, 4, 5, 6}),
             b = of<float>(context, Shape<2>{1, 3}, {7, 8, 9});
  expect_values(where(mask, a, b), {1, 2, 3, 7, 8, 9});
  expect_values(masked_fill(a, mask, -1), {-1, -1, -1, 4, 5, 6});
}

TEST(WhereOp, Gradients) {
  for (const Shape<3>& shape : {Shape<3>{2, 3, 7}, {1, 1, 1}, {2, 1, 17}}) {
    expect_gradients([&](Case<double>& c) {
      const auto a = c.in<3>(shape, 1), b = c.in<3>(Shape<3>{1, shape[1], 1}, 2);
      return results(where(mask_of(c.context, shape), a, b),
                     masked_fill(a, mask_of(c.context, Shape<3>{1, 1, shape[2]}), 3));
    });
  }
}

TEST(WhereOp, WhatIsNotChosenHasNoGradientNorInfluence) {
  Context context;
  GradTape tape(context);
  auto x = of<float>(context, Shape<1>{3}, {1, std::numeric_limits<float>::quiet_NaN(), 3});
  tape.watch(x);
  const auto y = masked_fill(x, of<std::uint8_t>(context, Shape<1>{3}, {0, 1, 0}), 0);
  expect_values(y, {1, 0, 3});
  const auto ones = of<float>(context, Shape<1>{3}, {1, std::numeric_limits<float>::quiet_NaN(), 1});
  const aulos::Seed<float> seed{y.any(), ones.any()};
  tape.backward(std::span<const aulos::Seed<float>>(&seed, 1));
  expect_values(tape.gradient(x), {1, 0, 1});
}

TEST(WhereOp, LayoutsThreadsRecordsAndNothing) {
  const auto body = [](const Shape<3>& shape) {
    return [=](Case<float>& c) {
      const auto a = c.in<3>(shape, 1), b = c.in<3>(shape, 2);
      return results(where(mask_of(c.context, shape), a, b), masked_fill(a, mask_of(c.context, shape), 2));
    };
  };
  expect_layouts_agree<float>(body({3, 4, 19}));
  expect_threads_agree<float>(body({3, 64, 257}));
  expect_records<float>("where", {"a", "b"}, body({3, 4, 19}));
  expect_records<float>("masked_fill", {"x"}, body({3, 4, 19}));
  EXPECT_TRUE(forward_backward<float>(body({3, 0, 5})).results[0].empty());
}

TEST(WhereOp, SaysWhatIsWrong) {
  expect_errors({
      {"mask",
       [](Context& c) {
         where(mask_of(c, Shape<2>{2, 3}), c.zeros<float>(Shape<2>{4, 3}), c.zeros<float>(Shape<2>{4, 3}));
       },
       {"where: mask [2, 3] for [4, 3]: axis 0"}},
      {"a and b",
       [](Context& c) {
         where(mask_of(c, Shape<2>{2, 3}), c.zeros<float>(Shape<2>{2, 3}), c.zeros<float>(Shape<2>{3, 3}));
       },
       {"where: a [2, 3] and b [3, 3] differ"}},
      {"empty", [](Context& c) { where(mask_of(c, Shape<1>{2}), Tensor<float, 1>(), {}); }, {"where: a is empty"}},
      {"x",
       [](Context& c) { masked_fill(Tensor<float, 1>(), mask_of(c, Shape<1>{2}), 1); },
       {"masked_fill: x is empty"}},
  });
}

}  // namespace
