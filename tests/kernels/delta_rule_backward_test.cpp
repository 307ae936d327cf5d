#include "aulos/kernels/delta_rule_backward.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "delta_rule_problem.hpp"

namespace {

using namespace aulos_test;

template <class T>
class DeltaRuleBackwardKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(DeltaRuleBackwardKernel, Types);

TYPED_TEST(DeltaRuleBackwardKernel, AgreesWithTheNaiveTwin) {
  for_each_delta_case([](const kernels::DeltaRuleShape& s, bool state) {
    const DeltaProblem<TypeParam> p(s, state);
    const auto got = p.run(1);
    const auto want = p.expected();
    expect_close(got.dq, want.dq, 256, "dq");
    expect_close(got.dk, want.dk, 256, "dk");
    expect_close(got.dv, want.dv, 256, "dv");
    expect_close(got.dbeta, want.dbeta, 256, "dbeta");
    expect_close(got.dinitial, want.dinitial, 256, "dS");
  });
}

// What nobody wants is not computed, and changes nothing in the rest.
TYPED_TEST(DeltaRuleBackwardKernel, GradientsAlone) {
  using T = TypeParam;
  const DeltaProblem<T> p({1, 2, 70, 5, 4, 0.5}, true);
  const auto all = p.run(1);
  aulos::ThreadTeam team(1);
  for (int only = 0; only < 5; ++only) {
    DeltaResults<T> r;
    kernels::DeltaRuleGradients<T> g;
    HeadArray<T> dq = p.q, dk = p.k, dv = p.v, dbeta = p.beta;
    p.gradients(r, g, dq, dk, dv, dbeta);
    if (only != 0) g.dq = {};
    if (only != 1) g.dk = {};
    if (only != 2) g.dv = {};
    if (only != 3) g.dbeta = {};
    if (only != 4) g.dinitial = nullptr;
    kernels::delta_rule_backward<T>(team.threads(kernels::delta_rule_backward_scratch<T>(p.s)), p.s, p.operands(), g);
    EXPECT_EQ(dq.values(), only == 0 ? all.dq : p.q.values());
    EXPECT_EQ(dk.values(), only == 1 ? all.dk : p.k.values());
    EXPECT_EQ(dv.values(), only == 2 ? all.dv : p.v.values());
    EXPECT_EQ(dbeta.values(), only == 3 ? all.dbeta : p.beta.values());
    if (only == 4) {
      EXPECT_EQ(r.dinitial, all.dinitial);
    }
  }
}

// dq reads no later token: what is no number there leaves it as it was, to the bit.
TYPED_TEST(DeltaRuleBackwardKernel, NanOfALaterTokenReachesNoEarlierQuery) {
  using T = TypeParam;
  const DeltaProblem<T> clean({1, 1, 70, 5, 19, 0.5}, true);
  const std::vector<T> want = clean.run(1).dq;
  for (const Index token : {1, 16, 37, 63, 64}) {
    DeltaProblem<T> spoilt = clean;
    for (Index x = 0; x < 5; ++x) spoilt.k.view().at(0, token, 0)[x] = std::numeric_limits<T>::quiet_NaN();
    const std::vector<T> got = spoilt.run(1).dq;
    EXPECT_TRUE(std::equal(got.begin(), got.begin() + token * 5, want.begin())) << token;
    EXPECT_TRUE(std::isnan(got[static_cast<std::size_t>(token * 5)])) << token;
  }
}

}  // namespace
