// A random problem of the selective scan, and its results next to the naive twin's.
#pragma once

#include <utility>
#include <vector>

#include "aulos/kernels/naive/selective_scan.hpp"
#include "aulos/kernels/selective_scan_backward.hpp"
#include "head_array.hpp"

namespace aulos_test {

using kernels::StepSize;

template <class T>
struct ScanResults {
  std::vector<T> out, last, du, ddelta, dz, da, db, dc, dd, dbias, dinitial;
};

template <class T>
struct ScanProblem {
  kernels::SelectiveScanShape s;
  bool all = false;  // with D, z, bias and states
  HeadArray<T> u, delta, b, c, z, dout;
  std::vector<T> a, d, bias, initial, dlast;

  ScanProblem(const kernels::SelectiveScanShape& shape, bool with_all)
      : s(shape),
        all(with_all),
        u(s.batch, s.tokens, 1, s.channels, 1),
        delta(s.batch, s.tokens, 1, s.channels, 2, 0.5, s.step == StepSize::given ? 0.6 : 0),
        b(s.batch, s.tokens, s.groups, s.states, 3),
        c(s.batch, s.tokens, s.groups, s.states, 4),
        z(s.batch, s.tokens, 1, s.channels, 5, 2),
        dout(s.batch, s.tokens, 1, s.channels, 6),
        a(noise_vector<T>(7, s.channels * s.states, 1, -1.1)),
        d(noise_vector<T>(8, s.channels)),
        bias(noise_vector<T>(9, s.channels)),
        initial(noise_vector<T>(10, s.batch * s.channels * s.states)),
        dlast(noise_vector<T>(11, s.batch * s.channels * s.states)) {}

  kernels::SelectiveScanOperands<T> operands() const {
    kernels::SelectiveScanOperands<T> in{u.view(), delta.view(), a.data(), b.view(), c.view(),
                                         nullptr,  {},           nullptr,  nullptr};
    if (all) in.d = d.data(), in.z = z.view(), in.bias = bias.data(), in.initial = initial.data();
    return in;
  }
  // Places for every gradient, which the arrays keep.
  struct Places {
    HeadArray<T> du, ddelta, dz, db, dc;
    explicit Places(const ScanProblem& p) : du(p.u), ddelta(p.u), dz(p.u), db(p.b), dc(p.c) {}
  };
  kernels::SelectiveScanGradients<T> gradients(ScanResults<T>& r, Places& places) const {
    r.da.resize(a.size()), r.dd.resize(d.size()), r.dbias.resize(d.size()), r.dinitial.resize(initial.size());
    return {dout.view(),      all ? dlast.data() : nullptr,
            places.du.view(), places.ddelta.view(),
            places.dz.view(), r.da.data(),
            places.db.view(), places.dc.view(),
            r.dd.data(),      r.dbias.data(),
            r.dinitial.data()};
  }
  void collect(ScanResults<T>& r, const Places& places) const {
    r.du = places.du.values(), r.ddelta = places.ddelta.values();
    if (all) r.dz = places.dz.values();
    r.db = places.db.values(), r.dc = places.dc.values();
  }

  ScanResults<T> run(int threads) const {
    aulos::ThreadTeam team(threads);
    ScanResults<T> r;
    HeadArray<T> out(s.batch, s.tokens, 1, s.channels, 20);
    r.last.resize(initial.size());
    kernels::selective_scan<T>(team.threads(kernels::selective_scan_scratch<T>(s)), s, operands(), out.view(),
                               r.last.data());
    r.out = out.values();
    Places places(*this);
    std::vector<T> workspace(static_cast<std::size_t>(kernels::selective_scan_backward_workspace(s)));
    kernels::selective_scan_backward<T>(team.threads(kernels::selective_scan_backward_scratch<T>(s)), s, operands(),
                                        gradients(r, places), workspace.data());
    collect(r, places);
    return r;
  }

  // By the twin, in double, of the same numbers.
  ScanResults<double> expected() const {
    ScanProblem<double> wide(s, all);
    wide.u = u.widened(), wide.delta = delta.widened(), wide.b = b.widened(), wide.c = c.widened(),
    wide.z = z.widened();
    wide.dout = dout.widened();
    wide.a = widen(a), wide.d = widen(d), wide.bias = widen(bias), wide.initial = widen(initial),
    wide.dlast = widen(dlast);
    ScanResults<double> r;
    HeadArray<double> out(s.batch, s.tokens, 1, s.channels, 20);
    r.last.resize(initial.size());
    kernels::naive::selective_scan<double>(s, wide.operands(), out.view(), r.last.data());
    r.out = out.values();
    ScanProblem<double>::Places places(wide);
    kernels::naive::selective_scan_backward<double>(s, wide.operands(), wide.gradients(r, places));
    wide.collect(r, places);
    return r;
  }
};

// Lengths around the chunk, channels around the batch and the piece, groups; with and without what may be absent.
template <class Body>
void for_each_scan_case(Body body) {
  const auto run = [&](const kernels::SelectiveScanShape& s) {
    for (const bool all : {false, true}) {
      SCOPED_TRACE(::testing::Message() << "B " << s.batch << " L " << s.tokens << " C " << s.channels << " N "
                                        << s.states << " G " << s.groups << " all " << all);
      body(s, all);
    }
  };
  for (const Index n : {0, 1, 2, 31, 32, 33, 64, 65, 100}) run({2, n, 5, 3, 1, StepSize::softplus});
  for (Index channels = 1; channels <= 67; channels += channels < 35 ? 1 : 8) {
    run({2, 5, channels, 4, 1, StepSize::softplus});
  }
  run({1, 40, 130, 16, 1, StepSize::softplus});
  run({2, 7, 36, 5, 3, StepSize::given});
  run({1, 7, 150, 2, 2, StepSize::softplus});
  run({0, 3, 4, 5, 1, StepSize::softplus});
  run({2, 3, 0, 5, 1, StepSize::softplus});
  run({2, 3, 4, 0, 1, StepSize::softplus});
}

}  // namespace aulos_test
