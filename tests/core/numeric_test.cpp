#include "aulos/core/numeric.hpp"

#include <gtest/gtest.h>

#include "aulos/core/context.hpp"

namespace {

using aulos::Context;
using aulos::Numeric;

TEST(Numeric, Names) {
  EXPECT_STREQ(name_of(Numeric::exact), "exact");
  EXPECT_STREQ(name_of(Numeric::bf16), "bf16");
  EXPECT_STREQ(name_of(Numeric::int8), "int8");
}

TEST(Numeric, AContextIsExactUnlessAskedOtherwise) {
  EXPECT_EQ(Context({.threads = 1}).numeric(), Numeric::exact);
  Context context({.threads = 1, .numeric = Numeric::bf16});
  EXPECT_EQ(context.numeric(), Numeric::bf16);
  context.set_numeric(Numeric::int8);
  EXPECT_EQ(context.numeric(), Numeric::int8);
}

}  // namespace
