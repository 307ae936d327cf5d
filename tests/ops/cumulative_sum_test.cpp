#include "aulos/ops/cumulative_sum.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::SumDirection;

TEST(CumulativeSumOp, RunsAlongAnyAxis) {
  Context context;
  const auto x = of<float>(context, Shape<3>{2, 2, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  expect_values(cumulative_sum(x, 0), {1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18});
  expect_values(cumulative_sum(x, 1), {1, 2, 3, 5, 7, 9, 7, 8, 9, 17, 19, 21});
  expect_values(cumulative_sum(x, 2), {1, 3, 6, 4, 9, 15, 7, 15, 24, 10, 21, 33});
  expect_values(cumulative_sum(x, 2, SumDirection::backward), {6, 5, 3, 15, 11, 6, 24, 17, 9, 33, 23, 12});
}

TEST(CumulativeSumOp, Gradients) {
  for (const Shape<3>& shape : {Shape<3>{2, 3, 7}, {1, 1, 1}, {3, 1, 17}}) {
    for (const int axis : {0, 1, 2}) {
      for (const SumDirection direction : {SumDirection::forward, SumDirection::backward})
        expect_gradients([&](Case<double>& c) { return results(cumulative_sum(c.in<3>(shape, 1), axis, direction)); });
    }
  }
}

TEST(CumulativeSumOp, LayoutsThreadsRecordsAndNothing) {
  const auto body = [](const Shape<3>& shape) {
    return [=](Case<float>& c) {
      const auto x = c.in<3>(shape, 1);
      return results(cumulative_sum(x, 1), cumulative_sum(x, 2));
    };
  };
  expect_layouts_agree<float>(body({3, 4, 19}));
  expect_threads_agree<float>(body({3, 64, 257}));
  expect_records<float>("cumulative_sum", {"x"}, body({3, 4, 19}));
  EXPECT_TRUE(forward_backward<float>(body({3, 0, 5})).results[0].empty());
}

TEST(CumulativeSumOp, SaysWhatIsWrong) {
  expect_errors({{"axis",
                  [](Context& c) {
                    cumulative_sum(c.zeros<float>(Shape<2>{3, 2}), 2);
                  },
                  {"cumulative_sum: axis 2 of x [3, 2]"}},
                 {"x", [](Context&) { cumulative_sum(Tensor<float, 2>(), 0); }, {"cumulative_sum: x is empty"}}});
}

}  // namespace
