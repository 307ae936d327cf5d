// Differential attention as a module: projections, rotation, the differential mixer, under its official names.
#pragma once

#include <array>

#include "aulos/attention/differential.hpp"
#include "aulos/attention/qkv.hpp"
#include "aulos/attention/rotation.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/text.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/nn/norm.hpp"

namespace aulos::inline AULOS_ISA::attention {

struct DifferentialShape {
  Index channels = 0;  // C, a multiple of 2 H
  Index heads = 0;     // H, half as many as those of ordinary attention of the same width
  Index groups = 0;    // G, a divisor of H; 0: as many as heads
  Index depth = 0;     // of the layer in its model, from 0
};

// out_proj(differential(rotate(q_proj x), rotate(k_proj x), v_proj x)), D = C / 2H, without biases: MultiheadDiffAttn
// of the paper's code, which turns all D channels of every q and k, interleaved, and is causal where no mask is given.
// Here masks are rules of the call, as everywhere: without one all keys are seen.
//     attention(x, Rotated<float, 1>{{rope_table<float>(context, n, d)}}, kernels::causal(top_left, n, n));
template <Real T>
struct DifferentialAttention {
  using value_type = T;

  SeparateQkv<T, nn::NoQkNorm<T>> qkv;
  nn::Linear<T> out_proj;
  Differential<T> mixer;

  DifferentialAttention() = default;
  explicit DifferentialAttention(const DifferentialShape& shape) {
    const Index groups = shape.groups == 0 ? shape.heads : shape.groups;
    if (shape.heads < 1 || shape.channels % (2 * shape.heads) != 0 || groups < 1 || shape.heads % groups != 0)
      throw ConfigError(
          concat_text({"DifferentialAttention: channels ", shape.channels, ", heads ", shape.heads, ", groups ", groups,
                       "; expected a multiple of twice the heads, and groups that divide the heads"}));
    const Index width = shape.channels / (2 * shape.heads);
    qkv = {shape.channels, shape.channels, {2 * shape.heads, width, 2 * groups}, nn::Bias::no};
    out_proj = nn::Linear<T>(shape.channels, shape.channels, nn::Bias::no);
    mixer = Differential<T>(width, shape.depth);
  }

  // [B, N, C] -> [B, N, C].
  template <class Rotation = Unrotated, class... Rules>
  Tensor<T, 3> operator()(const Tensor<T, 3>& x, const Rotation& rotation = {}, const Rules&... rules) const {
    const std::array<QueryKeyValue<T>, 1> side{rotation(0, qkv(x))};
    return out_proj(merge_heads(mix(mixer, side, rules...)[0]));
  }

  void visit(auto&& v) {
    v("q_proj", qkv.to_q);
    v("k_proj", qkv.to_k);
    v("v_proj", qkv.to_v);
    v("out_proj", out_proj);
    mixer.visit(v);
  }
};

}  // namespace aulos::inline AULOS_ISA::attention
