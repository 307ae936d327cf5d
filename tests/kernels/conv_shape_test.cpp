#include "aulos/kernels/conv_shape.hpp"

#include <gtest/gtest.h>

namespace {

using aulos::kernels::ConvShape;

TEST(ConvShape, CountsWhatPyTorchCounts) {
  const ConvShape s{2, 3, 4, 5, {7, 6, 2}, {9, 4, 3, 2}};  // torch: weight [15, 4, 2, 3], groups 3
  EXPECT_EQ(s.taps(), 6);
  EXPECT_EQ(s.depth(), 24);
  EXPECT_EQ(s.plane(), 63);
  EXPECT_EQ(s.positions(), 24);
  EXPECT_EQ(s.flops(), 2.0 * 2 * 15 * 24 * 24);
  EXPECT_FALSE(s.depthwise());
  EXPECT_TRUE((ConvShape{1, 8, 1, 1, {}, {}}.depthwise()));
  EXPECT_TRUE((ConvShape{1, 8, 1, 4, {}, {}}.depthwise()));
  EXPECT_FALSE((ConvShape{1, 1, 1, 64, {}, {}}.depthwise()));  // the encoder of a waveform is a product
}

}  // namespace
