// The one axis of a vector can't go away.
// expect: (no matching function|constraints not satisfied|reference to function|does not satisfy).*select|select
// max_lines: 16
#include "aulos/core/tensor.hpp"

auto wrong(const aulos::Tensor<float, 1>& x) { return x.select(0, 0); }
