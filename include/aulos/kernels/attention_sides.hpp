// What an attention kernel is given: the extents, and for each side where its queries, keys, values and results lie.
#pragma once

#include <algorithm>
#include <numeric>
#include <span>

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// Rows by batch element, token and head: element (b, n, h, c) is data[b * batch + n * token + h * head + c]. Strides in
// elements; an absent array has no data.
template <class T>
struct HeadRows {
  T* data = nullptr;
  Index batch = 0;
  Index token = 0;
  Index head = 0;

  T* at(Index b, Index n, Index h) const { return data + b * batch + n * token + h * head; }
  explicit operator bool() const { return data != nullptr; }
};

// Dense rows [B, N, H, width].
template <class T>
HeadRows<T> tokens_major(T* data, Index tokens, Index heads, Index width) {
  return {data, tokens * heads * width, heads * width, width};
}

// Dense rows [B, H, N, width]; with width 1 the layout [B, H, N] of a log-sum-exp.
template <class T>
HeadRows<T> heads_major(T* data, Index tokens, Index heads, Index width) {
  return {data, heads * tokens * width, width, tokens * width};
}

// B, H query heads, G key heads (head h reads the keys h / (H / G)), D, E, the factor of q k^T, and G' value heads
// (head h reads the values h / (H / G')). G and G' divide H, each for itself.
struct AttentionShape {
  Index batch = 0;
  Index heads = 0;
  Index groups = 0;
  Index width = 0;
  Index value_width = 0;
  double scale = 1.0;
  Index value_groups = groups;

  Index heads_per_group() const { return groups == 0 ? 0 : heads / groups; }
  Index heads_per_value_group() const { return value_groups == 0 ? 0 : heads / value_groups; }
  // A bundle: neighbouring heads that share both their keys and their values.
  Index heads_per_bundle() const { return std::gcd(heads_per_group(), heads_per_value_group()); }
  Index bundles() const { return heads == 0 || groups == 0 ? 0 : heads / heads_per_bundle(); }
  // An island: neighbouring heads whose keys and values no other head reads.
  Index heads_per_island() const { return std::lcm(heads_per_group(), heads_per_value_group()); }
  Index islands() const { return heads == 0 || groups == 0 ? 0 : heads / heads_per_island(); }
};

// One side of a joint attention. The keys of all sides, in their order, are one key sequence (index j), and so are the
// queries (index i); one side alone is ordinary attention. A side may give keys only (nq 0) or queries only (nk 0).
template <class T>
struct AttentionSide {
  Index nq = 0;
  Index nk = 0;
  HeadRows<const T> q{};  // [B, nq, H, D]
  HeadRows<const T> k{};  // [B, nk, G, D]
  HeadRows<const T> v{};  // [B, nk, G', E]
  HeadRows<T> out{};      // [B, nq, H, E]
  HeadRows<T> lse{};      // [B, nq, H] by its strides: log(sum_j exp(s_ij)); may be absent in the forward
};

enum class Store { overwrite, add };

// A gradient to write; without data it is not wanted.
template <class T>
struct HeadGradient {
  HeadRows<T> rows{};
  Store store = Store::overwrite;
};

template <class T>
struct AttentionSideGradients {
  HeadRows<const T> dout{};  // [B, nq, H, E]
  HeadRows<const T> dlse{};  // [B, nq, H] by its strides; may be absent
  HeadGradient<T> dq{};      // [B, nq, H, D]
  HeadGradient<T> dk{};      // [B, nk, G, D]
  HeadGradient<T> dv{};      // [B, nk, G', E]
};

template <class T>
Index count_queries(std::span<const AttentionSide<T>> sides) {
  Index n = 0;
  for (const auto& side : sides) n += side.nq;
  return n;
}

template <class T>
Index count_keys(std::span<const AttentionSide<T>> sides) {
  Index n = 0;
  for (const auto& side : sides) n += side.nk;
  return n;
}

// Calls body(s, local, offset, count) for each run of the joint tokens [first, first + n) that lies in one side s:
// its token `local` is joint token first + offset. `count` is &AttentionSide<T>::nq or &AttentionSide<T>::nk.
template <class T, class Body>
void for_each_run(std::span<const AttentionSide<T>> sides, Index AttentionSide<T>::*count, Index first, Index n,
                  Body&& body) {
  Index start = 0;
  for (std::size_t s = 0; s < sides.size() && start < first + n; ++s) {
    const Index end = start + sides[s].*count;
    const Index from = (std::max)(start, first);
    const Index to = (std::min)(end, first + n);
    if (from < to) body(s, from - start, from - first, to - from);
    start = end;
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels
