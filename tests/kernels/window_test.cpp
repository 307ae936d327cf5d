#include "aulos/kernels/window.hpp"

#include <gtest/gtest.h>

namespace {

using aulos::Index;
using aulos::kernels::WindowAxis;

// What PyTorch gives for conv1d (computed by its formula, floor((in + 2 p - d (k - 1) - 1) / s) + 1).
TEST(Window, CountsOutputs) {
  EXPECT_EQ(WindowAxis::outputs(9, 1, 1, 3, 2, 1), 5);
  EXPECT_EQ(WindowAxis::outputs(9, 0, 0, 3, 1, 4), 1);
  EXPECT_EQ(WindowAxis::outputs(9, 3, 0, 4, 1, 1), 9);
  EXPECT_EQ(WindowAxis::outputs(5, 0, 0, 2, 2, 1), 2);
  EXPECT_EQ(WindowAxis::outputs(2, 0, 0, 3, 1, 1), 0);
  EXPECT_EQ(WindowAxis::outputs(0, 0, 0, 1, 1, 1), 0);
  EXPECT_EQ(WindowAxis::outputs(0, 1, 1, 1, 1, 1), 2);
}

// Against counting: which outputs meet a stretch of inputs, by one element of the window or by any.
TEST(Window, FindsTheOutputsThatMeetInputs) {
  for (Index in = 0; in <= 7; ++in)
    for (Index kernel = 1; kernel <= 3; ++kernel)
      for (Index stride = 1; stride <= 4; ++stride)
        for (Index padding = 0; padding <= 3; ++padding)
          for (Index dilation = 1; dilation <= 3; ++dilation) {
            WindowAxis axis{
                in, WindowAxis::outputs(in, padding, 2, kernel, stride, dilation), kernel, stride, padding, dilation};
            ASSERT_EQ(axis.span(), (kernel - 1) * dilation + 1);
            for (Index from = 0; from < in; ++from) {
              for (Index to = from + 1; to <= in; ++to) {
                for (Index k = 0; k < kernel; ++k) {
                  const auto hits = axis.hits(k, from, to, 0, axis.out);
                  for (Index o = 0; o < axis.out; ++o) {
                    const Index at = axis.source(o, k);
                    ASSERT_EQ(at >= from && at < to, o >= hits.begin && o < hits.end);
                  }
                  const auto part = axis.hits(k, from, to, axis.out / 2, axis.out);
                  ASSERT_GE(part.begin, axis.out / 2);
                  ASSERT_LE(part.begin, part.end);
                  ASSERT_LE(part.end, axis.out);
                }
                const auto touching = axis.touching(from, to);
                ASSERT_LE(touching.begin, touching.end);
                for (Index o = 0; o < axis.out; ++o) {
                  const bool touches = axis.source(o, 0) < to && axis.source(o, kernel - 1) >= from;
                  ASSERT_EQ(touches, o >= touching.begin && o < touching.end);
                }
              }
            }
          }
}

}  // namespace
