#include "aulos/kernels/group_norm.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "aulos/kernels/naive/group_norm.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;
using kernels::GroupNormShape;

template <class T>
class GroupNormKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(GroupNormKernel, Types);

template <class T>
std::vector<T> numbers(std::uint64_t seed, Index count, double scale = 2, double offset = 0) {
  std::vector<T> x(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(offset + scale * noise(seed, i));
  return x;
}

template <class T>
struct Results {
  std::vector<T> y, gx, gweight, gbias;
  bool operator==(const Results&) const = default;
};

// The whole of the kernel's parts, as the op calls them.
template <class T>
Results<T> run(aulos::Threads threads, const GroupNormShape& shape, const T* x, const T* weight, const T* bias,
               const T* gy) {
  const auto count = static_cast<std::size_t>(shape.rows() * shape.positions);
  const auto channels = static_cast<std::size_t>(shape.channels);
  const auto groups = static_cast<std::size_t>(shape.batch * shape.groups);
  Results<T> r{std::vector<T>(count), std::vector<T>(count), std::vector<T>(channels, T(7)),
               std::vector<T>(channels, T(7))};
  std::vector<kernels::RowMoments> moments(groups);
  std::vector<std::byte> workspace(static_cast<std::size_t>(kernels::group_moments_workspace(shape)));
  kernels::group_moments<T>(threads, shape, x, workspace.data(), moments.data());
  const kernels::ChannelMoments by{moments.data(), shape.channels, shape.channels / shape.groups};
  kernels::normalise_channels<T>(threads, shape, by, x, weight, bias, r.y.data());
  std::vector<kernels::ChannelSums> sums(static_cast<std::size_t>(shape.rows())), means(groups);
  kernels::channel_sums<T>(threads, shape, by, x, gy, sums.data(), r.gweight.data(), r.gbias.data());
  kernels::normalise_channels_backward<T>(threads, shape, by, x, weight, gy, sums.data(), means.data(), r.gx.data());
  return r;
}

template <class T>
void expect_near(const std::vector<T>& got, const std::vector<double>& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  double largest = 1;
  for (const double w : want) largest = std::max(largest, std::fabs(w));
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(static_cast<double>(got[i]), want[i],
                tolerance * largest * static_cast<double>(std::numeric_limits<T>::epsilon()))
        << i;
}

TYPED_TEST(GroupNormKernel, AgreesWithTheNaiveTwin) {
  using T = TypeParam;
  for (const bool affine : {true, false}) {
    for (const Index groups : {1, 2, 6}) {
      sweep<T>([&](Index positions, Index misalignment) {
        const GroupNormShape shape{2, 6, positions, groups, 0.1};
        const auto x = numbers<T>(1, 12 * positions + misalignment), gy = numbers<T>(2, 12 * positions + misalignment);
        const auto weight = numbers<T>(3, 6), bias = numbers<T>(4, 6);
        const T* w = affine ? weight.data() : nullptr;
        const T* b = affine ? bias.data() : nullptr;
        const auto want = kernels::naive::group_norm<T>(shape, x.data() + misalignment, w, b, gy.data() + misalignment);
        for (const int threads : thread_counts) {
          aulos::ThreadTeam& team = team_of(threads);
          const auto got = run<T>(team.threads(), shape, x.data() + misalignment, w, b, gy.data() + misalignment);
          expect_near(got.y, want.y, 8);
          expect_near(got.gx, want.gx, 16);
          expect_near(got.gweight, want.gweight, 16);
          expect_near(got.gbias, want.gbias, 16);
        }
      });
    }
  }
}

TYPED_TEST(GroupNormKernel, LongGroupsAreTakenInStretchesTheSameOnAnyThreads) {
  using T = TypeParam;
  for (const Index positions : {8191, 8192, 8193, 20001}) {
    const GroupNormShape shape{2, 3, positions, 1, 1e-5};
    const auto x = numbers<T>(1, 6 * positions, 2, 0.5), gy = numbers<T>(2, 6 * positions);
    const auto weight = numbers<T>(3, 3), bias = numbers<T>(4, 3);
    const auto one = run<T>(aulos::Threads::serial(), shape, x.data(), weight.data(), bias.data(), gy.data());
    const auto want = kernels::naive::group_norm<T>(shape, x.data(), weight.data(), bias.data(), gy.data());
    const double allowed = sizeof(T) == 4 ? 16 : 512;  // in double the twin's own rounding shows, which adds one by one
    expect_near(one.y, want.y, allowed);
    expect_near(one.gx, want.gx, allowed);
    expect_near(one.gweight, want.gweight, allowed);
    for (const int threads : more_threads) {
      aulos::ThreadTeam& team = team_of(threads);
      EXPECT_EQ(run<T>(team.threads(), shape, x.data(), weight.data(), bias.data(), gy.data()), one);
    }
  }
}

TYPED_TEST(GroupNormKernel, ALargeMeanCostsNothing) {
  using T = TypeParam;
  const T x[] = {40000, 40001, 40002, 40003}, gy[] = {1, -1, 2, 0};
  const double want[] = {-1.341635, -0.447212, 0.447212, 1.341635};
  for (const Index positions : {1, 2, 4}) {
    const auto r = run<T>(aulos::Threads::serial(), {1, 4 / positions, positions, 1, 1e-5}, x, nullptr, nullptr, gy);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(static_cast<double>(r.y[i]), want[i], 2e-6);
  }
  for (const Index n : {4, 16, 33, 1024, 30000}) {
    std::vector<T> near(static_cast<std::size_t>(n)), g = numbers<T>(5, n);
    for (std::size_t i = 0; i < near.size(); ++i) near[i] = static_cast<T>(10000 + 0.001 * static_cast<double>(i % 16));
    const GroupNormShape shape{1, 1, n, 1, 1e-5};
    const auto got = run<T>(aulos::Threads::serial(), shape, near.data(), nullptr, nullptr, g.data());
    const auto naive = kernels::naive::group_norm<T>(shape, near.data(), nullptr, nullptr, g.data());
    expect_near(got.y, naive.y, sizeof(T) == 4 ? 32 : 1e9);
    expect_near(got.gx, naive.gx, sizeof(T) == 4 ? 32 : 1e9);
  }
}

TYPED_TEST(GroupNormKernel, TheEpsOfTheCallCounts) {
  using T = TypeParam;
  std::vector<T> x(36), gy(36, T(1));
  for (std::size_t i = 0; i < 36; ++i) x[i] = i % 2 == 0 ? T(1e-3) : T(-1e-3);
  for (const auto& [eps, want] :
       {std::pair{1e-6, 0.7071068}, {1e-5, 0.3015113}, {1e-12, 0.9999995}, {1e-3, 0.031607}}) {
    for (const Index groups : {1, 2, 6}) {  // all, three channels, one channel
      const auto r = run<T>(aulos::Threads::serial(), {1, 6, 6, groups, eps}, x.data(), nullptr, nullptr, gy.data());
      for (std::size_t i = 0; i < 36; ++i) EXPECT_NEAR(static_cast<double>(r.y[i]), i % 2 == 0 ? want : -want, 1e-6);
    }
  }
}

TYPED_TEST(GroupNormKernel, NaNMakesItsGroupNaN) {
  using T = TypeParam;
  auto x = numbers<T>(1, 2 * 4 * 19);
  const auto gy = numbers<T>(2, 2 * 4 * 19);
  x[30] = std::numeric_limits<T>::quiet_NaN();  // sample 0, channel 1, group 0 of 2
  const auto r = run<T>(aulos::Threads::serial(), {2, 4, 19, 2, 1e-5}, x.data(), nullptr, nullptr, gy.data());
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(std::isnan(r.y[i]), i < 38) << i;
}

TYPED_TEST(GroupNormKernel, WithoutSamplesTheGradientsOfTheWeightsAreZero) {
  using T = TypeParam;
  for (const GroupNormShape& shape : {GroupNormShape{0, 4, 5, 2, 1e-5}, {3, 4, 0, 2, 1e-5}}) {
    const auto r = run<T>(aulos::Threads::serial(), shape, nullptr, nullptr, nullptr, nullptr);
    EXPECT_EQ(r.gweight, std::vector<T>(4, T(0)));
    EXPECT_EQ(r.gbias, std::vector<T>(4, T(0)));
  }
}

TYPED_TEST(GroupNormKernel, BatchNormTakesStatisticsOfChannels) {
  using T = TypeParam;
  const GroupNormShape shape{2, 3, 5, 1, 1e-5};
  const auto x = numbers<T>(1, 30), gy = numbers<T>(2, 30), weight = numbers<T>(3, 3), bias = numbers<T>(4, 3);
  const T mean[] = {T(0.5), -1, 2}, variance[] = {T(0.25), 4, 1};
  kernels::RowMoments moments[3];
  kernels::batch_moments<T>(3, mean, variance, shape.eps, moments);
  const kernels::ChannelMoments by{moments, 3, 0};
  std::vector<T> y(30), gx(30), gweight(3), gbias(3);
  kernels::ChannelSums sums[6];
  aulos::ThreadTeam team(2);
  kernels::normalise_channels<T>(team.threads(), shape, by, x.data(), weight.data(), bias.data(), y.data());
  kernels::channel_sums<T>(team.threads(), shape, by, x.data(), gy.data(), sums, gweight.data(), gbias.data());
  kernels::normalise_channels_backward<T>(team.threads(), shape, by, x.data(), weight.data(), gy.data(), sums, nullptr,
                                          gx.data());
  std::vector<double> want_y(30), want_gx(30), want_gweight(3), want_gbias(3);
  for (std::size_t i = 0; i < 30; ++i) {
    const std::size_t c = i / 5 % 3;
    const double rstd = 1 / std::sqrt(static_cast<double>(variance[c]) + 1e-5), g = static_cast<double>(gy[i]);
    const double xhat = (static_cast<double>(x[i]) - static_cast<double>(mean[c])) * rstd;
    want_y[i] = xhat * static_cast<double>(weight[c]) + static_cast<double>(bias[c]);
    want_gx[i] = g * static_cast<double>(weight[c]) * rstd;
    want_gweight[c] += g * xhat;
    want_gbias[c] += g;
  }
  expect_near(y, want_y, 4);
  expect_near(gx, want_gx, 4);
  expect_near(gweight, want_gweight, 16);
  expect_near(gbias, want_gbias, 16);
}

}  // namespace
