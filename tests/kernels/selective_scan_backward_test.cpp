#include "aulos/kernels/selective_scan_backward.hpp"

#include <gtest/gtest.h>

#include "selective_scan_problem.hpp"

namespace {

using namespace aulos_test;

template <class T>
class SelectiveScanBackwardKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(SelectiveScanBackwardKernel, Types);

TYPED_TEST(SelectiveScanBackwardKernel, AgreesWithTheNaiveTwin) {
  for_each_scan_case([](const kernels::SelectiveScanShape& s, bool all) {
    const ScanProblem<TypeParam> p(s, all);
    const auto got = p.run(1);
    const auto want = p.expected();
    expect_close(got.du, want.du, 64, "du");
    expect_close(got.ddelta, want.ddelta, 64, "ddelta");
    expect_close(got.dz, want.dz, 64, "dz");
    expect_close(got.da, want.da, 64, "dA");
    expect_close(got.db, want.db, 64, "dB");
    expect_close(got.dc, want.dc, 64, "dC");
    expect_close(got.dd, want.dd, 64, "dD");
    expect_close(got.dbias, want.dbias, 64, "dbias");
    expect_close(got.dinitial, want.dinitial, 64, "dh");
  });
}

// Without anything wanted nothing is written.
TYPED_TEST(SelectiveScanBackwardKernel, GradientsAlone) {
  using T = TypeParam;
  const ScanProblem<T> p({1, 40, 20, 3, 1, StepSize::softplus}, true);
  const auto all = p.run(1);
  aulos::ThreadTeam team(1);
  for (int only = 0; only < 9; ++only) {
    ScanResults<T> r;
    typename ScanProblem<T>::Places places(p);
    const kernels::SelectiveScanGradients<T> full = p.gradients(r, places);
    kernels::SelectiveScanGradients<T> g{full.dout, full.dlast};
    if (only == 0) g.du = full.du;
    if (only == 1) g.ddelta = full.ddelta;
    if (only == 2) g.dz = full.dz;
    if (only == 3) g.da = full.da;
    if (only == 4) g.db = full.db;
    if (only == 5) g.dc = full.dc;
    if (only == 6) g.dd = full.dd;
    if (only == 7) g.dbias = full.dbias;
    if (only == 8) g.dinitial = full.dinitial;
    std::vector<T> workspace(static_cast<std::size_t>(kernels::selective_scan_backward_workspace(p.s)));
    kernels::selective_scan_backward<T>(team.threads(kernels::selective_scan_backward_scratch<T>(p.s)), p.s,
                                        p.operands(), g, workspace.data());
    const std::vector<T> zeros(r.da.size(), T(0));
    EXPECT_EQ(places.du.values(), only == 0 ? all.du : p.u.values());
    EXPECT_EQ(places.ddelta.values(), only == 1 ? all.ddelta : p.u.values());
    EXPECT_EQ(places.dz.values(), only == 2 ? all.dz : p.u.values());
    EXPECT_EQ(r.da, only == 3 ? all.da : zeros);
    EXPECT_EQ(places.db.values(), only == 4 ? all.db : p.b.values());
    EXPECT_EQ(places.dc.values(), only == 5 ? all.dc : p.c.values());
    EXPECT_EQ(r.dd[3], only == 6 ? all.dd[3] : T(0));
    EXPECT_EQ(r.dbias[3], only == 7 ? all.dbias[3] : T(0));
    EXPECT_EQ(r.dinitial, only == 8 ? all.dinitial : zeros);
  }
}

}  // namespace
