#include "aulos/models/sepformer.hpp"

#include "tests/special/allocations/families.hpp"

namespace aulos_tests {

bool quiet_sepformer() {
  aulos::models::SepFormerConfig c;
  c.encoder_kernel_size = 8;
  c.encoder_out_nchannels = 16;
  c.masknet_chunksize = 10;
  c.intra = {.layers = 2, .heads = 2, .hidden = 32};
  c.inter = {.layers = 1, .heads = 4, .hidden = 24};
  return quiet_separator("sepformer", random_model<aulos::models::SepFormer<float>>(c));
}

}  // namespace aulos_tests
