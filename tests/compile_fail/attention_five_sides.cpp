// More sides than an attention takes.
// expect: at most four sides meet in one attention
// max_lines: 16
#include "aulos/ops/attention.hpp"

auto wrong(const std::array<aulos::QueryKeyValue<float>, 5>& sides) { return joint_attention(sides); }
