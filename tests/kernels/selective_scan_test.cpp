#include "aulos/kernels/selective_scan.hpp"

#include <gtest/gtest.h>

#include "selective_scan_problem.hpp"
#include "thread_counts.hpp"

namespace {

using namespace aulos_test;

template <class T>
class SelectiveScanKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(SelectiveScanKernel, Types);

TYPED_TEST(SelectiveScanKernel, AgreesWithTheNaiveTwin) {
  for_each_scan_case([](const kernels::SelectiveScanShape& s, bool all) {
    const ScanProblem<TypeParam> p(s, all);
    const auto got = p.run(1);
    const auto want = p.expected();
    expect_close(got.out, want.out, 32, "out");
    expect_close(got.last, want.last, 32, "h");
  });
}

// Pieces are as wide as the threads allow.
TYPED_TEST(SelectiveScanKernel, WideBlocksGiveTheSameBits) {
  for (const Index groups : {1, 2}) {
    const ScanProblem<TypeParam> p({1, 3, 1140, 5, groups, StepSize::given}, true);
    const auto one = p.run(1);
    expect_close(one.out, p.expected().out, 64, "out");
    for (const int threads : {2, 3, 4, 8, 16}) EXPECT_EQ(p.run(threads).out, one.out) << threads;
  }
}

TYPED_TEST(SelectiveScanKernel, ThreadsGiveTheSameBits) {
  const ScanProblem<TypeParam> p({2, 70, 150, 5, 2, StepSize::softplus}, true);
  const auto one = p.run(1);
  for (const int threads : more_threads) {
    const auto more = p.run(threads);
    EXPECT_EQ(more.out, one.out);
    EXPECT_EQ(more.last, one.last);
    EXPECT_EQ(more.du, one.du);
    EXPECT_EQ(more.ddelta, one.ddelta);
    EXPECT_EQ(more.dz, one.dz);
    EXPECT_EQ(more.da, one.da);
    EXPECT_EQ(more.db, one.db);
    EXPECT_EQ(more.dc, one.dc);
    EXPECT_EQ(more.dd, one.dd);
    EXPECT_EQ(more.dbias, one.dbias);
    EXPECT_EQ(more.dinitial, one.dinitial);
  }
}

// Splitting a sequence and carrying the state changes no bit, nor does writing over u.
TYPED_TEST(SelectiveScanKernel, ResumesFromItsStateInPlace) {
  using T = TypeParam;
  constexpr Index n = 100;
  ScanProblem<T> p({1, n, 19, 4, 1, StepSize::softplus}, true);
  const auto whole = p.run(1);
  aulos::ThreadTeam team(1);
  const auto threads = team.threads(kernels::selective_scan_scratch<T>(p.s));
  for (const Index segment : {1, 3, 31, 32, 33, 64}) {
    HeadArray<T> u = p.u;
    std::vector<T> last(p.initial);
    for (Index at = 0; at < n; at += segment) {
      auto s = p.s;
      s.tokens = std::min(segment, n - at);
      auto in = p.operands();
      auto to = u.view();
      to.data += at * to.token;
      in.u = {to.data, to.batch, to.token, to.head};
      for (auto* rows : {&in.delta, &in.b, &in.c, &in.z}) rows->data += at * rows->token;
      in.initial = last.data();
      kernels::selective_scan<T>(threads, s, in, to, last.data());
    }
    EXPECT_EQ(u.values(), whole.out);
    EXPECT_EQ(last, whole.last);
  }
}

// A step size of 0 keeps the state and lets D u through; A = 0 and a step of 1 make it the sum of B u.
TYPED_TEST(SelectiveScanKernel, Limits) {
  using T = TypeParam;
  ScanProblem<T> p({1, 9, 3, 2, 1, StepSize::softplus}, true);
  for (T& x : p.delta.data) x = T(-1000);
  auto in = p.operands();
  in.z = {};
  aulos::ThreadTeam team(1);
  const auto threads = team.threads(kernels::selective_scan_scratch<T>(p.s));
  HeadArray<T> out(1, 9, 1, 3, 20);
  std::vector<T> last(p.initial.size());
  kernels::selective_scan<T>(threads, p.s, in, out.view(), last.data());
  EXPECT_EQ(last, p.initial);

  auto s = p.s;
  s.step = StepSize::given;
  for (T& x : p.delta.data) x = T(1);
  for (T& x : p.a) x = T(0);
  in.bias = nullptr;
  in.initial = nullptr;
  kernels::selective_scan<T>(threads, s, in, out.view(), last.data());
  for (Index c = 0; c < 3; ++c) {
    for (Index n = 0; n < 2; ++n) {
      double sum = 0;
      for (Index t = 0; t < 9; ++t) {
        sum += static_cast<double>(std::as_const(p.b).view().at(0, t, 0)[n]) *
               static_cast<double>(std::as_const(p.u).view().at(0, t, 0)[c]);
      }
      EXPECT_NEAR(static_cast<double>(last[static_cast<std::size_t>(c * 2 + n)]), sum, 1e-5);
    }
  }
}

// Strong decay, and steps that overflow softplus's exponential, give numbers; NaN stays in its channel.
TEST(SelectiveScanKernel, LargeStepsAndNaN) {
  ScanProblem<float> p({1, 40, 21, 3, 1, StepSize::softplus}, true);
  for (float& x : p.delta.data) x = 1000 * (x - 0.2f);
  const auto got = p.run(1);
  for (const auto* all : {&got.out, &got.last, &got.du, &got.ddelta, &got.da, &got.db, &got.dc}) {
    for (const float x : *all) ASSERT_TRUE(std::isfinite(x));
  }
  p.u.view().at(0, 20, 0)[17] = std::numeric_limits<float>::quiet_NaN();
  const auto spoilt = p.run(1).out;
  for (std::size_t i = 0; i < spoilt.size(); ++i) {
    ASSERT_EQ(std::isnan(spoilt[i]), i / 21 >= 20 && i % 21 == 17) << i;
  }
}

// The state of `decays.size()` tokens of one channel, A = -1, with u only at the first token, C = 1.
template <class T>
std::vector<T> decaying(const std::vector<double>& decays) {
  const auto n = static_cast<Index>(decays.size());
  ScanProblem<T> p({1, n, 1, 1, 1, StepSize::given}, false);
  p.a[0] = T(-1);
  for (Index t = 0; t < n; ++t) {
    p.delta.view().at(0, t, 0)[0] = static_cast<T>(decays[static_cast<std::size_t>(t)]);
    p.u.view().at(0, t, 0)[0] = T(t == 0 ? 1 : 0);
    p.b.view().at(0, t, 0)[0] = p.c.view().at(0, t, 0)[0] = T(1);
  }
  return p.run(1).out;
}

// A weight between two tokens is that of the steps between them alone, whatever decayed before: no difference of sums.
TYPED_TEST(SelectiveScanKernel, DecayBetweenTokensAfterAStrongOne) {
  using T = TypeParam;
  const std::vector<T> two = decaying<T>({100, 0.1});
  EXPECT_NEAR(static_cast<double>(two[1] / two[0]), 0.904837418, 1e-6);
  std::vector<double> strong;
  for (int t = 0; t < 256; ++t) strong.push_back(1e5 + 0.37 * (t % 7));
  const std::vector<T> gone = decaying<T>(strong);
  EXPECT_EQ(gone[0], T(1e5));
  for (std::size_t t = 1; t < gone.size(); ++t) ASSERT_EQ(gone[t], T(0)) << t;
  strong.assign(256, 0.01);
  strong[0] = 1e5;
  const std::vector<T> slow = decaying<T>(strong);
  for (std::size_t t = 0; t < slow.size(); ++t) {
    const double want = 1e5 * std::exp(-0.01 * static_cast<double>(t));
    ASSERT_NEAR(static_cast<double>(slow[t]), want, 1e-4 * want) << t;
  }
}

}  // namespace
