// A multi-head attention of random weights, and what it computes, written out.
#pragma once

#include <functional>

#include "aulos/attention/multi_head_attention.hpp"
#include "support/naive_tokens.hpp"

namespace attention_support {

using namespace aulos::attention;
using aulos::Context;
using aulos::Index;
using aulos::KeepKeys;
using aulos::Shape;
using aulos::Tensor;
using aulos::nn::Linear;
using aulos::nn::NoQkNorm;
using aulos::nn::PerHead;
using aulos::nn::RmsNorm;

template <class T, class Norm = NoQkNorm<T>>
MultiHeadAttention<T, SeparateQkv<T, Norm>> make(Index channels, Index key_channels, const HeadShape& heads,
                                                 const Norm& norm = {}) {
  MultiHeadAttention<T, SeparateQkv<T, Norm>> m;
  m.projection = SeparateQkv<T, Norm>(channels, key_channels, heads, aulos::nn::Bias::yes, norm);
  m.to_out = Linear<T>(heads.heads * heads.width, channels);
  naive::randomise(m, 1);
  return m;
}

template <class M>
naive::Tokens written_out(const M& m, const naive::Tokens& x, const naive::Tokens& y,
                          const std::function<bool(Index, Index, Index)>& keep = {}) {
  const auto& p = m.projection;
  return naive::linear(naive::attention(naive::linear(x, p.to_q), naive::linear(y, p.to_k), naive::linear(y, p.to_v),
                                        p.shape.heads, p.shape.groups, keep),
                       m.to_out);
}

}  // namespace attention_support
