// A random problem of linear attention, its rows with gaps between them, and its results next to the naive twin's.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "aulos/kernels/linear_attention_backward.hpp"
#include "aulos/kernels/naive/linear_attention.hpp"
#include "head_array.hpp"

namespace aulos_test {

struct LinearCase {
  kernels::LinearAttentionShape shape;
  bool decay = false, keep = false, state = false;
};

template <class T>
struct LinearResults {
  std::vector<T> out, kv, sum, dq, dk, dv, dkv, dsum, ddecay;
};

template <class T>
struct LinearProblem {
  LinearCase c;
  HeadArray<T> q, k, v, dout;
  std::vector<T> decay, kv, sum, dkv, dsum;
  std::vector<std::uint8_t> keep;
  kernels::LinearFeature<T> feature;

  explicit LinearProblem(const LinearCase& of)
      : c(of),
        // Features are positive where the scores are summed.
        q(s().batch, s().nq, s().heads, s().width, 1, 1, offset()),
        k(s().batch, s().nk, s().heads, s().width, 2, 1, offset()),
        v(s().batch, s().nk, s().heads, s().value_width, 3),
        dout(s().batch, s().nq, s().heads, s().value_width, 4),
        decay(noise_vector<T>(5, s().heads, 0.1, 0.85)),
        kv(noise_vector<T>(6, states())),
        sum(noise_vector<T>(7, s().batch * s().heads * s().width, 1, 2)),
        dkv(noise_vector<T>(8, states())),
        dsum(noise_vector<T>(9, s().batch * s().heads * s().width)) {
    for (Index i = 0; i < s().batch * s().nk; ++i) keep.push_back(i % 3 == 1 ? 0 : 1);
  }

  const kernels::LinearAttentionShape& s() const { return c.shape; }
  Index states() const { return s().batch * s().heads * s().width * s().value_width; }
  double offset() const { return s().normaliser == kernels::Normaliser::none ? 0 : 1.25; }

  kernels::LinearAttentionOperands<T> operands() const {
    kernels::LinearAttentionOperands<T> in{q.view(), k.view(), v.view()};
    if (c.decay) in.decay = decay.data();
    if (c.keep) in.keep = keep.data(), in.keep_batch = s().nk;
    if (c.state) in.initial = {kv.data(), sum.data()};
    in.feature = feature;
    return in;
  }

  LinearResults<T> run(int threads) const {
    aulos::ThreadTeam team(threads);
    LinearResults<T> r;
    HeadArray<T> out(s().batch, s().nq, s().heads, s().value_width, 20);
    r.kv.resize(kv.size());
    r.sum.resize(sum.size());
    kernels::linear_attention<T>(team.threads(kernels::linear_attention_scratch<T>(s())), s(), operands(), out.view(),
                                 {r.kv.data(), r.sum.data()});
    r.out = out.values();
    kernels::LinearAttentionGradients<T> g;
    HeadArray<T> dq = q, dk = k, dv = v;
    gradients(r, g, dq, dk, dv);
    g.out = std::as_const(out).view();
    kernels::linear_attention_backward<T>(team.threads(kernels::linear_attention_backward_scratch<T>(s())), s(),
                                          operands(), g);
    r.dq = dq.values(), r.dk = dk.values(), r.dv = dv.values();
    return r;
  }

  // By the twin, in double, of the same numbers.
  LinearResults<double> expected() const {
    const LinearProblem<double> wide = widened();
    LinearResults<double> r;
    HeadArray<double> out(s().batch, s().nq, s().heads, s().value_width, 20);
    r.kv.resize(kv.size());
    r.sum.resize(sum.size());
    kernels::naive::linear_attention<double>(s(), wide.operands(), out.view(), {r.kv.data(), r.sum.data()});
    r.out = out.values();
    kernels::LinearAttentionGradients<double> g;
    HeadArray<double> dq = wide.q, dk = wide.k, dv = wide.v;
    wide.gradients(r, g, dq, dk, dv);
    kernels::naive::linear_attention_backward<double>(s(), wide.operands(), g);
    r.dq = dq.values(), r.dk = dk.values(), r.dv = dv.values();
    return r;
  }

  void gradients(LinearResults<T>& r, kernels::LinearAttentionGradients<T>& g, HeadArray<T>& dq, HeadArray<T>& dk,
                 HeadArray<T>& dv) const {
    r.dkv.resize(kv.size());
    r.dsum.resize(sum.size());
    r.ddecay.resize(static_cast<std::size_t>(s().batch * s().heads));
    g.dout = dout.view();
    if (c.state) g.dlast = {dkv.data(), dsum.data()};
    g.dq = dq.view(), g.dk = dk.view(), g.dv = dv.view();
    g.dinitial = {r.dkv.data(), r.dsum.data()};
    if (c.decay) g.ddecay = r.ddecay.data();
  }

  LinearProblem<double> widened() const {
    LinearProblem<double> wide(c);
    const auto copy = [](std::vector<double>& to, const std::vector<T>& from) { to.assign(from.begin(), from.end()); };
    copy(wide.q.data, q.data), copy(wide.k.data, k.data), copy(wide.v.data, v.data), copy(wide.dout.data, dout.data);
    copy(wide.decay, decay), copy(wide.kv, kv), copy(wide.sum, sum), copy(wide.dkv, dkv), copy(wide.dsum, dsum);
    wide.keep = keep;
    return wide;
  }
};

// Every combination of form, normaliser, decay, key mask and state at these extents.
template <class Body>
void for_each_linear_case(Index batch, Index heads, Index nq, Index nk, Index d, Index e, Body body) {
  for (int bits = 0; bits < 32; ++bits) {
    LinearCase c;
    c.shape = {batch, heads, nq, nk, d, e};
    c.shape.form = (bits & 1) != 0 ? kernels::LinearForm::causal : kernels::LinearForm::full;
    c.shape.normaliser = (bits & 2) != 0 ? kernels::Normaliser::score_sum : kernels::Normaliser::none;
    c.shape.scale = 0.75;
    c.shape.eps = 1e-6;
    c.decay = (bits & 4) != 0;
    c.keep = (bits & 8) != 0;
    c.state = (bits & 16) != 0;
    if (c.shape.form == kernels::LinearForm::full && c.decay) continue;
    if (c.shape.form == kernels::LinearForm::causal) c.shape.nq = nk;
    SCOPED_TRACE(::testing::Message() << "B " << batch << " H " << heads << " Nq " << c.shape.nq << " Nk " << nk
                                      << " D " << d << " E " << e << " bits " << bits);
    body(c);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace aulos_test
