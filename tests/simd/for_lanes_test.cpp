#include "aulos/simd/for_lanes.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "aulos/simd/reduce.hpp"

namespace {

namespace simd = aulos::simd;
using aulos::Index;

template <class T>
class ForLanes : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ForLanes, Types);

TYPED_TEST(ForLanes, VisitsEveryElementOnce) {
  using T = TypeParam;
  for (Index length = 0; length <= 67; ++length) {
    std::vector<T> x(static_cast<std::size_t>(length)), y(static_cast<std::size_t>(length), T(0));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i + 1);
    T smallest = 1000, sum = 0;
    simd::for_lanes<T>(length, [&](Index i, auto part) {
      const simd::Batch<T> v = part.load(&x[static_cast<std::size_t>(i)]);
      part.store(&y[static_cast<std::size_t>(i)], part.load(&y[static_cast<std::size_t>(i)]) + v + v);
      smallest = std::min(smallest, simd::reduce_min(part.keep(v, T(1000))));
      sum += simd::reduce_add(part.keep(v - simd::Batch<T>(T(1)), T(0)));
    });
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(y[i], 2 * x[i]);
    EXPECT_EQ(smallest, length == 0 ? T(1000) : T(1));
    EXPECT_EQ(sum, static_cast<T>(length * (length - 1) / 2));
  }
}

}  // namespace
