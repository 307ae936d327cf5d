#include "aulos/diffusion/learned_range.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "aulos/core/context.hpp"

namespace {

using namespace aulos::diffusion;
using aulos::Context;
using aulos::Index;
using aulos::Shape;

TEST(LearnedRange, SplitsChannels) {
  Context context({.threads = 1});
  const auto x = context.zeros<float>(Shape<4>{2, 3, 2, 2});
  const auto output = context.normal<float>(Shape<4>{2, 6, 2, 2});
  const auto parts = split_range(output, x);
  for (Index b = 0; b < 2; ++b)
    for (Index c = 0; c < 3; ++c) {
      EXPECT_EQ(parts.prediction(b, c, 1, 0), output(b, c, 1, 0));
      EXPECT_EQ(parts.range(b, c, 1, 0), output(b, 3 + c, 1, 0));
    }
  try {
    split_range(x, x);
    ADD_FAILURE();
  } catch (const aulos::ShapeError& error) {
    EXPECT_STREQ(error.what(), "learned range: output [2, 3, 2, 2] for x [2, 3, 2, 2], expected twice its channels");
  }
}

TEST(LearnedRange, RunsFromTheSmallestToTheLargest) {
  Context context({.threads = 1});
  const double v[] = {-1, 1, 0, 3};
  const auto d = detail::learned_deviation(context.from(Shape<2>{1, 4}, v), 0.01, 0.09);
  EXPECT_NEAR(d(0, 0), 0.1, 1e-14);
  EXPECT_NEAR(d(0, 1), 0.3, 1e-14);
  EXPECT_NEAR(d(0, 2), std::sqrt(0.03), 1e-14);  // the geometric mean
  EXPECT_NEAR(d(0, 3), 0.9, 1e-14);              // beyond: extrapolated
}

}  // namespace
