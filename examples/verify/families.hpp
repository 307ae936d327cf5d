// The families that `verify` knows: each registers its systems in a source file of its own.
#pragma once

#include "aulos/registry.hpp"

namespace verify {

void add_autograd(aulos::Registry& registry);
void add_autograd_attention(aulos::Registry& registry);
void add_autograd_conv(aulos::Registry& registry);
void add_autograd_linear_attention(aulos::Registry& registry);
void add_autograd_losses(aulos::Registry& registry);
void add_autograd_pointwise(aulos::Registry& registry);
void add_autograd_position(aulos::Registry& registry);
void add_autograd_selective_scan(aulos::Registry& registry);
void add_conditioning(aulos::Registry& registry);
void add_diff_attention(aulos::Registry& registry);
void add_dit(aulos::Registry& registry);
void add_dit_diffusion(aulos::Registry& registry);
void add_mmdit_flux(aulos::Registry& registry);
void add_mmdit_sd3(aulos::Registry& registry);
void add_samplers(aulos::Registry& registry);
void add_sepformer(aulos::Registry& registry);
void add_sepformer_dprnn(aulos::Registry& registry);
void add_shapes(aulos::Registry& registry);
void add_tutorial(aulos::Registry& registry);
void add_vit(aulos::Registry& registry);
void add_wsd_schedule(aulos::Registry& registry);

inline aulos::Registry all_families() {
  aulos::Registry registry;
  add_autograd(registry);
  add_autograd_attention(registry);
  add_autograd_conv(registry);
  add_autograd_linear_attention(registry);
  add_autograd_losses(registry);
  add_autograd_pointwise(registry);
  add_autograd_position(registry);
  add_autograd_selective_scan(registry);
  add_conditioning(registry);
  add_diff_attention(registry);
  add_dit(registry);
  add_dit_diffusion(registry);
  add_mmdit_flux(registry);
  add_mmdit_sd3(registry);
  add_samplers(registry);
  add_sepformer(registry);
  add_sepformer_dprnn(registry);
  add_shapes(registry);
  add_tutorial(registry);
  add_vit(registry);
  add_wsd_schedule(registry);
  return registry;
}

}  // namespace verify
