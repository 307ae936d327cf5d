// The readable twin of attention() and attention_backward(): one query at a time, everything in double.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "aulos/kernels/attention_sides.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

// Rules on one pair: keep(b, h, i, j) -> bool, score(s, b, h, i, j) -> double, and for the backward
// slope(s, b, h, i, j) -> d score / d s and sink(ds, b, h, i, j), which sees the gradient of every score.
struct KeepAll {
  bool operator()(Index, Index, Index, Index) const { return true; }
};
struct SameScore {
  double operator()(double s, Index, Index, Index, Index) const { return s; }
};
struct UnitSlope {
  double operator()(double, Index, Index, Index, Index) const { return 1.0; }
};
struct NoSink {
  void operator()(double, Index, Index, Index, Index) const {}
};

namespace detail {

// Token n of the joint sequence: its side and its number there.
struct Place {
  std::size_t side;
  Index local;
};

template <class T>
std::vector<Place> places(std::span<const AttentionSide<T>> sides, Index AttentionSide<T>::*count) {
  std::vector<Place> all;
  for (std::size_t s = 0; s < sides.size(); ++s) {
    for (Index n = 0; n < sides[s].*count; ++n) all.push_back({s, n});
  }
  return all;
}

// Whether a score rule dropped the pair. On bits: under -ffast-math a compiler may take no number for infinite.
inline bool is_minus_infinity(double x) { return std::bit_cast<std::uint64_t>(x) == 0xfff0000000000000u; }

// What softmax makes of one query's scores: raw (scaled) scores, weights, log-sum-exp.
struct Row {
  std::vector<double> raw, weight;
  double lse = -std::numeric_limits<double>::infinity();
};

template <class T, class Keep, class Score>
Row attend(const AttentionShape& shape, std::span<const AttentionSide<T>> sides, const std::vector<Place>& keys,
           Index b, Index h, Index i, Place at, const Keep& keep, const Score& score) {
  const Index g = h / shape.heads_per_group();
  const T* q = sides[at.side].q.at(b, at.local, h);
  Row row;
  std::vector<double> s;
  std::vector<bool> kept;
  for (std::size_t j = 0; j < keys.size(); ++j) {
    const T* k = sides[keys[j].side].k.at(b, keys[j].local, g);
    double dot = 0;
    for (Index d = 0; d < shape.width; ++d) dot += static_cast<double>(q[d]) * static_cast<double>(k[d]);
    row.raw.push_back(shape.scale * dot);
    const Index key = static_cast<Index>(j);
    s.push_back(score(row.raw[j], b, h, i, key));
    kept.push_back(keep(b, h, i, key) && !is_minus_infinity(s[j]));
  }
  row.weight.assign(keys.size(), 0.0);
  bool sees_any = false;
  double top = 0;
  for (std::size_t j = 0; j < s.size(); ++j) {
    if (!kept[j]) continue;
    if (!sees_any || std::isnan(s[j]) || s[j] > top) top = s[j];
    sees_any = true;
  }
  if (!sees_any) return row;
  double total = 0;
  for (std::size_t j = 0; j < s.size(); ++j)
    if (kept[j]) total += row.weight[j] = std::exp(s[j] - top);
  for (double& w : row.weight) w /= total;
  row.lse = top + std::log(total);
  return row;
}

}  // namespace detail

template <class T, class Keep = KeepAll, class Score = SameScore>
void attention(const AttentionShape& shape, std::span<const AttentionSide<T>> sides, const Keep& keep = {},
               const Score& score = {}) {
  const auto queries = detail::places(sides, &AttentionSide<T>::nq);
  const auto keys = detail::places(sides, &AttentionSide<T>::nk);
  for (Index b = 0; b < shape.batch; ++b) {
    for (Index h = 0; h < shape.heads; ++h) {
      for (std::size_t i = 0; i < queries.size(); ++i) {
        const detail::Place at = queries[i];
        const AttentionSide<T>& side = sides[at.side];
        const auto row = detail::attend(shape, sides, keys, b, h, static_cast<Index>(i), at, keep, score);
        T* out = side.out.at(b, at.local, h);
        for (Index e = 0; e < shape.value_width; ++e) {
          double sum = 0;
          for (std::size_t j = 0; j < keys.size(); ++j) {
            const T* v = sides[keys[j].side].v.at(b, keys[j].local, h / shape.heads_per_value_group());
            sum += row.weight[j] * static_cast<double>(v[e]);
          }
          out[e] = static_cast<T>(sum);
        }
        if (side.lse) *side.lse.at(b, at.local, h) = static_cast<T>(row.lse);
      }
    }
  }
}

// Needs neither out nor lse. Absent gradients are skipped.
template <class T, class Keep = KeepAll, class Score = SameScore, class Slope = UnitSlope, class Sink = NoSink>
void attention_backward(const AttentionShape& shape, std::span<const AttentionSide<T>> sides,
                        std::span<const AttentionSideGradients<T>> gradients, const Keep& keep = {},
                        const Score& score = {}, const Slope& slope = {}, const Sink& sink = {}) {
  const auto queries = detail::places(sides, &AttentionSide<T>::nq);
  const auto keys = detail::places(sides, &AttentionSide<T>::nk);
  auto clear = [&](const HeadGradient<T>& d, Index tokens, Index heads, Index width) {
    if (!d.rows || d.store == Store::add) return;
    for (Index b = 0; b < shape.batch; ++b) {
      for (Index n = 0; n < tokens; ++n) {
        for (Index h = 0; h < heads; ++h) std::fill_n(d.rows.at(b, n, h), width, T(0));
      }
    }
  };
  auto add = [](const HeadGradient<T>& d, Index b, Index n, Index h, double factor, const T* x, Index width) {
    if (!d.rows) return;
    for (Index c = 0; c < width; ++c) d.rows.at(b, n, h)[c] += static_cast<T>(factor * static_cast<double>(x[c]));
  };
  for (std::size_t s = 0; s < sides.size(); ++s) {
    clear(gradients[s].dq, sides[s].nq, shape.heads, shape.width);
    clear(gradients[s].dk, sides[s].nk, shape.groups, shape.width);
    clear(gradients[s].dv, sides[s].nk, shape.value_groups, shape.value_width);
  }
  for (Index b = 0; b < shape.batch; ++b) {
    for (Index h = 0; h < shape.heads; ++h) {
      const Index g = h / shape.heads_per_group(), vg = h / shape.heads_per_value_group();
      for (std::size_t i = 0; i < queries.size(); ++i) {
        const detail::Place at = queries[i];
        const Index query = static_cast<Index>(i);
        const auto row = detail::attend(shape, sides, keys, b, h, query, at, keep, score);
        const T* dout = gradients[at.side].dout.at(b, at.local, h);
        std::vector<double> dweight(keys.size(), 0.0);
        double mean = gradients[at.side].dlse ? -static_cast<double>(*gradients[at.side].dlse.at(b, at.local, h)) : 0.0;
        for (std::size_t j = 0; j < keys.size(); ++j) {
          const T* v = sides[keys[j].side].v.at(b, keys[j].local, vg);
          for (Index e = 0; e < shape.value_width; ++e) {
            dweight[j] += static_cast<double>(dout[e]) * static_cast<double>(v[e]);
          }
          mean += row.weight[j] * dweight[j];
        }
        for (std::size_t j = 0; j < keys.size(); ++j) {
          const Index key = static_cast<Index>(j);
          const detail::Place other = keys[j];
          const double ds = row.weight[j] == 0.0 ? 0.0 : row.weight[j] * (dweight[j] - mean);
          sink(ds, b, h, query, key);
          const double draw = shape.scale * ds * slope(row.raw[j], b, h, query, key);
          add(gradients[at.side].dq, b, at.local, h, draw, sides[other.side].k.at(b, other.local, g), shape.width);
          add(gradients[other.side].dk, b, other.local, g, draw, sides[at.side].q.at(b, at.local, h), shape.width);
          add(gradients[other.side].dv, b, other.local, vg, row.weight[j], dout, shape.value_width);
        }
      }
    }
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
