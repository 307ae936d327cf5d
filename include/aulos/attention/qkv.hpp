// Projections to queries, keys and values.
#pragma once

#include <concepts>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/nn/norm.hpp"
#include "aulos/ops/attention.hpp"

namespace aulos::inline AULOS_ISA::attention {

// [B, N, H, D] -> [B, N, H * D], a view.
template <Real T>
Tensor<T, 3> merge_heads(const Tensor<T, 4>& x) {
  return x.reshape(Shape<3>{x.extent(0), x.extent(1), x.extent(2) * x.extent(3)});
}

struct HeadShape {
  Index heads = 0;
  Index width = 0;   // D
  Index groups = 0;  // G; 0: as many as heads
};

// Three linears, an optional norm on queries and keys: to_q, to_k, to_v.
template <Real T, nn::QkNormOf<T> QkNorm = nn::PerHead<nn::RmsNorm<T>>>
struct SeparateQkv {
  using value_type = T;

  nn::Linear<T> to_q, to_k, to_v;
  QkNorm norm_q, norm_k;
  HeadShape shape;

  SeparateQkv() = default;
  SeparateQkv(Index query_channels, Index key_channels, const HeadShape& heads, nn::Bias bias = nn::Bias::yes,
              const QkNorm& norm = {})
      : to_q(query_channels, heads.heads * heads.width, bias), norm_q(norm), norm_k(norm), shape(heads) {
    if (shape.groups == 0) shape.groups = shape.heads;
    to_k = nn::Linear<T>(key_channels, shape.groups * shape.width, bias);
    to_v = nn::Linear<T>(key_channels, shape.groups * shape.width, bias);
  }

  Tensor<T, 4> query(const Tensor<T, 3>& x) const { return norm_q(to_q(x).split_last(shape.heads)); }
  Tensor<T, 4> key(const Tensor<T, 3>& x) const { return norm_k(to_k(x).split_last(shape.groups)); }
  Tensor<T, 4> value(const Tensor<T, 3>& x) const { return to_v(x).split_last(shape.groups); }

  QueryKeyValue<T> operator()(const Tensor<T, 3>& x) const { return cross(x, x); }
  QueryKeyValue<T> cross(const Tensor<T, 3>& x, const Tensor<T, 3>& y) const {
    QueryKeyValue<T> qkv;
    qkv.q = query(x);
    qkv.k = key(y);
    qkv.v = value(y);
    return qkv;
  }
  // Keys and values only: a side whose queries nobody reads.
  QueryKeyValue<T> keys_only(const Tensor<T, 3>& x) const {
    QueryKeyValue<T> qkv;
    qkv.k = key(x);
    qkv.v = value(x);
    return qkv;
  }

  void visit(auto&& v) {
    v("to_q", to_q);
    v("to_k", to_k);
    v("to_v", to_v);
    v("norm_q", norm_q);
    v("norm_k", norm_k);
  }
};

// One linear with the rows q, k, v: `qkv`. As many groups of keys as heads.
template <Real T, nn::QkNormOf<T> QkNorm = nn::PerHead<nn::RmsNorm<T>>>
struct FusedQkv {
  using value_type = T;

  nn::Linear<T> qkv;
  QkNorm norm_q, norm_k;
  HeadShape shape;

  FusedQkv() = default;
  FusedQkv(Index channels, const HeadShape& heads, nn::Bias bias = nn::Bias::yes, const QkNorm& norm = {})
      : qkv(channels, 3 * heads.heads * heads.width, bias), norm_q(norm), norm_k(norm), shape(heads) {
    if (shape.groups == 0) shape.groups = shape.heads;
    if (shape.groups != shape.heads)
      throw ConfigError("FusedQkv: groups is " + std::to_string(shape.groups) + ", expected as many as heads, " +
                        std::to_string(shape.heads));
  }

  QueryKeyValue<T> operator()(const Tensor<T, 3>& x) const {
    const Tensor<T, 3> rows = qkv(x);
    const Index c = shape.heads * shape.width;
    const auto part = [&](Index i) { return rows.slice(2, i * c, (i + 1) * c).split_last(shape.heads); };
    QueryKeyValue<T> out;
    out.q = norm_q(part(0));
    out.k = norm_k(part(1));
    out.v = part(2);
    return out;
  }
  // Keys and values only. The product gives the queries as well; they are dropped.
  QueryKeyValue<T> keys_only(const Tensor<T, 3>& x) const {
    QueryKeyValue<T> out = (*this)(x);
    out.q = {};
    return out;
  }

  void visit(auto&& v) {
    v("qkv", qkv);
    v("norm_q", norm_q);
    v("norm_k", norm_k);
  }
};

// Cross-attention with keys and values from one linear: `q` of the queries' side, `kv` (rows k, v) of the side that is
// read.
template <Real T>
struct FusedKv {
  using value_type = T;

  nn::Linear<T> q, kv;
  HeadShape shape;

  FusedKv() = default;
  FusedKv(Index query_channels, Index key_channels, const HeadShape& heads, nn::Bias bias = nn::Bias::yes)
      : q(query_channels, heads.heads * heads.width, bias), shape(heads) {
    if (shape.groups == 0) shape.groups = shape.heads;
    kv = nn::Linear<T>(key_channels, 2 * shape.groups * shape.width, bias);
  }

  QueryKeyValue<T> cross(const Tensor<T, 3>& x, const Tensor<T, 3>& y) const {
    const Tensor<T, 3> rows = kv(y);
    const Index c = shape.groups * shape.width;
    QueryKeyValue<T> out;
    out.q = q(x).split_last(shape.heads);
    out.k = rows.slice(2, 0, c).split_last(shape.groups);
    out.v = rows.slice(2, c, 2 * c).split_last(shape.groups);
    return out;
  }

  void visit(auto&& v) {
    v("q", q);
    v("kv", kv);
  }
};

// A projection of one sequence to its queries, keys and values, or to the last two.
template <class P, class T>
concept Projection = requires(const P& projection, const Tensor<T, 3>& x) {
  { projection(x) } -> std::same_as<QueryKeyValue<T>>;
  { projection.keys_only(x) } -> std::same_as<QueryKeyValue<T>>;
};

}  // namespace aulos::inline AULOS_ISA::attention
