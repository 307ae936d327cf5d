#include "aulos/ops/softmax.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

// Rows [0, columns) of the naive softmax family in double.
struct Naive {
  std::vector<double> x;
  Index columns;
  double denominator(Index row) const {
    double sum = 0;
    for (Index c = 0; c < columns; ++c) sum += std::exp(x[static_cast<std::size_t>(row * columns + c)]);
    return sum;
  }
};

template <class T>
std::vector<AnyTensor<T>> all_of(Case<T>& c, const Shape<3>& shape) {
  const auto x = c.template in<3>(shape, 1, 3);
  return results(softmax(x), log_softmax(x), logsumexp(x));
}

TEST(SoftmaxOp, AgreesWithTheFormula) {
  for (const Index columns : {1, 2, 7, 33}) {
    Context context;
    Case<float> c(context);
    const auto x = c.in<3>(Shape<3>{2, 3, columns}, 1, 3);
    const std::vector<float> numbers = values(x);
    const Naive naive{{numbers.begin(), numbers.end()}, columns};
    expect_near(
        softmax(x),
        [&](Index i) { return std::exp(naive.x[static_cast<std::size_t>(i)]) / naive.denominator(i / columns); }, 1e-6);
    expect_near(
        log_softmax(x),
        [&](Index i) { return naive.x[static_cast<std::size_t>(i)] - std::log(naive.denominator(i / columns)); }, 1e-6);
    expect_near(
        logsumexp(x), [&](Index i) { return std::log(naive.denominator(i)); }, 1e-6);
    EXPECT_EQ(logsumexp(x).shape(), (Shape<3>{2, 3, 1}));
  }
}

TEST(SoftmaxOp, TakesTheMaximumOutFirst) {
  Context context;
  expect_values(softmax(of<float>(context, Shape<2>{4, 3},
                                  {151.3f, 150.3f, -200, 1e30f, 1e30f, -1e30f, -1e30f, -1e30f, -3e38f, 90, 90, 90})),
                {0.7310586, 0.2689414, 0, 0.5, 0.5, 0, 0.5, 0.5, 0, 1 / 3., 1 / 3., 1 / 3.}, 1e-6);
  expect_values(logsumexp(of<float>(context, Shape<1>{2}, {1000, 1000})), {1000 + std::log(2.0)}, 1e-6);
}

TEST(SoftmaxOp, ARowOfMinusInfinityIsZeroAndItsGradientToo) {
  Context context;
  GradTape tape(context);
  auto x = of<float>(context, Shape<2>{2, 3}, {-infinity, -infinity, -infinity, 0, 0, -infinity});
  tape.watch(x);
  const auto y = softmax(x);
  expect_values(y, {0, 0, 0, 0.5, 0.5, 0});
  backward<float>(context, {y.any()});
  for (const float g : values(tape.gradient(x))) EXPECT_TRUE(std::isfinite(g));
  expect_values(logsumexp(x), {-infinity, std::log(2.0)}, 1e-6);
}

TEST(SoftmaxOp, NaNFillsItsRowAlone) {
  for (Index columns = 1; columns <= 35; ++columns) {
    Context context;
    auto x = context.full<float>(Shape<2>{2, columns}, 2);
    x.mutable_data()[columns / 2] = nan_value;
    for (const auto& y : {softmax(x), log_softmax(x)}) {
      for (Index c = 0; c < columns; ++c) {
        EXPECT_TRUE(std::isnan(y(0, c))) << columns;
        EXPECT_FALSE(std::isnan(y(1, c))) << columns;
      }
    }
    EXPECT_TRUE(std::isnan(logsumexp(x)(0, 0)));
  }
}

TEST(SoftmaxOp, Gradients) {
  for (const Shape<3>& shape : {Shape<3>{2, 3, 7}, {1, 1, 17}, {3, 1, 1}, {1, 2, 4}}) {
    SCOPED_TRACE(to_string(shape));
    expect_gradients([&](Case<double>& c) { return results(softmax(c.in<3>(shape, 1, 2))); });
    expect_gradients([&](Case<double>& c) { return results(log_softmax(c.in<3>(shape, 1, 2))); });
    expect_gradients([&](Case<double>& c) { return results(logsumexp(c.in<3>(shape, 1, 2))); });
  }
}

TEST(SoftmaxOp, NothingInNothingOut) {
  for (const Shape<3>& shape : {Shape<3>{0, 3, 7}, {2, 0, 7}}) {
    const Outcome<float> outcome = forward_backward<float>([&](auto& c) { return all_of(c, shape); });
    EXPECT_TRUE(outcome.results[0].empty());
    EXPECT_TRUE(outcome.gradients[0].empty());
  }
  Context context;
  EXPECT_EQ(softmax(context.empty<float>(Shape<2>{3, 0})).count(), 0);
}

TEST(SoftmaxOp, LayoutsAgree) {
  expect_layouts_agree<float>([](auto& c) { return all_of(c, Shape<3>{3, 4, 19}); });
}

TEST(SoftmaxOp, ThreadsAgree) {
  expect_threads_agree<float>([](auto& c) { return all_of(c, Shape<3>{4, 64, 99}); });
}

TEST(SoftmaxOp, Records) {
  const Shape<3> shape{2, 3, 19};
  expect_records<float>("softmax", {"x"}, [&](auto& c) { return results(softmax(c.template in<3>(shape, 1))); });
  expect_records<float>("log_softmax", {"x"},
                        [&](auto& c) { return results(log_softmax(c.template in<3>(shape, 1))); });
  expect_records<float>("logsumexp", {"x"}, [&](auto& c) { return results(logsumexp(c.template in<3>(shape, 1))); });
}

TEST(SoftmaxOp, NamesAnEmptyArgument) {
  const Tensor<float, 2> none;
  expect_errors({{"softmax", [&](Context&) { softmax(none); }, {"softmax: x is empty"}},
                 {"log_softmax", [&](Context&) { log_softmax(none); }, {"log_softmax: x is empty"}},
                 {"logsumexp", [&](Context&) { logsumexp(none); }, {"logsumexp: x is empty"}}});
}

}  // namespace
