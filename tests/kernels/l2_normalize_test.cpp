#include "aulos/kernels/l2_normalize.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "aulos/kernels/naive/l2_normalize.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;

template <class T>
class L2NormalizeKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(L2NormalizeKernel, Types);

TYPED_TEST(L2NormalizeKernel, AgreesWithTheNaiveTwin) {
  using T = TypeParam;
  const auto check = [](Index rows, Index n, Index misalignment, double eps) {
    const auto x = Matrix<T>::random(1, rows, n, misalignment), gy = Matrix<T>::random(2, rows, n, misalignment);
    Matrix<T> want(rows, n), want_gx(rows, n);
    kernels::naive::l2_normalize<T>(rows, n, eps, x.view(), want.view());
    kernels::naive::l2_normalize_backward<T>(rows, n, eps, x.view(), gy.view(), want_gx.view());
    Matrix<T> first(rows, n, misalignment);
    for (const int threads : thread_counts) {
      aulos::ThreadTeam& team = team_of(threads);
      Matrix<T> y(rows, n, misalignment), gx = gy;
      kernels::l2_normalize<T>(team.threads(), rows, n, eps, x.view(), y.view());
      kernels::l2_normalize_backward<T>(team.threads(), rows, n, eps, x.view(), std::as_const(gx).view(), gx.view());
      expect_close(y, want, 4);
      expect_close(gx, want_gx, 16);
      if (threads == 1) first = y;
      expect_same_bits(y, first);
    }
  };
  sweep<T>([&](Index n, Index misalignment) {
    check(3, n, misalignment, 1e-12);
    check(3, n, misalignment, 3);  // longer and shorter rows
  });
  check(300, 130, 0, 1e-12);
}

TYPED_TEST(L2NormalizeKernel, EpsIsALowerBoundOfTheLength) {
  using T = TypeParam;
  Matrix<T> x(2, 2), y(2, 2), gy(2, 2), gx(2, 2);
  x.fill([](Index r, Index c) { return r == 1 ? 0 : c == 0 ? 3e-5 : 4e-5; });
  gy.fill([](Index, Index c) { return c == 0 ? 1 : -2; });
  kernels::l2_normalize<T>(aulos::Threads::serial(), 2, 2, 1e-12, std::as_const(x).view(), y.view());
  EXPECT_NEAR(y.at(0, 0), 0.6, 1e-6);
  EXPECT_NEAR(y.at(0, 1), 0.8, 1e-6);
  EXPECT_EQ(y.at(1, 0), T(0));
  kernels::l2_normalize_backward<T>(aulos::Threads::serial(), 2, 2, 1e-12, std::as_const(x).view(),
                                    std::as_const(gy).view(), gx.view());
  EXPECT_NEAR(gx.at(1, 0) / T(1e12), 1, 1e-6);  // of zeros: gy / eps
  EXPECT_NEAR(gx.at(1, 1) / T(1e12), -2, 1e-6);
}

TYPED_TEST(L2NormalizeKernel, NaNMakesItsRowNaN) {
  using T = TypeParam;
  for (Index n = 1; n <= 2 * aulos::simd::lanes<T> + 1; ++n) {
    for (Index place = 0; place < n; ++place) {
      auto x = Matrix<T>::random(1, 3, n);
      x.at(1, place) = std::numeric_limits<T>::quiet_NaN();
      kernels::l2_normalize<T>(aulos::Threads::serial(), 3, n, 1e-12, std::as_const(x).view(), x.view());
      for (Index c = 0; c < n; ++c) {
        ASSERT_TRUE(std::isnan(x.at(1, c)));
        ASSERT_FALSE(std::isnan(x.at(0, c)) || std::isnan(x.at(2, c)));
      }
    }
  }
}

}  // namespace
