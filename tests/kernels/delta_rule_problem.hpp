// A random problem of the delta rule, and its results next to the naive twin's.
#pragma once

#include <cmath>
#include <utility>
#include <vector>

#include "aulos/kernels/delta_rule_backward.hpp"
#include "aulos/kernels/naive/delta_rule.hpp"
#include "head_array.hpp"

namespace aulos_test {

template <class T>
struct DeltaResults {
  std::vector<T> out, last, dq, dk, dv, dbeta, dinitial;
};

template <class T>
struct DeltaProblem {
  kernels::DeltaRuleShape s;
  bool state = false;
  HeadArray<T> q, k, v, beta, dout;
  std::vector<T> initial, dlast;

  // Keys of a norm about 1, or the state of a long sequence would explode.
  DeltaProblem(const kernels::DeltaRuleShape& shape, bool with_state)
      : s(shape),
        state(with_state),
        q(s.batch, s.tokens, s.heads, s.width, 1),
        k(s.batch, s.tokens, s.heads, s.width, 2, std::sqrt(3.0 / std::fmax(2.0, static_cast<double>(s.width)))),
        v(s.batch, s.tokens, s.heads, s.value_width, 3),
        beta(s.batch, s.tokens, s.heads, 1, 4, 0.5, 0.5),
        dout(s.batch, s.tokens, s.heads, s.value_width, 5),
        initial(noise_vector<T>(6, s.batch * s.heads * s.width * s.value_width)),
        dlast(noise_vector<T>(7, s.batch * s.heads * s.width * s.value_width)) {}

  kernels::DeltaRuleOperands<T> operands() const {
    return {q.view(), k.view(), v.view(), beta.view(), state ? initial.data() : nullptr};
  }
  void gradients(DeltaResults<T>& r, kernels::DeltaRuleGradients<T>& g, HeadArray<T>& dq, HeadArray<T>& dk,
                 HeadArray<T>& dv, HeadArray<T>& dbeta) const {
    r.dinitial.resize(initial.size());
    g = {dout.view(), state ? dlast.data() : nullptr, dq.view(), dk.view(), dv.view(), dbeta.view(), r.dinitial.data()};
  }

  DeltaResults<T> run(int threads) const {
    aulos::ThreadTeam team(threads);
    DeltaResults<T> r;
    HeadArray<T> out(s.batch, s.tokens, s.heads, s.value_width, 20);
    r.last.resize(initial.size());
    kernels::delta_rule<T>(team.threads(kernels::delta_rule_scratch<T>(s)), s, operands(), out.view(), r.last.data());
    r.out = out.values();
    kernels::DeltaRuleGradients<T> g;
    HeadArray<T> dq = q, dk = k, dv = v, dbeta = beta;
    gradients(r, g, dq, dk, dv, dbeta);
    kernels::delta_rule_backward<T>(team.threads(kernels::delta_rule_backward_scratch<T>(s)), s, operands(), g);
    r.dq = dq.values(), r.dk = dk.values(), r.dv = dv.values(), r.dbeta = dbeta.values();
    return r;
  }

  // By the twin, in double, of the same numbers.
  DeltaResults<double> expected() const {
    DeltaProblem<double> wide(s, state);
    wide.q = q.widened(), wide.k = k.widened(), wide.v = v.widened(), wide.beta = beta.widened();
    wide.dout = dout.widened(), wide.initial = widen(initial), wide.dlast = widen(dlast);
    DeltaResults<double> r;
    HeadArray<double> out(s.batch, s.tokens, s.heads, s.value_width, 20);
    r.last.resize(initial.size());
    kernels::naive::delta_rule<double>(s, wide.operands(), out.view(), r.last.data());
    r.out = out.values();
    kernels::DeltaRuleGradients<double> g;
    HeadArray<double> dq = wide.q, dk = wide.k, dv = wide.v, dbeta = wide.beta;
    wide.gradients(r, g, dq, dk, dv, dbeta);
    kernels::naive::delta_rule_backward<double>(s, wide.operands(), g);
    r.dq = dq.values(), r.dk = dk.values(), r.dv = dv.values(), r.dbeta = dbeta.values();
    return r;
  }
};

// Lengths around the chunk and the solver's block, and widths around the batch; with and without states.
template <class Body>
void for_each_delta_case(Body body) {
  const auto run = [&](const kernels::DeltaRuleShape& s) {
    for (const bool state : {false, true}) {
      SCOPED_TRACE(::testing::Message() << "B " << s.batch << " H " << s.heads << " N " << s.tokens << " D " << s.width
                                        << " E " << s.value_width << " state " << state);
      body(s, state);
    }
  };
  for (const Index n : {0, 1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 130}) run({2, 2, n, 6, 5, 0.5});
  for (Index width = 1; width <= 35; ++width) run({1, 2, 19, width, 36 - width, 0.5});
  run({1, 1, 100, 64, 64, 0.125});
  run({0, 2, 3, 4, 5, 1});
  run({2, 0, 3, 4, 5, 1});
  run({1, 2, 3, 0, 5, 1});
  run({1, 2, 3, 4, 0, 1});
}

}  // namespace aulos_test
