// autograd: every variant of softmax attention.
#include "aulos/core/context.hpp"
#include "aulos/ops/attention.hpp"
#include "verify/families.hpp"

namespace verify {

using namespace aulos;

namespace {

// Every variant of softmax attention on q, k, v [B, H, N, D], heads in front of tokens.
void attention(Case& c) {
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

}  // namespace

void add_autograd_attention(Registry& registry) { registry.add("autograd.attention", attention); }

}  // namespace verify
