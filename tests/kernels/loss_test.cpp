#include "aulos/kernels/loss.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "aulos/kernels/naive/loss.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;

template <class T>
class CrossEntropyKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(CrossEntropyKernel, Types);

constexpr std::int64_t ignore = -100;

template <class T>
struct Run {
  Run(const Matrix<T>& x, const std::vector<std::int64_t>& labels, double smoothing, double weight, int threads = 1) {
    aulos::ThreadTeam team(threads);
    loss.assign(labels.size() + 1, T(-7));
    lse.assign(2 * labels.size() + 1, -7);
    gradient.assign(static_cast<std::size_t>(x.rows() * x.columns()) + 1, T(-7));
    kernels::cross_entropy<T>(team.threads(), x.row(0), x.stride(), labels.data(), x.rows(), x.columns(), ignore,
                              smoothing, loss.data(), lse.data());
    kernels::cross_entropy_backward<T>(team.threads(), x.row(0), x.stride(), labels.data(), lse.data(), x.rows(),
                                       x.columns(), ignore, smoothing, weight, gradient.data());
  }
  std::vector<T> loss;
  std::vector<double> lse;
  std::vector<T> gradient;
};

TYPED_TEST(CrossEntropyKernel, AgreesWithTheNaiveTwin) {
  using T = TypeParam;
  constexpr T eps = std::numeric_limits<T>::epsilon();
  for (const Index rows : {0, 1, 5, 16, 40}) {
    for (const Index classes : {1, 2, 3, 17, 100}) {
      const auto x = Matrix<T>::random(1, rows, classes, 1, 4);
      std::vector<std::int64_t> labels;
      for (Index r = 0; r < rows; ++r) labels.push_back(r % 7 == 3 ? ignore : r * 5 % classes);
      for (const double smoothing : {0.0, 0.1, 1.0}) {
        const Run<T> run(x, labels, smoothing, 0.75);
        std::vector<T> loss(static_cast<std::size_t>(rows)), gradient(static_cast<std::size_t>(rows * classes));
        kernels::naive::cross_entropy<T>(x.row(0), x.stride(), labels.data(), rows, classes, ignore, smoothing,
                                         loss.data());
        kernels::naive::cross_entropy_backward<T>(x.row(0), x.stride(), labels.data(), rows, classes, ignore, smoothing,
                                                  0.75, gradient.data());
        for (std::size_t r = 0; r < loss.size(); ++r)
          ASSERT_NEAR(run.loss[r], loss[r], 16 * eps * (1 + std::fabs(loss[r])));
        for (std::size_t i = 0; i < gradient.size(); ++i) ASSERT_NEAR(run.gradient[i], gradient[i], 2 * eps);
        ASSERT_EQ(run.loss.back(), T(-7));
        ASSERT_EQ(run.lse.back(), -7);
        ASSERT_EQ(run.gradient.back(), T(-7));
      }
    }
  }
}

TYPED_TEST(CrossEntropyKernel, EveryNumberOfClassesAndAlignment) {
  using T = TypeParam;
  constexpr T eps = std::numeric_limits<T>::epsilon();
  sweep<T>([&](Index classes, Index misalignment) {
    if (classes == 0) return;  // no label is right then
    const auto x = Matrix<T>::random(4, 3, classes, misalignment, 4);
    const std::vector<std::int64_t> labels{0, ignore, classes - 1};
    const Run<T> run(x, labels, 0.1, 0.75);
    std::vector<T> loss(3), gradient(static_cast<std::size_t>(3 * classes));
    kernels::naive::cross_entropy<T>(x.row(0), x.stride(), labels.data(), 3, classes, ignore, 0.1, loss.data());
    kernels::naive::cross_entropy_backward<T>(x.row(0), x.stride(), labels.data(), 3, classes, ignore, 0.1, 0.75,
                                              gradient.data());
    for (std::size_t r = 0; r < 3; ++r) ASSERT_NEAR(run.loss[r], loss[r], 16 * eps * (1 + std::fabs(loss[r])));
    for (std::size_t i = 0; i < gradient.size(); ++i) ASSERT_NEAR(run.gradient[i], gradient[i], 2 * eps);
  });
}

// The gradient of sum(loss) by central differences of the loss itself.
TYPED_TEST(CrossEntropyKernel, GradientIsTheDerivative) {
  using T = TypeParam;
  if constexpr (std::is_same_v<T, double>) {
    auto x = Matrix<T>::random(2, 3, 5, 0, 3);
    const std::vector<std::int64_t> labels = {4, ignore, 0};
    const auto total = [&] {
      const Run<T> run(x, labels, 0.2, 1);
      return run.loss[0] + run.loss[1] + run.loss[2];
    };
    const Run<T> run(x, labels, 0.2, 1);
    for (Index r = 0; r < 3; ++r) {
      for (Index c = 0; c < 5; ++c) {
        const double before = x.at(r, c);
        x.at(r, c) = before + 1e-5;
        const double above = total();
        x.at(r, c) = before - 1e-5;
        const double below = total();
        x.at(r, c) = before;
        EXPECT_NEAR(run.gradient[static_cast<std::size_t>(r * 5 + c)], (above - below) / 2e-5, 1e-9) << r << ' ' << c;
      }
    }
  }
}

TYPED_TEST(CrossEntropyKernel, LargeLogits) {
  using T = TypeParam;
  Matrix<T> x(3, 3);
  const double logits[3][3] = {{1e4, 0, 0}, {-1e30, -1e30, -1e30}, {1000, 999, -1e30}};
  x.fill([&](Index r, Index c) { return logits[r][c]; });
  const Run<T> run(x, {1, 2, 0}, 0, 1);
  EXPECT_EQ(run.loss[0], T(1e4));
  EXPECT_NEAR(static_cast<double>(run.loss[1]), std::log(3.0), 1e-6);
  EXPECT_NEAR(static_cast<double>(run.loss[2]), std::log1p(std::exp(-1.0)), 1e-6);
  for (const std::size_t c : {0u, 1u, 2u})
    EXPECT_NEAR(static_cast<double>(run.gradient[3 + c]), c == 2 ? -2.0 / 3 : 1.0 / 3, 1e-6);
  EXPECT_EQ(run.gradient[0], T(1));
  EXPECT_EQ(run.gradient[1], T(-1));
}

TYPED_TEST(CrossEntropyKernel, NonFiniteLogits) {
  using T = TypeParam;
  constexpr T inf = std::numeric_limits<T>::infinity();
  auto x = Matrix<T>::random(3, 4, 3);
  x.at(0, 1) = std::numeric_limits<T>::quiet_NaN();
  x.at(1, 0) = -inf;  // a class that is impossible, and is not the label
  x.at(2, 0) = -inf;  // and one that is
  const Run<T> run(x, {0, 1, 0, 2}, 0, 1);
  EXPECT_TRUE(std::isnan(run.loss[0]));
  for (std::size_t c = 0; c < 3; ++c) EXPECT_TRUE(std::isnan(run.gradient[c]));
  EXPECT_TRUE(std::isfinite(run.loss[1]));
  EXPECT_EQ(run.gradient[3], T(0));
  EXPECT_EQ(run.loss[2], inf);
  EXPECT_TRUE(std::isfinite(run.loss[3]));
}

TYPED_TEST(CrossEntropyKernel, ThreadsAgree) {
  using T = TypeParam;
  const auto x = Matrix<T>::random(4, 333, 61);
  std::vector<std::int64_t> labels;
  for (Index r = 0; r < 333; ++r) labels.push_back(r % 10 == 0 ? ignore : r % 61);
  const Run<T> one(x, labels, 0.1, 0.5);
  for (const int threads : more_threads) {
    const Run<T> more(x, labels, 0.1, 0.5, threads);
    EXPECT_EQ(std::memcmp(more.loss.data(), one.loss.data(), one.loss.size() * sizeof(T)), 0);
    EXPECT_EQ(more.lse, one.lse);
    EXPECT_EQ(std::memcmp(more.gradient.data(), one.gradient.data(), one.gradient.size() * sizeof(T)), 0);
  }
}

}  // namespace
