#include "aulos/ops/fourier_features.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::FourierOptions;
using aulos::FrequencyUnit;
using aulos::SinusoidOrder;

constexpr SinusoidOrder orders[] = {SinusoidOrder::cos_first, SinusoidOrder::sin_first, SinusoidOrder::interleaved};

TEST(FourierFeaturesOp, ClosedForm) {
  for (const SinusoidOrder order : orders) {
    for (const FrequencyUnit unit : {FrequencyUnit::turns, FrequencyUnit::radians}) {
      Context context({.threads = 1});
      const std::vector<double> times = {0, 0.25, -3, 1.5}, frequencies = {1, -0.3, 7};
      const auto y = fourier_features(of<double>(context, Shape<2>{2, 2}, times),
                                      of<double>(context, Shape<1>{3}, frequencies), {order, unit});
      ASSERT_EQ(y.shape(), (Shape<3>{2, 2, 6}));
      expect_near(
          y,
          [&](Index p) {
            const Index k = p % 6;
            const bool between = order == SinusoidOrder::interleaved;
            const Index i = between ? k / 2 : k % 3;
            const bool cosine = between ? k % 2 == 1 : (k < 3) == (order == SinusoidOrder::cos_first);
            const double turn = unit == FrequencyUnit::turns ? 2 * std::acos(-1.0) : 1;
            const double angle =
                turn * times[static_cast<std::size_t>(p / 6)] * frequencies[static_cast<std::size_t>(i)];
            return cosine ? std::cos(angle) : std::sin(angle);
          },
          1e-13);
    }
  }
}

// In float the product is rounded, doubled (exactly), and rounded again by pi.
TEST(FourierFeaturesOp, OrderOfTheRounding) {
  Context context({.threads = 1});
  const float t = 0.7315f, w = 13.77f;
  const float product = t * w;
  const float angle = product * 2 * 3.14159265358979f;
  const auto y = values(fourier_features(of<float>(context, Shape<1>{1}, {t}), of<float>(context, Shape<1>{1}, {w})));
  EXPECT_EQ(y, (std::vector<float>{std::cos(angle), std::sin(angle)}));
}

TEST(FourierFeaturesOp, Gradients) {
  for (const SinusoidOrder order : orders) {
    expect_gradients([&](Case<double>& c) {
      const auto t = c.in<2>(Shape<2>{2, 3}, 1);
      return results(fourier_features(t, c.in<1>(Shape<1>{4}, 2), {.order = order}));
    });
  }
  expect_gradients([&](Case<double>& c) {
    const auto t = c.in<1>(Shape<1>{1}, 1);
    return results(fourier_features(t, c.in<1>(Shape<1>{1}, 2), {.unit = FrequencyUnit::radians}));
  });
}

TEST(FourierFeaturesOp, LayoutsThreadsAndRecords) {
  const auto body = [](Index tokens) {
    return Body<float>([tokens](Case<float>& c) {
      const auto t = c.in<2>(Shape<2>{2, tokens}, 1);
      return results(fourier_features(t, c.in<1>(Shape<1>{32}, 2)));
    });
  };
  expect_layouts_agree(body(3));
  expect_threads_agree(body(300));
  expect_records<float>("fourier_features", {"t", "frequencies"}, body(3));
  Context context;
  const auto w = of<float>(context, Shape<1>{1}, {1});
  EXPECT_EQ(fourier_features(context.empty<float>(Shape<1>{0}), w).shape(), (Shape<2>{0, 2}));
  for (const float v :
       values(fourier_features(of<float>(context, Shape<1>{1}, {std::numeric_limits<float>::infinity()}), w)))
    EXPECT_TRUE(std::isnan(v));
}

TEST(FourierFeaturesOp, Errors) {
  expect_errors({{"no frequencies",
                  [](Context& c) { fourier_features(c.zeros<float>(Shape<1>{2}), c.zeros<float>(Shape<1>{0})); },
                  {"fourier_features: ", "frequencies [0]", "expected one axis of 1 or more"}},
                 {"empty t",
                  [](Context& c) { fourier_features(Tensor<float, 1>(), c.zeros<float>(Shape<1>{2})); },
                  {"fourier_features: t is empty"}},
                 {"empty frequencies",
                  [](Context& c) { fourier_features(c.zeros<float>(Shape<1>{2}), {}); },
                  {"fourier_features: frequencies is empty"}}});
}

}  // namespace
