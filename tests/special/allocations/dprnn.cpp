#include "aulos/models/sepformer.hpp"

#include "tests/special/allocations/families.hpp"

namespace aulos_tests {

bool quiet_dprnn() {
  aulos::models::DprnnConfig c;
  c.kernel_size = 8;
  c.in_channels = 12;
  c.channels = 8;
  c.hidden = 10;
  c.rnn_layers = 2;
  c.num_layers = 2;
  c.K = 6;
  return quiet_separator("dprnn", random_model<aulos::models::Dprnn<float>>(c));
}

}  // namespace aulos_tests
