// The one axis of a vector can't go away.
// expect: (no matching function|constraints not satisfied|invalid reference to function|does not
// satisfy).*select|select max_lines: 20
#include "aulos/core/tensor.hpp"

auto wrong(const aulos::Tensor<float, 1>& x) { return x.select(0, 0); }
