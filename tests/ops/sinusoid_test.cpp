#include "aulos/ops/sinusoid.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::SinusoidOptions;
using aulos::SinusoidOrder;

TEST(SinusoidOp, ConventionsInUse) {
  Context context;
  const auto t = of<float>(context, Shape<1>{1}, {500});
  const std::vector<double> cosines = {-0.883849, 0.964966, 0.283662, 0.877583},
                            sines = {-0.467772, -0.262375, -0.958924, 0.479426};
  const std::vector<double> cosines1 = {-0.883849, -0.346653, 0.473781, 0.998750},
                            sines1 = {-0.467772, -0.937993, 0.880643, 0.049979};
  const auto joined = [](std::vector<double> a, const std::vector<double>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  };
  const double tolerance = 4e-5;  // the angles are rounded to float
  expect_values(sinusoid(t, {.width = 8}), joined(cosines, sines), tolerance);
  expect_values(sinusoid(t, {.width = 8, .order = SinusoidOrder::sin_first}), joined(sines, cosines), tolerance);
  expect_values(sinusoid(t, {.width = 8, .frequency_shift = 1}), joined(cosines1, sines1), tolerance);
}

TEST(SinusoidOp, ClosedFormInDouble) {
  for (const Index width : {2, 6, 7, 256}) {
    for (const double shift : {0.0, 1.0}) {
      if (width == 2 && shift == 1) continue;  // 0 / 0
      for (const double period : {10000.0, 100.0}) {
        Context context;
        const std::vector<double> times = {0, 0.25, 1, 999.75, 500.25};
        const SinusoidOptions options{.width = width, .frequency_shift = shift, .max_period = period, .scale = 3};
        const auto y = sinusoid(of<double>(context, Shape<1>{5}, times), options);
        const Index half = width / 2;
        expect_near(
            y,
            [&](Index p) {
              const Index i = p % width;
              if (i == 2 * half) return 0.0;  // an odd width ends with a zero
              const double angle =
                  3 * times[static_cast<std::size_t>(p / width)] *
                  std::exp(-std::log(period) * static_cast<double>(i % half) / (static_cast<double>(half) - shift));
              return i < half ? std::cos(angle) : std::sin(angle);
            },
            1e-11);
      }
    }
  }
}

TEST(SinusoidOp, InterleavedIsAPermutation) {
  for (const Index width : {2, 6, 7}) {
    Context context;
    const auto t = of<double>(context, Shape<1>{3}, {0, 1.5, 20});
    const auto apart = sinusoid(t, {.width = width, .order = SinusoidOrder::sin_first});
    const auto turns = sinusoid(t, {.width = width, .order = SinusoidOrder::interleaved});
    const Index half = width / 2;
    for (Index b = 0; b < 3; ++b) {
      for (Index i = 0; i < half; ++i) {
        EXPECT_EQ(turns(b, 2 * i), apart(b, i));
        EXPECT_EQ(turns(b, 2 * i + 1), apart(b, half + i));
      }
      if (width % 2 == 1) {
        EXPECT_EQ(turns(b, width - 1), 0.0);
      }
    }
  }
}

// In double, then rounded: what the op gives for the same time in double.
TEST(SinusoidOp, PrecisionOfTheAngles) {
  Context context;
  const SinusoidOptions options{.width = 32, .scale = 3, .precision = aulos::SinusoidPrecision::float64};
  const auto rounded = values(sinusoid(of<float>(context, Shape<1>{2}, {999.75f, 12}), options));
  const auto exact = values(sinusoid(of<double>(context, Shape<1>{2}, {999.75, 12}), options));
  for (std::size_t i = 0; i < exact.size(); ++i) EXPECT_EQ(rounded[i], static_cast<float>(exact[i]));
  EXPECT_NE(rounded, values(sinusoid(of<float>(context, Shape<1>{2}, {999.75f, 12}), {.width = 32, .scale = 3})));
}

TEST(SinusoidOp, ScaleAndFractions) {
  Context context;
  const auto at = [&](float t, double scale) {
    return values(sinusoid(of<float>(context, Shape<1>{1}, {t}), {.width = 16, .scale = scale}));
  };
  EXPECT_EQ(at(0.5f, 1000), at(500, 1));
  EXPECT_NE(at(500.25f, 1), at(500, 1));
  EXPECT_NE(at(257, 1), at(256, 1));
}

TEST(SinusoidOp, KeepsLeadingAxesAndTakesViews) {
  Context context;
  const auto t = of<float>(context, Shape<2>{2, 3}, {1, 2, 3, 4, 5, 6});
  const auto y = sinusoid(t, {.width = 10});
  EXPECT_EQ(y.shape(), (Shape<3>{2, 3, 10}));
  EXPECT_EQ(values(sinusoid(t.slice(1, 1, 2), {.width = 10})), values(y.slice(1, 1, 2)));
  EXPECT_EQ(sinusoid(context.empty<float>(Shape<1>{0}), {.width = 10}).shape(), (Shape<2>{0, 10}));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float v : values(sinusoid(of<float>(context, Shape<1>{1}, {nan}), {.width = 10})))
    EXPECT_TRUE(std::isnan(v));
}

TEST(SinusoidOp, RecordsThreadsAndErrors) {
  const auto run = [](int threads) {
    Context context({.threads = threads});
    const aulos::Scope block(context.scopes(), "blocks", 3);
    Case<float> c(context);
    context.start_profile();
    context.start_capture("blocks.3/sinusoid");
    const std::vector<float> all = values(sinusoid(c.in<1>(Shape<1>{300}, 1, 500, 500), {.width = 64}));
    const auto records = context.stop_profile();
    EXPECT_EQ(records.size(), 1u);
    EXPECT_EQ(std::string(records[0].operation), "sinusoid");
    EXPECT_EQ(records[0].scope, "blocks.3");
    EXPECT_GT(records[0].flops, 0);
    EXPECT_GT(records[0].bytes, 0);
    const auto captured = context.stop_capture<float>();
    EXPECT_EQ(captured.size(), 2u);
    EXPECT_EQ(captured[0].name, "blocks.3/sinusoid:t");
    EXPECT_EQ(captured[1].name, "blocks.3/sinusoid");
    return all;
  };
  EXPECT_EQ(run(1), run(2));
  EXPECT_EQ(run(1), run(3));
  Context dry{Context::Dry{}};
  EXPECT_EQ(sinusoid(dry.empty<float>(Shape<1>{300}), {.width = 64}).shape(), (Shape<2>{300, 64}));
  EXPECT_GT(dry.planned().flops, 0);
  expect_errors({{"width",
                  [](Context& c) { sinusoid(c.zeros<float>(Shape<1>{2}), {.width = 1}); },
                  {"sinusoid: ", "width 1", "expected 2 or more"}},
                 {"empty", [](Context&) { sinusoid(Tensor<float, 1>()); }, {"sinusoid: t is empty"}}});
}

}  // namespace
