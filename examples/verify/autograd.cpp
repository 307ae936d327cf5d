// autograd: the block and the trajectory. The primitives stand in autograd_*.cpp.
#include "aulos/attention/multi_head_attention.hpp"
#include "aulos/conditioning/ada_layer_norm.hpp"
#include "aulos/nn/feed_forward.hpp"
#include "verify/families.hpp"
#include "verify/trajectory.hpp"

namespace verify {

using namespace aulos;

namespace {

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
  registry.add("autograd.dit_block", dit_block);
  registry.add("autograd.trajectory", trajectory);
}

}  // namespace verify
