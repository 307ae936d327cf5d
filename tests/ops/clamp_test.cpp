#include "aulos/ops/clamp.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

TEST(ClampOp, LimitsAndKeepsNaN) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  Context context;
  expect_values(clamp(of<float>(context, Shape<1>{7}, {-3, -1, 0, 2, 5, inf, -inf}), -1, 2), {-1, -1, 0, 2, 2, 2, -1});
  for (Index length = 1; length <= 67; ++length) {
    for (const Index at : {Index{0}, length / 2, length - 1}) {
      auto x = context.full<float>(Shape<1>{length}, 3);
      x.mutable_data()[at] = nan;
      const auto y = clamp(x, -1, 2);
      for (Index i = 0; i < length; ++i) {
        if (i == at) {
          ASSERT_TRUE(std::isnan(y(i))) << length;
        } else {
          ASSERT_EQ(y(i), 2) << length;
        }
      }
    }
  }
}

TEST(ClampOp, SlopeIsOneInsideAndAtTheBounds) {
  Context context;
  GradTape tape(context);
  auto x = of<float>(context, Shape<1>{5}, {-3, -1, 0, 2, 5});
  tape.watch(x);
  backward<float>(context, {clamp(x, -1, 2).any()});
  const auto g = tape.gradient(x);
  for (Index i = 0; i < 5; ++i)
    EXPECT_EQ(g(i), i == 0 || i == 4 ? 0 : static_cast<float>(noise(77, static_cast<std::uint64_t>(i))));
}

TEST(ClampOp, Gradients) {
  for (const Shape<2>& shape : {Shape<2>{3, 7}, {1, 1}, {1, 17}})
    expect_gradients([&](Case<double>& c) { return results(clamp(c.in<2>(shape, 1, 2), -1, 0.7)); });
}

TEST(ClampOp, LayoutsThreadsRecordsAndNothing) {
  const auto body = [](const Shape<3>& shape) {
    return [=](Case<float>& c) { return results(clamp(c.in<3>(shape, 1, 2), -1, 0.7f)); };
  };
  expect_layouts_agree<float>(body({3, 4, 19}));
  expect_threads_agree<float>(body({3, 64, 257}));
  expect_records<float>("clamp", {"x"}, body({2, 3, 5}));
  EXPECT_TRUE(forward_backward<float>(body({2, 0, 5})).gradients[0].empty());
  expect_errors({{"empty", [](Context&) { clamp(Tensor<float, 1>(), 0, 1); }, {"clamp: x is empty"}}});
}

}  // namespace
