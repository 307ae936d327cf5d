#include "aulos/simd/unroll.hpp"

#include <gtest/gtest.h>

namespace {

TEST(Unroll, LeavesTheLoopAsItWas) {
  int sum = 0;
  AULOS_UNROLL
  for (int i = 0; i < 12; ++i) sum += i * i;
  EXPECT_EQ(sum, 506);
  AULOS_NO_UNROLL
  for (int i = 0; i < 12; ++i) sum -= i;
  EXPECT_EQ(sum, 440);
}

}  // namespace
