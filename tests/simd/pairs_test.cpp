#include "aulos/simd/pairs.hpp"

#include <gtest/gtest.h>

namespace {

using aulos::Index;
using aulos::simd::Batch;
using aulos::simd::lanes;

template <class T>
class Pairs : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Pairs, Types);

TYPED_TEST(Pairs, MoveLanes) {
  using T = TypeParam;
  const Batch<T> x = aulos::simd::iota<T>(T(1));
  for (Index i = 0; i < lanes<T>; ++i) {
    EXPECT_EQ(swap_pairs(x).get(i), T(1 + (i ^ 1)));
    EXPECT_EQ(repeat_lower(x).get(i), T(1 + i / 2));
    EXPECT_EQ(repeat_upper(x).get(i), T(1 + lanes<T> / 2 + i / 2));
    EXPECT_EQ(aulos::simd::alternating_signs<T>().get(i), i % 2 == 0 ? T(-1) : T(1));
  }
}

}  // namespace
