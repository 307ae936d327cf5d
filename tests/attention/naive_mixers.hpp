// The mixers written out in double: from queries, keys and values of one sequence [B, N, H * D] to results.
#pragma once

#include <cmath>
#include <functional>

#include "aulos/attention/differential.hpp"
#include "aulos/attention/linear.hpp"
#include "support/naive_tokens.hpp"

namespace naive {

// keep(b, i, j) of a pair, as attention() takes it.
using Keep = std::function<bool(Index, Index, Index)>;

inline Tokens channels(const Tokens& x, Index first, Index count) {
  Tokens y(x.batch, x.count, count);
  for (Index b = 0; b < x.batch; ++b)
    for (Index n = 0; n < x.count; ++n)
      for (Index c = 0; c < count; ++c) y.at(b, n, c) = x.at(b, n, first + c);
  return y;
}

inline Tokens linear_mixer(const Tokens& q, const Tokens& k, const Tokens& v, Index heads,
                           const aulos::attention::Linear& mixer, const Keep& keep = {}) {
  const auto phi = [&](double x) {
    if (mixer.feature == aulos::attention::LinearFeature::relu) return x > 0 ? x : 0.0;
    return x > 0 ? x + 1 : std::exp(x);
  };
  const bool causal = mixer.form == aulos::kernels::LinearForm::causal;
  const Index d = q.channels / heads, e = v.channels / heads;
  Tokens y(q.batch, q.count, heads * e);
  for (Index b = 0; b < q.batch; ++b)
    for (Index h = 0; h < heads; ++h)
      for (Index i = 0; i < q.count; ++i) {
        double total = mixer.eps;
        for (Index j = 0; j < (causal ? i + 1 : k.count); ++j) {
          double s = 0;
          for (Index c = 0; c < d; ++c) s += phi(q.at(b, i, h * d + c)) * phi(k.at(b, j, h * d + c));
          if (keep && !keep(b, i, j)) s = 0;
          total += s;
          for (Index c = 0; c < e; ++c) y.at(b, i, h * e + c) += s * v.at(b, j, h * e + c);
        }
        for (Index c = 0; c < e; ++c) y.at(b, i, h * e + c) /= total;
      }
  return y;
}

// `heads` of q and `groups` of k and v, all 2 to one of the result. Query head s reads key head s / r.
template <class T>
Tokens differential_mixer(const Tokens& q, const Tokens& k, const Tokens& v, Index heads, Index groups,
                          const aulos::attention::Differential<T>& mixer, const Keep& keep = {}) {
  const Index d = q.channels / heads, r = heads / groups;
  const auto dot = [&](const auto& a, const auto& b) {
    double sum = 0;
    for (Index c = 0; c < d; ++c) sum += static_cast<double>(a.data()[c]) * static_cast<double>(b.data()[c]);
    return sum;
  };
  const double lambda = std::exp(dot(mixer.lambda_q1, mixer.lambda_k1)) -
                        std::exp(dot(mixer.lambda_q2, mixer.lambda_k2)) + mixer.lambda_init;
  const auto map = [&](Index s) {  // of query head s: softmax(q k^T) v
    return attention(channels(q, s * d, d), channels(k, s / r * d, d), channels(v, s / (2 * r) * 2 * d, 2 * d), 1, 1,
                     keep);
  };
  Tokens y(q.batch, q.count, heads * d);
  for (Index h = 0; h < heads / 2; ++h) {
    Tokens one = map(2 * h), two = map(2 * h + 1);
    for (std::size_t i = 0; i < one.x.size(); ++i) one.x[i] -= lambda * two.x[i];
    one = norm(one, mixer.subln, 2 * d);
    for (Index b = 0; b < y.batch; ++b)
      for (Index n = 0; n < y.count; ++n)
        for (Index c = 0; c < 2 * d; ++c) y.at(b, n, h * 2 * d + c) = (1 - mixer.lambda_init) * one.at(b, n, c);
  }
  return y;
}

}  // namespace naive
