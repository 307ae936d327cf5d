#include "aulos/kernels/delta_rule.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "delta_rule_problem.hpp"
#include "thread_counts.hpp"

namespace {

using namespace aulos_test;

template <class T>
class DeltaRuleKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(DeltaRuleKernel, Types);

TYPED_TEST(DeltaRuleKernel, AgreesWithTheNaiveTwin) {
  for_each_delta_case([](const kernels::DeltaRuleShape& s, bool state) {
    const DeltaProblem<TypeParam> p(s, state);
    const auto got = p.run(1);
    const auto want = p.expected();
    expect_close(got.out, want.out, 64, "out");
    expect_close(got.last, want.last, 64, "S");
  });
}

TYPED_TEST(DeltaRuleKernel, ThreadsGiveTheSameBits) {
  const DeltaProblem<TypeParam> p({2, 3, 70, 9, 17, 0.5}, true);
  const auto one = p.run(1);
  for (const int threads : more_threads) {
    const auto more = p.run(threads);
    EXPECT_EQ(more.out, one.out);
    EXPECT_EQ(more.last, one.last);
    EXPECT_EQ(more.dq, one.dq);
    EXPECT_EQ(more.dk, one.dk);
    EXPECT_EQ(more.dv, one.dv);
    EXPECT_EQ(more.dbeta, one.dbeta);
    EXPECT_EQ(more.dinitial, one.dinitial);
  }
}

// Splitting a sequence and carrying the state changes nothing, nor does stepping token by token.
TYPED_TEST(DeltaRuleKernel, ResumesFromItsState) {
  using T = TypeParam;
  constexpr Index n = 100;
  const DeltaProblem<T> p({1, 2, n, 6, 5, 0.5}, true);
  const auto whole = p.run(1);
  aulos::ThreadTeam team(1);
  const auto threads = team.threads(kernels::delta_rule_scratch<T>(p.s));
  for (const Index segment : {1, 3, 63, 64, 65}) {
    HeadArray<T> out(1, n, 2, 5, 20);
    std::vector<T> last(p.initial);
    for (Index at = 0; at < n; at += segment) {
      auto s = p.s;
      s.tokens = std::min(segment, n - at);
      auto in = p.operands();
      in.q.data += at * in.q.token, in.k.data += at * in.k.token, in.v.data += at * in.v.token;
      in.beta.data += at * in.beta.token;
      in.initial = last.data();
      auto to = out.view();
      to.data += at * to.token;
      kernels::delta_rule<T>(threads, s, in, to, last.data());
    }
    expect_close(out.values(), widen(whole.out), 64, "out");
    expect_close(last, widen(whole.last), 64, "S");
  }
}

// With orthonormal keys and beta 1 each value is recalled as it was.
TYPED_TEST(DeltaRuleKernel, RecallsWhatOrthonormalKeysStored) {
  using T = TypeParam;
  constexpr Index n = 40;
  DeltaProblem<T> p({1, 1, n, n, 7, 1}, false);
  for (Index t = 0; t < n; ++t) {
    for (Index x = 0; x < n; ++x) p.k.view().at(0, t, 0)[x] = x == (t * 7) % n ? T(1) : T(0);
    *p.beta.view().at(0, t, 0) = T(1);
  }
  const auto got = p.run(1);
  for (Index t = 0; t < n; ++t) {
    for (Index y = 0; y < 7; ++y) {
      EXPECT_EQ(got.last[static_cast<std::size_t>((t * 7) % n * 7 + y)], std::as_const(p.v).view().at(0, t, 0)[y]);
    }
  }
}

// A key repeated with beta 1 replaces its value: the state doesn't grow.
TYPED_TEST(DeltaRuleKernel, ARepeatedKeyReplaces) {
  using T = TypeParam;
  DeltaProblem<T> p({1, 1, 200, 4, 3, 1}, false);
  for (Index t = 0; t < 200; ++t) {
    for (Index x = 0; x < 4; ++x) p.k.view().at(0, t, 0)[x] = T(0.5);
    *p.beta.view().at(0, t, 0) = T(1);
  }
  const auto got = p.run(1);
  for (Index y = 0; y < 3; ++y) {
    EXPECT_NEAR(static_cast<double>(got.last[static_cast<std::size_t>(y)]),
                0.5 * static_cast<double>(std::as_const(p.v).view().at(0, 199, 0)[y]), 1e-5);
  }
}

TEST(DeltaRuleKernel, KeepsNaN) {
  DeltaProblem<float> p({1, 1, 20, 3, 4, 1}, false);
  p.v.view().at(0, 19, 0)[2] = std::numeric_limits<float>::quiet_NaN();
  const auto got = p.run(1);
  EXPECT_TRUE(std::isnan(got.out[19 * 4 + 2]));
  EXPECT_FALSE(std::isnan(got.out[19 * 4 + 1]));
}

// What is no number at a token leaves the rows before it as they were, to the bit.
TYPED_TEST(DeltaRuleKernel, NanOfALaterTokenReachesNoEarlierRow) {
  using T = TypeParam;
  using Problem = DeltaProblem<T>;
  const Problem clean({1, 2, 70, 5, 19, 0.5}, true);
  const std::vector<T> want = clean.run(1).out;
  for (const Index token : {0, 1, 15, 16, 37, 63, 64, 69}) {
    for (HeadArray<T> Problem::*of : {&Problem::q, &Problem::k, &Problem::v, &Problem::beta}) {
      Problem spoilt = clean;
      for (Index x = 0; x < (spoilt.*of).width; ++x)
        (spoilt.*of).view().at(0, token, 1)[x] = std::numeric_limits<T>::quiet_NaN();
      const std::vector<T> got = spoilt.run(1).out;
      const std::size_t before = static_cast<std::size_t>(token * 2 * 19);
      ASSERT_TRUE(std::equal(want.begin(), want.begin() + static_cast<std::ptrdiff_t>(before), got.begin())) << token;
      EXPECT_EQ(got[before], want[before]);       // the other head
      EXPECT_TRUE(std::isnan(got[before + 19]));  // its own row
    }
  }
}

}  // namespace
