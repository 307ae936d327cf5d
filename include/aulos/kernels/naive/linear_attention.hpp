// The readable twin of linear_attention.hpp, token by token in double: S_t = g S_{t-1} + k_t v_t^T, z_t likewise.
#pragma once

#include <cstddef>
#include <vector>

#include "aulos/kernels/linear_attention.hpp"
#include "aulos/kernels/linear_attention_backward.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

namespace detail {

// One head of one sample, rows of plain vectors; column E of v and of S is the normaliser's.
struct LinearTokens {
  Index nq, nk, d, e;
  double decay = 1;
  std::vector<double> q, k, v, initial;  // [nq, d], [nk, d], [nk, e + 1], [d, e + 1]

  // S after each key, from the initial one on: states[(t * d + x) * (e + 1) + y].
  std::vector<double> states() const {
    const Index size = d * (e + 1);
    std::vector<double> s(initial);
    for (Index t = 0; t < nk; ++t) {
      for (Index x = 0; x < d; ++x) {
        for (Index y = 0; y <= e; ++y) {
          s.push_back(decay * s[at(t * size + x * (e + 1) + y)] + k[at(t * d + x)] * v[at(t * (e + 1) + y)]);
        }
      }
    }
    return s;
  }
  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
};

template <class T>
LinearTokens linear_tokens(const LinearAttentionShape& s, const LinearAttentionOperands<T>& in, Index b, Index h) {
  LinearTokens t{s.nq, s.nk, s.width, s.value_width, in.decay == nullptr ? 1.0 : static_cast<double>(in.decay[h]), {},
                 {},   {},   {}};
  const Index item = b * s.heads + h;
  for (Index i = 0; i < s.nq; ++i) {
    for (Index x = 0; x < s.width; ++x) t.q.push_back(s.scale * static_cast<double>(in.q.at(b, i, h)[x]));
  }
  for (Index j = 0; j < s.nk; ++j) {
    const bool kept = in.keep == nullptr || in.keep[b * in.keep_batch + j] != 0;
    for (Index x = 0; x < s.width; ++x) t.k.push_back(kept ? static_cast<double>(in.k.at(b, j, h)[x]) : 0.0);
    for (Index y = 0; y < s.value_width; ++y) t.v.push_back(kept ? static_cast<double>(in.v.at(b, j, h)[y]) : 0.0);
    t.v.push_back(1.0);
  }
  for (Index x = 0; x < s.width; ++x) {
    for (Index y = 0; y < s.value_width; ++y) {
      const T* kv = in.initial.kv;
      t.initial.push_back(kv == nullptr ? 0.0 : static_cast<double>(kv[(item * s.width + x) * s.value_width + y]));
    }
    t.initial.push_back(in.initial.sum == nullptr ? 0.0 : static_cast<double>(in.initial.sum[item * s.width + x]));
  }
  return t;
}

}  // namespace detail

template <class T>
void linear_attention(const LinearAttentionShape& s, const LinearAttentionOperands<T>& in, HeadRows<T> out,
                      const LinearState<T>& last) {
  const Index d = s.width, e = s.value_width, size = d * (e + 1);
  for (Index item = 0; item < s.batch * s.heads; ++item) {
    const Index b = item / s.heads, h = item % s.heads;
    const detail::LinearTokens t = detail::linear_tokens(s, in, b, h);
    const std::vector<double> states = t.states();
    const auto state = [&](Index n, Index x, Index y) { return states[t.at(n * size + x * (e + 1) + y)]; };
    for (Index i = 0; i < s.nq; ++i) {
      const Index seen = s.form == LinearForm::causal ? i + 1 : s.nk;
      double sum = s.eps;
      for (Index x = 0; x < d; ++x) sum += t.q[t.at(i * d + x)] * state(seen, x, e);
      for (Index y = 0; y < e; ++y) {
        double o = 0;
        for (Index x = 0; x < d; ++x) o += t.q[t.at(i * d + x)] * state(seen, x, y);
        out.at(b, i, h)[y] = static_cast<T>(s.normaliser == Normaliser::none ? o : o / sum);
      }
    }
    for (Index x = 0; x < d; ++x) {
      for (Index y = 0; y < e && last.kv != nullptr; ++y) {
        last.kv[(item * d + x) * e + y] = static_cast<T>(state(s.nk, x, y));
      }
      if (last.sum != nullptr && s.normaliser != Normaliser::none)
        last.sum[item * d + x] = static_cast<T>(state(s.nk, x, e));
    }
  }
}

// Every gradient that linear_attention_backward gives; all of its places must be there.
template <class T>
void linear_attention_backward(const LinearAttentionShape& s, const LinearAttentionOperands<T>& in,
                               const LinearAttentionGradients<T>& g) {
  const Index d = s.width, e = s.value_width, size = d * (e + 1);
  const bool normalised = s.normaliser != Normaliser::none;
  for (Index item = 0; item < s.batch * s.heads; ++item) {
    const Index b = item / s.heads, h = item % s.heads;
    const detail::LinearTokens t = detail::linear_tokens(s, in, b, h);
    const std::vector<double> states = t.states();
    std::vector<double> r(t.at(size), 0.0);  // the gradient of the state after the token at hand
    for (Index x = 0; x < d; ++x) {
      for (Index y = 0; y < e && g.dlast.kv != nullptr; ++y) {
        r[t.at(x * (e + 1) + y)] = static_cast<double>(g.dlast.kv[(item * d + x) * e + y]);
      }
      if (g.dlast.sum != nullptr && normalised)
        r[t.at(x * (e + 1) + e)] = static_cast<double>(g.dlast.sum[item * d + x]);
    }
    const auto query = [&](Index i, Index seen) {  // dq_i, and its part of r
      const double* state = states.data() + seen * size;
      double sum = s.eps, dot = 0;
      std::vector<double> go(t.at(e + 1), 0.0);
      for (Index x = 0; x < d; ++x) sum += t.q[t.at(i * d + x)] * state[x * (e + 1) + e];
      for (Index y = 0; y < e; ++y) {
        double o = 0;
        for (Index x = 0; x < d; ++x) o += t.q[t.at(i * d + x)] * state[x * (e + 1) + y];
        const double gy = g.dout ? static_cast<double>(g.dout.at(b, i, h)[y]) : 0.0;
        go[t.at(y)] = normalised ? gy / sum : gy;
        dot += gy * o / sum;
      }
      if (normalised) go[t.at(e)] = -dot / sum;
      for (Index x = 0; x < d; ++x) {
        double dq = 0;
        for (Index y = 0; y <= e; ++y) {
          dq += state[x * (e + 1) + y] * go[t.at(y)];
          r[t.at(x * (e + 1) + y)] += t.q[t.at(i * d + x)] * go[t.at(y)];
        }
        g.dq.at(b, i, h)[x] = static_cast<T>(s.scale * dq);
      }
    };
    double ddecay = 0;
    if (s.form == LinearForm::full) {
      for (Index i = 0; i < s.nq; ++i) query(i, s.nk);
    }
    for (Index j = s.nk - 1; j >= 0; --j) {
      if (s.form == LinearForm::causal) query(j, j + 1);
      const bool kept = in.keep == nullptr || in.keep[b * in.keep_batch + j] != 0;
      for (Index x = 0; x < d; ++x) {
        double dk = 0;
        for (Index y = 0; y <= e; ++y) dk += r[t.at(x * (e + 1) + y)] * t.v[t.at(j * (e + 1) + y)];
        g.dk.at(b, j, h)[x] = static_cast<T>(kept ? dk : 0.0);
      }
      for (Index y = 0; y < e; ++y) {
        double dv = 0;
        for (Index x = 0; x < d; ++x) dv += r[t.at(x * (e + 1) + y)] * t.k[t.at(j * d + x)];
        g.dv.at(b, j, h)[y] = static_cast<T>(kept ? dv : 0.0);
      }
      for (Index n = 0; n < size; ++n) {
        if (normalised || n % (e + 1) != e) ddecay += r[t.at(n)] * states[t.at(j * size + n)];
        r[t.at(n)] *= t.decay;
      }
    }
    for (Index x = 0; x < d; ++x) {
      for (Index y = 0; y < e; ++y) g.dinitial.kv[(item * d + x) * e + y] = static_cast<T>(r[t.at(x * (e + 1) + y)]);
      if (g.dinitial.sum != nullptr && normalised)
        g.dinitial.sum[item * d + x] = static_cast<T>(r[t.at(x * (e + 1) + e)]);
    }
    if (g.ddecay != nullptr) g.ddecay[item] = static_cast<T>(ddecay);
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
