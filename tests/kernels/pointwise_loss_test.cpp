#include "aulos/kernels/pointwise_loss.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "aulos/kernels/naive/pointwise_loss.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;

template <class T>
class PointwiseLossKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(PointwiseLossKernel, Types);

// f against its twin in double: the sum and the gradients.
template <class T, class F, class Naive>
void check(const F& f, const Naive& naive, double scale, double offset, Index length, Index misalignment) {
  const auto n = static_cast<std::size_t>(length + misalignment), count = static_cast<std::size_t>(length);
  std::vector<T> x(n), t(n), want_gx(count), want_gt(count);
  for (std::size_t i = 0; i < n; ++i) {
    x[i] = static_cast<T>(3 * noise(1, i));
    t[i] = i % 5 == 3 ? static_cast<T>(offset - scale < 0 ? x[i] : T(0)) : static_cast<T>(offset + scale * noise(2, i));
  }
  const T *px = x.data() + misalignment, *pt = t.data() + misalignment;
  const double want = kernels::naive::pointwise_loss<T>(naive, length, px, pt);
  kernels::naive::pointwise_loss_backward<T>(naive, length, px, pt, 0.5, want_gx.data(), want_gt.data());
  double first = 0;
  for (const int threads : thread_counts) {
    aulos::ThreadTeam& team = team_of(threads);
    std::vector<double> partial(static_cast<std::size_t>(kernels::loss_chunks(length)));
    const double sum = kernels::pointwise_loss<T>(team.threads(), f, length, px, pt, partial.data());
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    ASSERT_NEAR(sum, want, 4 * eps * std::max(1.0, static_cast<double>(length)));
    if (threads == 1) first = sum;
    ASSERT_EQ(sum, first);
    std::vector<T> gx(count), gt(count);
    kernels::pointwise_loss_backward<T>(team.threads(), f, length, px, pt, T(0.5), gx.data(), gt.data());
    for (std::size_t i = 0; i < count; ++i) {
      const double by_x = static_cast<double>(want_gx[i]), by_target = static_cast<double>(want_gt[i]);
      ASSERT_NEAR(static_cast<double>(gx[i]), by_x, 8 * eps) << i;
      ASSERT_NEAR(static_cast<double>(gt[i]), by_target, 8 * eps * (1 + 2 * std::fabs(by_target))) << i;
    }
  }
}

template <class T, class F, class Naive>
void check_lengths(const F& f, const Naive& naive, double scale = 3, double offset = 0) {
  sweep<T>([&](Index n, Index misalignment) { check<T>(f, naive, scale, offset, n, misalignment); });
  for (const Index n : {4095, 4096, 4097, 20000}) check<T>(f, naive, scale, offset, n, 1);
}

TYPED_TEST(PointwiseLossKernel, AgreesWithTheNaiveTwin) {
  using T = TypeParam;
  check_lengths<T>(kernels::AbsoluteError<T>{}, kernels::naive::absolute_error);
  for (const T slope : {T(1), T(2.5)}) {
    check_lengths<T>(kernels::HuberError<T>{T(0.7), slope}, [slope](double x, double t) {
      return kernels::naive::huber_error(x, t, static_cast<double>(T(0.7)), static_cast<double>(slope));
    });
  }
  check_lengths<T>(kernels::KlTerm<T>{}, kernels::naive::kl_term, 0.49, 0.5);
  check_lengths<T>(kernels::BinaryCrossEntropy<T>{}, kernels::naive::binary_cross_entropy, 0.49, 0.5);
}

TYPED_TEST(PointwiseLossKernel, LargeLogitsAndNaN) {
  using T = TypeParam;
  const kernels::BinaryCrossEntropy<T> f;
  for (const T x : {T(88), T(104), T(1e4)}) {
    EXPECT_EQ(f(x, T(1)), T(0) + f(-x, T(0)));
    EXPECT_LE(f(x, T(1)), T(1e-37));
    EXPECT_EQ(f(x, T(0)), x);
    EXPECT_EQ(f(-x, T(1)), x);
  }
  const T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
  EXPECT_EQ(kernels::KlTerm<T>{}(-inf, T(0)), T(0));
  EXPECT_TRUE(std::isnan(f(nan, T(1))));
  EXPECT_TRUE(std::isnan(kernels::AbsoluteError<T>{}(nan, T(1))));
  EXPECT_TRUE(std::isnan((kernels::HuberError<T>{T(1), T(1)}(nan, T(1)))));
  EXPECT_TRUE(std::isnan(kernels::KlTerm<T>{}(nan, T(1))));
}

}  // namespace
