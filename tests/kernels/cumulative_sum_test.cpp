#include "aulos/kernels/cumulative_sum.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "aulos/kernels/naive/cumulative_sum.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;
using kernels::SumDirection;

template <class T>
class CumulativeSumKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(CumulativeSumKernel, Types);

template <class T>
void check(Index outer, Index length, Index inner, Index misalignment = 0) {
  const Index count = outer * length * inner;
  std::vector<T> x(static_cast<std::size_t>(count + misalignment)), want(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(noise(1, i));
  for (const SumDirection direction : {SumDirection::forward, SumDirection::backward}) {
    kernels::naive::cumulative_sum<T>(direction, outer, length, inner, x.data() + misalignment, want.data());
    for (const int threads : thread_counts) {
      aulos::ThreadTeam& team = team_of(threads);
      std::vector<T> y(static_cast<std::size_t>(count + misalignment), T(-7));
      kernels::cumulative_sum<T>(team.threads(), direction, outer, length, inner, x.data() + misalignment,
                                 y.data() + misalignment);
      for (Index i = 0; i < count; ++i)  // backward the twin adds in the other order
        ASSERT_NEAR(y[static_cast<std::size_t>(i + misalignment)], want[static_cast<std::size_t>(i)],
                    static_cast<double>(length) * (sizeof(T) == 4 ? 1e-7 : 1e-15));
      std::vector<T> place = x;
      kernels::cumulative_sum<T>(team.threads(), direction, outer, length, inner, place.data() + misalignment,
                                 place.data() + misalignment);
      ASSERT_TRUE(std::equal(place.begin() + misalignment, place.end(), y.begin() + misalignment));
    }
  }
}

TYPED_TEST(CumulativeSumKernel, AgreesWithTheNaiveTwin) {
  using T = TypeParam;
  sweep<T>([](Index n, Index misalignment) {
    check<T>(3, n, 1, misalignment);
    check<T>(2, 5, n, misalignment);
    check<T>(1, n, 3, misalignment);
  });
  for (const Index inner : {127, 128, 129, 300}) check<T>(2, 3, inner);
  check<T>(70, 300, 1);
  check<T>(0, 3, 4);
  check<T>(3, 0, 4);
}

TYPED_TEST(CumulativeSumKernel, AddsInDouble) {
  using T = TypeParam;
  std::vector<T> x(100001, T(1e-4f)), y(x.size());
  x[0] = T(1e4);
  kernels::cumulative_sum<T>(aulos::Threads::serial(), SumDirection::forward, 1, 100001, 1, x.data(), y.data());
  double sum = 1e4;
  for (int i = 0; i < 100000; ++i) sum += static_cast<double>(T(1e-4f));
  EXPECT_EQ(y.back(), static_cast<T>(sum));
}

TYPED_TEST(CumulativeSumKernel, NaNStaysFromItsPlaceOn) {
  using T = TypeParam;
  for (const Index inner : {1, 2}) {
    std::vector<T> x(10, T(1)), y(10);
    x[4] = std::numeric_limits<T>::quiet_NaN();
    kernels::cumulative_sum<T>(aulos::Threads::serial(), SumDirection::forward, 1, 10 / inner, inner, x.data(),
                               y.data());
    for (Index i = 0; i < 10; ++i)
      EXPECT_EQ(std::isnan(y[static_cast<std::size_t>(i)]), i >= 4 && (inner == 1 || i % 2 == 0)) << i;
  }
}

}  // namespace
