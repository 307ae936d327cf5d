// Multi-head attention of one sequence, or from one sequence to another.
#pragma once

#include <array>
#include <utility>

#include "aulos/attention/mixer.hpp"
#include "aulos/attention/qkv.hpp"
#include "aulos/attention/softmax.hpp"
#include "aulos/core/config.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/nn/norm.hpp"

namespace aulos::inline AULOS_ISA::attention {

// out(mix(norm_q(Q x), norm_k(K y), V y)) with heads split: queries from x, keys and values from y (x itself for
// self-attention). The projection is SeparateQkv or FusedQkv; for cross-attention alone FusedKv.
template <Real T, class Projection = SeparateQkv<T>, Mixer<T, 1> Mixing = Softmax>
struct MultiHeadAttention {
  using value_type = T;

  Projection projection;
  nn::Linear<T> to_out;
  Mixing mixer;

  // Self-attention: [B, N, C] -> [B, N, C].
  template <class... Rules>
  Tensor<T, 3> operator()(const Tensor<T, 3>& x, const Rules&... rules) const {
    return to_out(mixed(projection(x), rules...));
  }
  // residual + gate * attention(x), in one pass.
  Tensor<T, 3> add_to(const Tensor<T, 3>& x, const Tensor<T, 3>& gate, Tensor<T, 3>&& residual) const {
    return to_out.add_to(mixed(projection(x)), gate, std::move(residual));
  }
  // Cross-attention: x [B, Nq, C], y [B, Nk, C'] -> [B, Nq, C].
  template <class... Rules>
  Tensor<T, 3> cross(const Tensor<T, 3>& x, const Tensor<T, 3>& y, const Rules&... rules) const {
    return to_out(mixed(projection.cross(x, y), rules...));
  }
  // residual + gate * cross(x, y), in one pass.
  Tensor<T, 3> add_cross_to(const Tensor<T, 3>& x, const Tensor<T, 3>& y, const Tensor<T, 3>& gate,
                            Tensor<T, 3>&& residual) const {
    return to_out.add_to(mixed(projection.cross(x, y)), gate, std::move(residual));
  }

  void visit(auto&& v) {
    projection.visit(v);
    v("to_out", to_out);
    mixer.visit(v);
  }

 private:
  template <class... Rules>
  Tensor<T, 3> mixed(QueryKeyValue<T>&& qkv, const Rules&... rules) const {
    const std::array<QueryKeyValue<T>, 1> side{std::move(qkv)};
    return merge_heads(mix(mixer, side, rules...)[0]);
  }
};

}  // namespace aulos::inline AULOS_ISA::attention
