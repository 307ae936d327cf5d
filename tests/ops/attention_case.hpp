// A naive attention in double, and the arguments of an attention op.
#pragma once

#include <functional>
#include <vector>

#include "aulos/ops/attention.hpp"
#include "ops/op_case.hpp"

namespace aulos_test {

struct Heads {
  Index batch, nq, nk, heads, groups, width, value_width;
  Index value_groups = groups;
  Shape<4> q() const { return {batch, nq, heads, width}; }
  Shape<4> k() const { return {batch, nk, groups, width}; }
  Shape<4> v() const { return {batch, nk, value_groups, value_width}; }
};

template <class T>
struct Arguments {
  Tensor<T, 4> q, k, v;
};

template <class T>
Arguments<T> arguments(Case<T>& c, const Heads& h, std::uint64_t seed = 1) {
  auto q = c.template in<4>(h.q(), seed, 1.5);
  auto k = c.template in<4>(h.k(), seed + 1, 1.5);
  auto v = c.template in<4>(h.v(), seed + 2, 1.5);
  return {std::move(q), std::move(k), std::move(v)};
}

// Added to the score of (b, h, i, j); -inf drops the pair.
using Added = std::function<double(Index, Index, Index, Index)>;

struct NaiveAttention {
  std::vector<double> out, lse;  // [B, Nq, H, E], [B, H, Nq]
};

template <class T>
NaiveAttention naive_attention(const Arguments<T>& a, const Added& added = {}, double scale = 0) {
  const auto& [q, k, v] = a;
  const Index batch = q.extent(0), nq = q.extent(1), heads = q.extent(2), width = q.extent(3), nk = k.extent(1);
  const Index per_group = k.extent(2) == 0 ? 1 : heads / k.extent(2);
  const Index per_value_group = v.extent(2) == 0 ? 1 : heads / v.extent(2);
  const Index value_width = v.extent(3);
  if (scale == 0) scale = 1 / std::sqrt(static_cast<double>(width));
  NaiveAttention y;
  y.out.assign(static_cast<std::size_t>(batch * nq * heads * value_width), 0);
  y.lse.assign(static_cast<std::size_t>(batch * heads * nq), -std::numeric_limits<double>::infinity());
  for (Index b = 0; b < batch; ++b) {
    for (Index h = 0; h < heads; ++h) {
      for (Index i = 0; i < nq; ++i) {
        std::vector<double> s;
        double top = -std::numeric_limits<double>::infinity(), sum = 0;
        for (Index j = 0; j < nk; ++j) {
          double dot = 0;
          for (Index d = 0; d < width; ++d)
            dot += static_cast<double>(q(b, i, h, d)) * static_cast<double>(k(b, j, h / per_group, d));
          s.push_back(scale * dot + (added ? added(b, h, i, j) : 0));
          top = std::fmax(top, s.back());
        }
        if (!(top > -std::numeric_limits<double>::infinity())) continue;
        for (double& score : s) sum += score = std::exp(score - top);
        for (Index j = 0; j < nk; ++j)
          for (Index e = 0; e < value_width; ++e)
            y.out[static_cast<std::size_t>(((b * nq + i) * heads + h) * value_width + e)] +=
                s[static_cast<std::size_t>(j)] / sum * static_cast<double>(v(b, j, h / per_value_group, e));
        y.lse[static_cast<std::size_t>((b * heads + h) * nq + i)] = top + std::log(sum);
      }
    }
  }
  return y;
}

inline std::function<double(Index)> at(const std::vector<double>& values) {
  return [&values](Index i) { return values[static_cast<std::size_t>(i)]; };
}

}  // namespace aulos_test
