#include "aulos/kernels/variational_bound.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "aulos/core/threads.hpp"
#include "aulos/kernels/naive/variational_bound.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos::kernels;
using aulos::Index;
using aulos::Threads;
using aulos::ThreadTeam;

template <class T>
struct Operands {
  Index samples, each;
  std::vector<T> x0, posterior, mean, log_variance, posterior_log_variance;
  std::vector<std::uint8_t> first;

  Operands(Index s, Index n) : samples(s), each(n) {
    for (Index i = 0; i < s * n; ++i) {
      const auto at = static_cast<std::uint64_t>(i);
      x0.push_back(static_cast<T>(aulos_test::noise(1, at)));
      posterior.push_back(static_cast<T>(aulos_test::noise(2, at)));
      mean.push_back(static_cast<T>(static_cast<double>(x0.back()) + 0.3 * aulos_test::noise(3, at)));
      log_variance.push_back(static_cast<T>(-2 + aulos_test::noise(4, at)));
    }
    for (Index b = 0; b < s; ++b) {
      posterior_log_variance.push_back(static_cast<T>(-1 - static_cast<double>(b)));
      first.push_back(b % 2 == 1);
    }
  }
  VariationalBoundOperands<T> operands() const {
    return {x0.data(), posterior.data(), mean.data(), log_variance.data(), posterior_log_variance.data(), first.data()};
  }
  std::vector<T> forward(Threads threads = Threads::serial()) const {
    std::vector<T> y(x0.size());
    variational_bound<T>(threads, operands(), samples, each, y.data());
    return y;
  }
  std::vector<T> backward(const std::vector<T>& gy, Threads threads = Threads::serial()) const {
    std::vector<T> dx(x0.size());
    variational_bound_backward<T>(threads, operands(), samples, each, gy.data(), dx.data());
    return dx;
  }
};

// The integral of p log(p / q), and the mass around x, by the midpoint rule over densities.
double density(double x, double mean, double variance) {
  return std::exp(-(x - mean) * (x - mean) / (2 * variance)) / std::sqrt(2 * M_PI * variance);
}
double divergence(double m1, double v1, double m2, double v2) {
  double sum = 0;
  const double spread = std::sqrt(v1), step = spread / 500;
  for (double x = m1 - 9 * spread; x < m1 + 9 * spread; x += step) {
    const double at = x + step / 2;
    const double log_ratio = 0.5 * (std::log(v2 / v1) - (at - m1) * (at - m1) / v1 + (at - m2) * (at - m2) / v2);
    sum += density(at, m1, v1) * log_ratio * step;
  }
  return sum;
}

TEST(VariationalBoundKernel, IsTheDivergenceOfTwoGaussians) {
  const Operands<double> o(3, 7);
  const std::vector<double> y = o.forward();
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::size_t b = i / 7;
    if (o.first[b] != 0) continue;
    EXPECT_NEAR(
        y[i], divergence(o.posterior[i], std::exp(o.posterior_log_variance[b]), o.mean[i], std::exp(o.log_variance[i])),
        1e-6);
  }
}

TEST(VariationalBoundKernel, IsTheMassAroundTheDataAtTheFirstStep) {
  Operands<double> o(2, 6);
  const std::size_t first = 6;
  o.x0[first] = -1;     // all below counts
  o.x0[first + 1] = 1;  // all above
  o.x0[first + 2] = 0.5;
  o.mean[first + 2] = -3;  // 1e-12 is the least
  o.log_variance[first + 2] = -6;
  const std::vector<double> y = o.forward();
  EXPECT_NEAR(y[first + 2], -std::log(1e-12), 1e-12);
  for (std::size_t i = first; i < 2 * first; ++i) {
    if (i == first + 2) continue;
    const double spread = std::exp(0.5 * o.log_variance[i]);
    const auto below = [&](double x) { return 0.5 * std::erfc(-(x - o.mean[i]) / spread / std::sqrt(2.0)); };
    const double high = o.x0[i] > 0.999 ? 1 : below(o.x0[i] + 1.0 / 255);
    const double low = o.x0[i] < -0.999 ? 0 : below(o.x0[i] - 1.0 / 255);
    EXPECT_NEAR(std::exp(-y[i]), high - low, 6e-4) << i;  // the tanh form is within 3e-4 of the distribution
  }
}

// The numbers of guided diffusion's losses.py in PyTorch, double.
TEST(VariationalBoundKernel, ReferenceNumbers) {
  struct Row {
    double x0, posterior, mean, log_variance, posterior_log_variance;
    std::uint8_t first;
    double value, slope;
  };
  const Row rows[] = {
      {0.3, 0.2, 0.1, -1.0, -1.5, 0, 0.06685673899861194, 0.18314326100138806},
      {-0.4, 0.9, -0.8, -5.0, -4.0, 0, 214.81615581745277, -215.31615581745277},
      {0.1, -0.2, 0.3, 2.0, -7.0, 0, 4.01697861530662, 0.4830213846933801},
      {0.25, 0, 0.2, -6.0, -1, 1, 3.27213663420863, -0.002418673686123582},
      {-1.0, 0, -0.7, -2.5, -1, 1, 1.8913774447348464, -0.8004554771656213},
      {1.0, 0, 0.4, -1.5, -1, 1, 2.266528656670195, -1.0952442164805352},
      {-0.5, 0, 0.5, -3.0, -1, 1, 15.147352739212948, -11.977299857555364},
      {0.9985, 0, 0.99, -9.0, -1, 1, 1.5691713030098964, 0.21043645836114122},
  };
  for (const Row& r : rows) {
    Operands<double> o(1, 1);
    o.x0 = {r.x0};
    o.posterior = {r.posterior};
    o.mean = {r.mean};
    o.log_variance = {r.log_variance};
    o.posterior_log_variance = {r.posterior_log_variance};
    o.first = {r.first};
    EXPECT_NEAR(o.forward()[0], r.value, 1e-12 * (1 + std::fabs(r.value)));
    EXPECT_NEAR(o.backward({1.0})[0], r.slope, 1e-11 * (1 + std::fabs(r.slope)));
  }
}

template <class T>
void expect_twin(Index samples, Index each, Index misalignment) {
  const Operands<T> data(samples + misalignment, each);  // the operands begin at an element of any alignment
  VariationalBoundOperands<T> o = data.operands();
  o.x0 += misalignment, o.posterior_mean += misalignment, o.mean += misalignment, o.log_variance += misalignment;
  const auto count = static_cast<std::size_t>(samples * each);
  std::vector<T> y(count), want(count), dx(count), want_dx(count), gy(count);
  for (std::size_t i = 0; i < count; ++i) gy[i] = static_cast<T>(aulos_test::noise(9, i));
  variational_bound<T>(Threads::serial(), o, samples, each, y.data());
  naive::variational_bound<T>(o, samples, each, want.data());
  variational_bound_backward<T>(Threads::serial(), o, samples, each, gy.data(), dx.data());
  naive::variational_bound_backward<T>(o, samples, each, gy.data(), want_dx.data());
  const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
  for (std::size_t i = 0; i < count; ++i) {
    const double value = static_cast<double>(want[i]), slope = static_cast<double>(want_dx[i]);
    ASSERT_NEAR(static_cast<double>(y[i]), value, 64 * eps * (1 + std::fabs(value))) << i;
    ASSERT_NEAR(static_cast<double>(dx[i]), slope, std::fmax(1e-8, 2 * eps) * (1 + std::fabs(slope))) << i;
  }
}

template <class T>
void expect_twins() {
  aulos_test::sweep<T>([](Index each, Index misalignment) { expect_twin<T>(3, each, misalignment); });
  for (const Index each : {255, 256, 257, 1000}) expect_twin<T>(2, each, 1);
}

TEST(VariationalBoundKernel, AgreesWithTheNaiveTwin) {
  expect_twins<float>();
  expect_twins<double>();
}

TEST(VariationalBoundKernel, ThreadsDoNotMatter) {
  for (const Index each : {1, 7, 255, 256, 257, 1000}) {
    const Operands<float> o(3, each);
    const std::vector<float> gy(o.x0.size(), 1.5f);
    for (const int count : aulos_test::more_threads) {
      ThreadTeam& team = aulos_test::team_of(count);
      EXPECT_EQ(o.forward(team.threads(0)), o.forward());
      EXPECT_EQ(o.backward(gy, team.threads(0)), o.backward(gy));
    }
  }
}

TEST(VariationalBoundKernel, NothingAndNaN) {
  EXPECT_TRUE(Operands<float>(0, 4).forward().empty());
  EXPECT_TRUE(Operands<float>(3, 0).forward().empty());
  Operands<float> o(2, 3);
  o.mean[1] = o.log_variance[4] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> y = o.forward();
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(std::isnan(y[i]), i == 1 || i == 4) << i;
}

}  // namespace
