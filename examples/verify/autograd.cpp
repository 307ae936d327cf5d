// autograd: primitives and small composites.
#include "aulos/attention/multi_head_attention.hpp"
#include "aulos/conditioning/ada_layer_norm.hpp"
#include "aulos/nn/feed_forward.hpp"
#include "verify/families.hpp"
#include "verify/trajectory.hpp"

namespace verify {

using namespace aulos;

namespace {

// Every variant of softmax attention on q, k, v [B, H, N, D], heads in front of tokens.
void attention_case(Case& c) {
  const auto heads_second = [](const Tensor<float, 4>& x) { return x.permute_leading({0, 2, 1, 3}); };
  const auto q = heads_second(c.input<4>("q"));
  const auto k = heads_second(c.input<4>("k"));
  const auto v = heads_second(c.input<4>("v"));
  const Tensor<float, 3> bias = c.parameter<3>("bias");
  const auto mask = c.indices<2>("key_mask");
  const Index window = c.config().get<Index>("window");
  const Index nq = q.extent(1);
  const Index nk = k.extent(1);
  const auto out = [&](const char* name, const Tensor<float, 4>& y) { c.output(name, heads_second(y)); };

  const AttentionResult<float> full = attention_with_lse(q, k, v);
  out("full", full.out);
  c.output("full_lse", full.lse);
  const auto bottom_right = kernels::Causality::bottom_right;
  out("causal", scaled_dot_product_attention(q, k, v, {}, kernels::causal(bottom_right, nq, nk)));
  out("window", scaled_dot_product_attention(q, k, v, {}, kernels::sliding_window(bottom_right, nq, nk, window, 0)));
  out("biased", scaled_dot_product_attention(q, k, v, {}, kernels::NoMask{}, AddBias<float>(bias)));
  KeepKeys keep{c.context().empty<std::uint8_t>(mask.shape())};
  for (Index i = 0; i < mask.count(); ++i) keep.keep.mutable_data()[i] = mask.data()[i] != 0;
  out("padded", scaled_dot_product_attention(q, k, v, {}, keep));
}

// The adaLN-Zero block with RMS-normed queries and keys.
struct DitBlock {
  conditioning::AdaLayerNormZero<float> ada;
  attention::MultiHeadAttention<float, attention::FusedQkv<float>> attn;
  nn::Mlp<float> mlp;
  nn::LayerNorm<float> norm;

  DitBlock(Index d, Index heads) : ada(d, d), mlp(d, 4 * d), norm(d, 1e-6, nn::Affine::no) {
    const nn::PerHead<nn::RmsNorm<float>> qk_norm{nn::RmsNorm<float>(d / heads, 1e-6, nn::Affine::no)};
    attn.projection = attention::FusedQkv<float>(d, {heads, d / heads}, nn::Bias::yes, qk_norm);
    attn.to_out = nn::Linear<float>(d, d);
  }
  Tensor<float, 3> operator()(Tensor<float, 3> x, const Tensor<float, 2>& c) const {
    const auto m = ada(silu(c));
    const auto h = norm.modulated(x, m.attention.shift, m.attention.scale);
    x = attn.add_to(h, m.attention.gate, std::move(x));
    const auto g = norm.modulated(x, m.mlp.shift, m.mlp.scale);
    return mlp.add_to(g, m.mlp.gate, std::move(x));
  }
  void visit(auto&& v) {
    v("ada", ada.linear);
    v("qkv", attn.projection.qkv);
    v("proj", attn.to_out);
    v("fc1", mlp.fc1);
    v("fc2", mlp.fc2);
  }
};

void dit_block(Case& c) {
  const auto& block = c.module<DitBlock>(c.config().get<Index>("d"), c.config().get<Index>("heads"));
  const auto x = c.input<3>("x");
  const auto vector = c.input<2>("c");
  c.output("y", block(x, vector));
}

}  // namespace

void add_autograd(Registry& registry) {
  registry.add("autograd.attention", attention_case);
  registry.add("autograd.dit_block", dit_block);
  registry.add("autograd.trajectory", trajectory);
}

}  // namespace verify
