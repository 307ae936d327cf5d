// The families that `verify` knows: each registers its systems in a source file of its own.
#pragma once

#include "aulos/registry.hpp"

namespace verify {

void add_autograd(aulos::Registry& registry);
void add_mmdit_sd3(aulos::Registry& registry);
void add_samplers(aulos::Registry& registry);
void add_shapes(aulos::Registry& registry);
void add_wsd_schedule(aulos::Registry& registry);

inline aulos::Registry all_families() {
  aulos::Registry registry;
  add_autograd(registry);
  add_mmdit_sd3(registry);
  add_samplers(registry);
  add_shapes(registry);
  add_wsd_schedule(registry);
  return registry;
}

}  // namespace verify
