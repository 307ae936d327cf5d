#include "aulos/ops/group_norm.hpp"

#include <gtest/gtest.h>

#include "aulos/ops/norm.hpp"
#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

// One group is the layer norm of the sample as one row; C groups, of each channel.
TEST(GroupNormOp, IsTheLayerNormOfItsGroups) {
  for (const Index positions : {1, 5, 33}) {
    for (const Index groups : {1, 2, 3, 6}) {
      Context context;
      Case<double> c(context);
      const auto x = c.in<3>(Shape<3>{2, 6, positions}, 1, 2, 0.5);
      const auto w = c.in<1>(Shape<1>{6}, 2), b = c.in<1>(Shape<1>{6}, 3);
      const auto plain = values(layer_norm(x.reshape(Shape<2>{2 * groups, 6 / groups * positions}), {}, {}, 1e-5));
      expect_near(
          group_norm(x, groups, w, b, 1e-5),
          [&](Index i) {
            const Index channel = i / positions % 6;
            return plain[static_cast<std::size_t>(i)] * w(channel) + b(channel);
          },
          1e-14);
    }
  }
}

TEST(GroupNormOp, TakesAnyNumberOfPositionAxes) {
  Context context;
  const auto x = context.normal<float>(Shape<4>{2, 4, 3, 5});
  const auto want = values(group_norm(x.reshape(Shape<3>{2, 4, 15}), 2, {}, {}, 1e-5));
  EXPECT_EQ(values(group_norm(x, 2, {}, {}, 1e-5)), want);
  const auto y = context.normal<float>(Shape<2>{3, 8});  // no positions at all: layer norm
  EXPECT_EQ(values(group_norm(y, 1, {}, {}, 1e-5)).size(), 24U);
}

TEST(BatchNormOp, IsAScaleAndAShift) {
  Context context;
  const auto x = of<float>(context, Shape<3>{1, 2, 2}, {1, 2, 3, 4});
  const auto mean = of<float>(context, Shape<1>{2}, {1, 5}), variance = of<float>(context, Shape<1>{2}, {4, 0.25f});
  const auto w = of<float>(context, Shape<1>{2}, {10, 100}), b = of<float>(context, Shape<1>{2}, {1, 2});
  expect_values(batch_norm(x, mean, variance, w, b, 0), {1, 6, -398, -198}, 1e-6);
  expect_values(batch_norm(x, mean, variance, {}, {}, 0), {0, 0.5, -4, -2}, 1e-6);
}

TEST(GroupNormOp, Gradients) {
  for (const Shape<3>& shape : {Shape<3>{2, 4, 7}, {1, 2, 1}, {2, 4, 1}, {1, 6, 17}}) {
    SCOPED_TRACE(to_string(shape));
    for (const Index groups : {1, 2}) {
      expect_gradients([&](Case<double>& c) {
        const auto x = c.in<3>(shape, 1, 2);
        const auto w = c.in<1>(Shape<1>{shape[1]}, 2, 1, 1), b = c.in<1>(Shape<1>{shape[1]}, 3);
        return results(group_norm(x, groups, w, b, 0.1));
      });
      expect_gradients([&](Case<double>& c) { return results(group_norm(c.in<3>(shape, 1, 2), groups, {}, {}, 0.1)); });
    }
    expect_gradients([&](Case<double>& c) {
      const auto x = c.in<3>(shape, 1, 2);
      const auto w = c.in<1>(Shape<1>{shape[1]}, 2, 1, 1), b = c.in<1>(Shape<1>{shape[1]}, 3);
      auto mean = c.context.full<double>(Shape<1>{shape[1]}, 0.5),
           variance = c.context.full<double>(Shape<1>{shape[1]}, 2.0);
      return results(batch_norm(x, mean, variance, w, b, 1e-5));
    });
  }
}

template <class T>
std::vector<AnyTensor<T>> normed(Case<T>& c, const Shape<3>& shape) {
  const auto x = c.template in<3>(shape, 1, 2);
  const auto w = c.template in<1>(Shape<1>{shape[1]}, 2), b = c.template in<1>(Shape<1>{shape[1]}, 3);
  const auto mean = c.context.template zeros<T>(Shape<1>{shape[1]});
  const auto variance = c.context.template full<T>(Shape<1>{shape[1]}, T(2));
  return results(group_norm(x, 2, w, b, 1e-5), batch_norm(x, mean, variance, w, b, 1e-5));
}

TEST(GroupNormOp, LayoutsThreadsRecordsAndNothing) {
  const auto body = [](const Shape<3>& shape) { return [=](Case<float>& c) { return normed(c, shape); }; };
  expect_layouts_agree<float>(body({3, 4, 19}));
  expect_threads_agree<float>(body({2, 4, 16001}));
  expect_records<float>("group_norm", {"x", "weight", "bias"}, body({3, 4, 19}));
  expect_records<float>("batch_norm", {"x", "weight", "bias", "mean", "variance"}, body({3, 4, 19}));
  for (const Shape<3>& shape : {Shape<3>{0, 4, 5}, {3, 4, 0}}) {
    const auto none = forward_backward<float>(body(shape));
    EXPECT_TRUE(none.results[0].empty());
    EXPECT_EQ(none.gradients[1], std::vector<float>(4, 0));
    EXPECT_EQ(none.gradients[2], std::vector<float>(4, 0));
  }
}

TEST(GroupNormOp, SaysWhatIsWrong) {
  expect_errors({
      {"groups",
       [](Context& c) {
         group_norm(c.zeros<float>(Shape<3>{2, 6, 4}), 4, {}, {}, 1e-5);
       },
       {"group_norm: 4 groups", "[2, 6, 4]"}},
      {"no group",
       [](Context& c) {
         group_norm(c.zeros<float>(Shape<3>{2, 6, 4}), 0, {}, {}, 1e-5);
       },
       {"0 groups"}},
      {"weight",
       [](Context& c) {
         group_norm(c.zeros<float>(Shape<3>{2, 6, 4}), 2, c.zeros<float>(Shape<1>{4}), {}, 1e-5);
       },
       {"group_norm: weight [4] for x [2, 6, 4], expected [6]"}},
      {"x", [](Context&) { group_norm(Tensor<float, 3>(), 2, {}, {}, 1e-5); }, {"group_norm: x is empty"}},
      {"variance",
       [](Context& c) {
         batch_norm(c.zeros<float>(Shape<3>{2, 6, 4}), c.zeros<float>(Shape<1>{6}), {}, {}, {}, 1e-5);
       },
       {"batch_norm: variance", "expected [6]"}},
  });
}

}  // namespace
