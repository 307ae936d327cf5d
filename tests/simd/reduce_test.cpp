#include "aulos/simd/reduce.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace {

namespace simd = aulos::simd;
using aulos::Index;
using simd::Batch;

template <class T>
class SimdReduce : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(SimdReduce, Types);

// The fixed tree: the upper half onto the lower half.
template <class T>
T tree(std::vector<T> x, auto op) {
  for (std::size_t half = x.size() / 2; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) x[i] = op(x[i], x[i + half]);
  }
  return x[0];
}

TYPED_TEST(SimdReduce, FollowsTheTreeBitForBit) {
  using T = TypeParam;
  std::vector<T> x(static_cast<std::size_t>(simd::lanes<T>));
  for (int round = 0; round < 100; ++round) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(T(round) * T(37) + T(i) * T(5)) * std::exp2(T(i % 7));
    const Batch<T> b = simd::load(x.data());
    EXPECT_EQ(simd::reduce_add(b), tree(x, [](T p, T q) { return p + q; }));
    EXPECT_EQ(simd::reduce_max(b), tree(x, [](T p, T q) { return std::fmax(p, q); }));
    EXPECT_EQ(simd::reduce_min(b), tree(x, [](T p, T q) { return std::fmin(p, q); }));
  }
  EXPECT_EQ(simd::reduce_add(T(3)), T(3));
  EXPECT_EQ(simd::reduce_max(T(3)), T(3));
  EXPECT_EQ(simd::reduce_min(T(3)), T(3));
}

TYPED_TEST(SimdReduce, NanInAnyLaneIsTheResult) {
  using T = TypeParam;
  for (Index lane = 0; lane < simd::lanes<T>; ++lane) {
    std::vector<T> x(static_cast<std::size_t>(simd::lanes<T>), T(2));
    x[static_cast<std::size_t>(lane)] = std::numeric_limits<T>::quiet_NaN();
    const Batch<T> b = simd::load(x.data());
    EXPECT_TRUE(std::isnan(simd::reduce_add(b))) << lane;
    EXPECT_TRUE(std::isnan(simd::reduce_max(b))) << lane;
    EXPECT_TRUE(std::isnan(simd::reduce_min(b))) << lane;
  }
}

}  // namespace
