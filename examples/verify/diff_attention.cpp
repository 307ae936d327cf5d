// diff-attention.diff: differential attention of the paper's code (MultiheadDiffAttn).
#include "aulos/attention/differential_attention.hpp"
#include "verify/families.hpp"

namespace verify {

using namespace aulos;

namespace {

// x [B, N, C], cos and sin [N, D / 2]; an additive mask [1, 1, N, N] stands in place of the causal one.
void diff_case(Case& c) {
  const auto& config = c.config();
  auto& attention = c.module<attention::DifferentialAttention<float>>(
      attention::DifferentialShape{.channels = config.get<Index>("embed_dim"),
                                   .heads = config.get<Index>("num_heads"),
                                   .groups = config.get_or<Index>("num_kv_heads", 0),
                                   .depth = config.get<Index>("depth")});
  const auto x = c.input<3>("x");
  const auto angles = [&](const char* name) { return c.input<2>(name).unsqueeze(0).unsqueeze(2); };
  const attention::Rotated<float, 1> rotation{{RopeTable<float>{angles("cos"), angles("sin")}}};
  const Index n = x.extent(1);
  if (!c.has_input("attn_mask")) {
    c.output("y", attention(x, rotation, kernels::causal(kernels::Causality::top_left, n, n)));
    return;
  }
  const Index heads = 2 * config.get<Index>("num_heads");
  const AddBias<float> mask(c.input<4>("attn_mask").select(0, 0).broadcast({heads, n, n}));
  c.output("y", attention(x, rotation, kernels::NoMask{}, mask));
}

}  // namespace

void add_diff_attention(Registry& registry) { registry.add("diff-attention.diff", diff_case); }

}  // namespace verify
