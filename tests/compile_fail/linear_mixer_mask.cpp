// A causal rule for a mixer whose causal form is an option.
// expect: the mixer takes no such masks or scores: see its traits
// max_lines: 16
#include "aulos/attention/linear.hpp"
#include "aulos/stream/coupling.hpp"

auto wrong(const std::array<aulos::QueryKeyValue<float>, 2>& sides) {
  return aulos::stream::Joint<aulos::attention::Linear>()(sides, aulos::kernels::Causal{});
}
