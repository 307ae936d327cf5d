#include "aulos/kernels/pointwise_loss.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/sweep.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;

template <class T>
class PointwiseLossKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(PointwiseLossKernel, Types);

struct Terms {
  double value, by_x, by_target;
};

// f against its formula in double, the sums and gradients for all lengths.
template <class T, class F, class Formula>
void check(const F& f, const Formula& formula, double scale, double offset, Index length, Index misalignment) {
  const auto n = static_cast<std::size_t>(length + misalignment);
  std::vector<T> x(n), t(n);
  for (std::size_t i = 0; i < n; ++i) {
    x[i] = static_cast<T>(3 * noise(1, i));
    t[i] = i % 5 == 3 ? static_cast<T>(offset - scale < 0 ? x[i] : T(0)) : static_cast<T>(offset + scale * noise(2, i));
  }
  long double want = 0;
  std::vector<Terms> terms;
  for (std::size_t i = static_cast<std::size_t>(misalignment); i < n; ++i) {
    terms.push_back(formula(static_cast<double>(x[i]), static_cast<double>(t[i])));
    want += terms.back().value;
  }
  double first = 0;
  for (const int threads : {1, 2, 3}) {
    aulos::ThreadTeam team(threads);
    std::vector<double> partial(static_cast<std::size_t>(kernels::loss_chunks(length)));
    const double sum = kernels::pointwise_loss<T>(team.threads(), f, length, x.data() + misalignment,
                                                  t.data() + misalignment, partial.data());
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    ASSERT_NEAR(sum, static_cast<double>(want), 4 * eps * std::max(1.0, static_cast<double>(length)));
    if (threads == 1) first = sum;
    ASSERT_EQ(sum, first);
    std::vector<T> gx(terms.size()), gt(terms.size());
    kernels::pointwise_loss_backward<T>(team.threads(), f, length, x.data() + misalignment, t.data() + misalignment,
                                        T(0.5), gx.data(), gt.data());
    for (std::size_t i = 0; i < terms.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(gx[i]), terms[i].by_x / 2, 8 * eps) << i;
      ASSERT_NEAR(static_cast<double>(gt[i]), terms[i].by_target / 2, 8 * eps * std::fabs(terms[i].by_target) + 8 * eps)
          << i;
    }
  }
}

template <class T, class F, class Formula>
void check_lengths(const F& f, const Formula& formula, double scale = 3, double offset = 0) {
  sweep<T>([&](Index n, Index misalignment) { check<T>(f, formula, scale, offset, n, misalignment); });
  for (const Index n : {4095, 4096, 4097, 20000}) check<T>(f, formula, scale, offset, n, 1);
}

double sign(double d) { return d > 0 ? 1 : d < 0 ? -1 : 0; }

TYPED_TEST(PointwiseLossKernel, AgreesWithTheFormulas) {
  using T = TypeParam;
  check_lengths<T>(kernels::AbsoluteError<T>{}, [](double x, double t) {
    return Terms{std::fabs(x - t), sign(x - t), -sign(x - t)};
  });
  const double delta = static_cast<double>(T(0.7));
  check_lengths<T>(kernels::HuberError<T>{T(0.7), T(1)}, [delta](double x, double t) {
    const double d = x - t, a = std::fabs(d);
    const double slope = a <= delta ? d : delta * sign(d);
    return Terms{a <= delta ? d * d / 2 : delta * (a - delta / 2), slope, -slope};
  });
  check_lengths<T>(
      kernels::KlTerm<T>{},
      [](double x, double t) {
        return t == 0 ? Terms{0, -t, 0} : Terms{t * (std::log(t) - x), -t, std::log(t) + 1 - x};
      },
      0.49, 0.5);
  check_lengths<T>(
      kernels::BinaryCrossEntropy<T>{},
      [](double x, double t) {
        const double p = 1 / (1 + std::exp(-x));
        return Terms{-t * std::log(p) - (1 - t) * std::log(1 - p), p - t, -x};
      },
      0.49, 0.5);
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
