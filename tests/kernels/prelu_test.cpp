#include "aulos/kernels/prelu.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "aulos/kernels/naive/prelu.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;

template <class T>
class PreluKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(PreluKernel, Types);

TYPED_TEST(PreluKernel, AgreesWithItsTwin) {
  using T = TypeParam;
  const auto check = [](Index count, Index misalignment) {
    const auto size = static_cast<std::size_t>(count + misalignment + 1);
    std::vector<T> x(size), gy(size), want(size, T(-7)), want_gx(size, T(-7));
    for (std::size_t i = 0; i < size; ++i) x[i] = static_cast<T>(noise(1, i)), gy[i] = static_cast<T>(noise(2, i));
    const T slope = T(0.25);
    kernels::naive::prelu<T>(count, x.data() + misalignment, slope, want.data() + misalignment);
    const double sum = kernels::naive::prelu_backward<T>(count, x.data() + misalignment, slope,
                                                         gy.data() + misalignment, want_gx.data() + misalignment);
    std::vector<T> first;
    for (const int threads : thread_counts) {
      aulos::ThreadTeam& team = team_of(threads);
      std::vector<T> y(size, T(-7)), gx(size, T(-7));
      std::vector<double> partials(static_cast<std::size_t>(kernels::prelu_partials(count)) + 1);
      T gslope = T(0.5);
      kernels::prelu<T>(team.threads(), count, x.data() + misalignment, &slope, y.data() + misalignment);
      kernels::prelu_backward<T>(team.threads(), count, x.data() + misalignment, &slope, gy.data() + misalignment,
                                 gx.data() + misalignment, &gslope, partials.data());
      ASSERT_EQ(y, want);
      ASSERT_EQ(gx, want_gx);
      const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
      ASSERT_NEAR(static_cast<double>(gslope), 0.5 + sum, eps * (8 + 0.1 * static_cast<double>(count)));
      if (threads == 1) first = {gslope};
      ASSERT_EQ(gslope, first[0]);
    }
  };
  sweep<T>(check);
  check(50000, 1);
}

TYPED_TEST(PreluKernel, NaNAndInfinities) {
  using T = TypeParam;
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN(), slope = T(0.5);
  const std::vector<T> x{inf, -inf, nan, T(0), T(-2)};
  std::vector<T> y(5);
  kernels::prelu<T>(aulos::Threads::serial(), 5, x.data(), &slope, y.data());
  EXPECT_EQ(y[0], inf);
  EXPECT_EQ(y[1], -inf);
  EXPECT_TRUE(std::isnan(y[2]));
  EXPECT_EQ(y[3], T(0));
  EXPECT_EQ(y[4], T(-1));
}

}  // namespace
