#include "aulos/ops/l2_normalize.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

TEST(L2NormalizeOp, DividesByTheLength) {
  Context context;
  const auto x = of<float>(context, Shape<2>{3, 2}, {3e-5f, 4e-5f, 0, 0, -3e10f, 4e10f});
  expect_values(l2_normalize(x), {0.6, 0.8, 0, 0, -0.6, 0.8}, 1e-7);
  expect_values(l2_normalize(x.slice(0, 0, 1), 1e-4), {0.3, 0.4}, 1e-7);
}

TEST(L2NormalizeOp, Gradients) {
  for (const Shape<3>& shape : {Shape<3>{2, 3, 7}, {1, 1, 17}, {2, 1, 2}}) {
    expect_gradients([&](Case<double>& c) { return results(l2_normalize(c.in<3>(shape, 1, 2))); });
    expect_gradients([&](Case<double>& c) { return results(l2_normalize(c.in<3>(shape, 1, 0.1), 10)); });  // below eps
  }
}

TEST(L2NormalizeOp, LayoutsThreadsRecordsAndNothing) {
  const auto body = [](const Shape<3>& shape) {
    return [=](Case<float>& c) { return results(l2_normalize(c.in<3>(shape, 1, 2))); };
  };
  expect_layouts_agree<float>(body({3, 4, 19}));
  expect_threads_agree<float>(body({3, 64, 257}));
  expect_records<float>("l2_normalize", {"x"}, body({3, 4, 19}));
  EXPECT_TRUE(forward_backward<float>(body({0, 4, 5})).results[0].empty());
  EXPECT_TRUE(forward_backward<float>(body({3, 4, 0})).results[0].empty());
  expect_errors({{"x", [](Context&) { l2_normalize(Tensor<float, 2>()); }, {"l2_normalize: x is empty"}}});
}

}  // namespace
