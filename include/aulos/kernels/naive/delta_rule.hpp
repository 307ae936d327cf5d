// The readable twin of delta_rule.hpp, token by token in double: S_t = S_{t-1} + beta_t k_t (v_t - S_{t-1}^T k_t)^T.
#pragma once

#include <cstddef>
#include <vector>

#include "aulos/kernels/delta_rule_backward.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

namespace detail {

// The state and the error e_t of each token of one head, from the initial state on.
template <class T>
struct DeltaTokens {
  const DeltaRuleShape& s;
  const DeltaRuleOperands<T>& in;
  Index b, h;
  std::vector<double> states, errors;  // [N + 1, D, E], [N, E]

  DeltaTokens(const DeltaRuleShape& shape, const DeltaRuleOperands<T>& operands, Index item)
      : s(shape), in(operands), b(item / shape.heads), h(item % shape.heads) {
    const Index size = s.width * s.value_width;
    for (Index i = 0; i < size; ++i) {
      states.push_back(in.initial == nullptr ? 0.0 : static_cast<double>(in.initial[item * size + i]));
    }
    for (Index t = 0; t < s.tokens; ++t) {
      for (Index y = 0; y < s.value_width; ++y) {
        double e = static_cast<double>(in.v.at(b, t, h)[y]);
        for (Index x = 0; x < s.width; ++x) e -= state(t, x, y) * k(t, x);
        errors.push_back(e);
      }
      for (Index x = 0; x < s.width; ++x) {
        for (Index y = 0; y < s.value_width; ++y) states.push_back(state(t, x, y) + beta(t) * k(t, x) * error(t, y));
      }
    }
  }
  double state(Index t, Index x, Index y) const { return states[at((t * s.width + x) * s.value_width + y)]; }
  double error(Index t, Index y) const { return errors[at(t * s.value_width + y)]; }
  double k(Index t, Index x) const { return static_cast<double>(in.k.at(b, t, h)[x]); }
  double q(Index t, Index x) const { return s.scale * static_cast<double>(in.q.at(b, t, h)[x]); }
  double beta(Index t) const { return static_cast<double>(*in.beta.at(b, t, h)); }
  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
};

}  // namespace detail

template <class T>
void delta_rule(const DeltaRuleShape& s, const DeltaRuleOperands<T>& in, HeadRows<T> out, T* last) {
  const Index size = s.width * s.value_width;
  for (Index item = 0; item < s.batch * s.heads; ++item) {
    const detail::DeltaTokens<T> n(s, in, item);
    for (Index t = 0; t < s.tokens; ++t) {
      for (Index y = 0; y < s.value_width; ++y) {
        double o = 0;
        for (Index x = 0; x < s.width; ++x) o += n.q(t, x) * n.state(t + 1, x, y);
        out.at(n.b, t, n.h)[y] = static_cast<T>(o);
      }
    }
    for (Index i = 0; i < size; ++i) last[item * size + i] = static_cast<T>(n.states[n.at(s.tokens * size + i)]);
  }
}

// Every gradient that delta_rule_backward gives; all of its places must be there. With G the gradient of S_t:
// dbeta = k^T G e, de = beta G^T k, dk = beta G e - S_{t-1} de, dv = de, and G of S_{t-1} = G - k de^T.
template <class T>
void delta_rule_backward(const DeltaRuleShape& s, const DeltaRuleOperands<T>& in, const DeltaRuleGradients<T>& g) {
  const Index d = s.width, width = s.value_width, size = d * width;
  for (Index item = 0; item < s.batch * s.heads; ++item) {
    const detail::DeltaTokens<T> n(s, in, item);
    std::vector<double> r;
    for (Index i = 0; i < size; ++i)
      r.push_back(g.dlast == nullptr ? 0.0 : static_cast<double>(g.dlast[item * size + i]));
    for (Index t = s.tokens - 1; t >= 0; --t) {
      const auto go = [&](Index y) { return g.dout ? static_cast<double>(g.dout.at(n.b, t, n.h)[y]) : 0.0; };
      for (Index x = 0; x < d; ++x) {
        double dq = 0;
        for (Index y = 0; y < width; ++y) {
          dq += n.state(t + 1, x, y) * go(y);
          r[n.at(x * width + y)] += n.q(t, x) * go(y);
        }
        g.dq.at(n.b, t, n.h)[x] = static_cast<T>(s.scale * dq);
      }
      std::vector<double> de(n.at(width), 0.0);
      double dbeta = 0;
      for (Index y = 0; y < width; ++y) {
        double sum = 0;
        for (Index x = 0; x < d; ++x) sum += r[n.at(x * width + y)] * n.k(t, x);
        de[n.at(y)] = n.beta(t) * sum;
        dbeta += sum * n.error(t, y);
        g.dv.at(n.b, t, n.h)[y] = static_cast<T>(de[n.at(y)]);
      }
      *g.dbeta.at(n.b, t, n.h) = static_cast<T>(dbeta);
      for (Index x = 0; x < d; ++x) {
        double dk = 0;
        for (Index y = 0; y < width; ++y) {
          dk += n.beta(t) * r[n.at(x * width + y)] * n.error(t, y) - n.state(t, x, y) * de[n.at(y)];
        }
        g.dk.at(n.b, t, n.h)[x] = static_cast<T>(dk);
      }
      for (Index x = 0; x < d; ++x) {
        for (Index y = 0; y < width; ++y) r[n.at(x * width + y)] -= n.k(t, x) * de[n.at(y)];
      }
    }
    for (Index i = 0; i < size; ++i) g.dinitial[item * size + i] = static_cast<T>(r[n.at(i)]);
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
