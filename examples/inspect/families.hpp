// The systems that `inspect` knows: each adds its layouts in a source file of its own.
#pragma once

#include "inspect/layout.hpp"

namespace inspect {

void add_dit(Layouts& layouts);
void add_dprnn(Layouts& layouts);
void add_flux(Layouts& layouts);
void add_sd3(Layouts& layouts);
void add_sepformer(Layouts& layouts);
void add_shapes(Layouts& layouts);
void add_vit(Layouts& layouts);

inline Layouts all_layouts() {
  Layouts layouts;
  add_dit(layouts);
  add_dprnn(layouts);
  add_flux(layouts);
  add_sd3(layouts);
  add_sepformer(layouts);
  add_shapes(layouts);
  add_vit(layouts);
  return layouts;
}

}  // namespace inspect
