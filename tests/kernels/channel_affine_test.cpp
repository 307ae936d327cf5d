#include "aulos/kernels/channel_affine.hpp"

#include <gtest/gtest.h>

#include "aulos/kernels/naive/channel_affine.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;

template <class T>
class ChannelAffineKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ChannelAffineKernel, Types);

TYPED_TEST(ChannelAffineKernel, AgreesWithItsTwin) {
  using T = TypeParam;
  const auto check = [](Index rows, Index columns, Index misalignment) {
    const auto x = Matrix<T>::random(1, rows, columns, misalignment);
    const auto w = Matrix<T>::random(2, 1, columns, misalignment), b = Matrix<T>::random(3, 1, columns);
    for (const bool weighted : {false, true}) {
      for (const bool biased : {false, true}) {
        Matrix<T> want(rows, columns);
        kernels::naive::channel_affine<T>(rows, columns, x.view(), weighted ? w.row(0) : nullptr,
                                          biased ? b.row(0) : nullptr, want.view());
        for (const int threads : thread_counts) {
          aulos::ThreadTeam& team = team_of(threads);
          Matrix<T> y = x;
          kernels::channel_affine<T>(team.threads(), rows, columns, y.view(), weighted ? w.row(0) : nullptr,
                                     biased ? b.row(0) : nullptr, y.view());
          expect_close(y, want, 1);
        }
      }
    }
  };
  sweep<T>([&](Index columns, Index misalignment) { check(3, columns, misalignment); });
  check(0, 5, 0);
  check(700, 61, 1);
}

}  // namespace
