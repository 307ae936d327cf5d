#include "aulos/ops/per_axis.hpp"

#include <gtest/gtest.h>

namespace {

using aulos::Index;
using aulos::PerAxis;
using aulos::Sides;

TEST(PerAxis, OneValueIsForAllAxes) {
  const PerAxis<Index, 2> one = 3, each = {3, 5};
  EXPECT_EQ(one[0], 3);
  EXPECT_EQ(one[1], 3);
  EXPECT_EQ(each[1], 5);
  EXPECT_NE(one, each);
  const PerAxis<Sides, 1> both = 2;
  EXPECT_EQ(both[0], (Sides{2, 2}));
  const PerAxis<Sides, 2> mixed = {Sides{1, 0}, 4};
  EXPECT_EQ(mixed[0], (Sides{1, 0}));
  EXPECT_EQ(mixed[1], (Sides{4, 4}));
}

// torch: padding="same" with kernel 4 pads 1 in front and 2 behind.
TEST(PerAxis, PaddingsOfConvolutions) {
  EXPECT_EQ(aulos::causal_padding(4), (Sides{3, 0}));
  EXPECT_EQ(aulos::causal_padding(3, 8), (Sides{16, 0}));
  EXPECT_EQ(aulos::same_padding(4), (Sides{1, 2}));
  EXPECT_EQ(aulos::same_padding(3, 2), (Sides{2, 2}));
  EXPECT_EQ(aulos::same_padding(1), (Sides{0, 0}));
}

}  // namespace
