#include "aulos/conditioning/position_table.hpp"

#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using namespace aulos::conditioning;

TEST(PositionTables, AlongALine) {
  Context context({.threads = 1});
  const auto lines = position_table<double>(context, 5, position_sinusoid(6));
  const auto alternating = position_table<double>(context, 5, interleaved_sinusoid(6));
  ASSERT_EQ(lines.shape(), (Shape<2>{5, 6}));
  for (Index p = 0; p < 5; ++p)
    for (Index i = 0; i < 3; ++i) {
      const double angle = static_cast<double>(p) * std::pow(10000.0, -static_cast<double>(i) / 3);
      EXPECT_NEAR(lines(p, i), std::sin(angle), 1e-14);
      EXPECT_NEAR(lines(p, 3 + i), std::cos(angle), 1e-14);
      EXPECT_NEAR(alternating(p, 2 * i), std::sin(angle), 1e-14);
      EXPECT_NEAR(alternating(p, 2 * i + 1), std::cos(angle), 1e-14);
    }
  EXPECT_EQ(position_table<float>(context, 0, position_sinusoid(6)).shape(), (Shape<2>{0, 6}));
}

// The column in the first half of the channels, the row in the second.
TEST(PositionTables, OverAGrid) {
  Context context({.threads = 1});
  const auto grid = position_table_2d<double>(context, {.rows = 2, .columns = 3}, 8);
  ASSERT_EQ(grid.shape(), (Shape<2>{6, 8}));
  for (Index r = 0; r < 2; ++r)
    for (Index c = 0; c < 3; ++c)
      for (Index i = 0; i < 2; ++i) {
        const double frequency = i == 0 ? 1 : 0.01;  // 10000^(-i / 2)
        const double x = static_cast<double>(c) * frequency, y = static_cast<double>(r) * frequency;
        const Index at = r * 3 + c;
        EXPECT_NEAR(grid(at, i), std::sin(x), 1e-14);
        EXPECT_NEAR(grid(at, 2 + i), std::cos(x), 1e-14);
        EXPECT_NEAR(grid(at, 4 + i), std::sin(y), 1e-14);
        EXPECT_NEAR(grid(at, 6 + i), std::cos(y), 1e-14);
      }
}

// A grid of 4 by 8 in a model trained at 2, with scale 2: rows 0, 1/4, 1/2, 3/4, columns in steps of 1/8.
TEST(PositionTables, Interpolated) {
  Context context({.threads = 1});
  const auto grid = position_table_2d<double>(context, {.rows = 4, .columns = 8, .base = 2, .scale = 2}, 4);
  for (Index r = 0; r < 4; ++r)
    for (Index c = 0; c < 8; ++c) {
      EXPECT_NEAR(grid(r * 8 + c, 0), std::sin(static_cast<double>(c) / 8), 1e-14);
      EXPECT_NEAR(grid(r * 8 + c, 3), std::cos(static_cast<double>(r) / 4), 1e-14);
    }
}

TEST(PositionTableErrors, Widths) {
  Context context({.threads = 1});
  EXPECT_THROW(position_table_2d<float>(context, {.rows = 2, .columns = 2}, 6), aulos::ConfigError);
  EXPECT_THROW(position_table_2d<float>(context, {.rows = 2, .columns = 2}, 0), aulos::ConfigError);
  EXPECT_THROW(position_table<float>(context, 2, position_sinusoid(1)), aulos::ShapeError);
  EXPECT_EQ(position_table_2d<float>(context, {.rows = 0, .columns = 2}, 4).shape(), (Shape<2>{0, 4}));
}

}  // namespace
