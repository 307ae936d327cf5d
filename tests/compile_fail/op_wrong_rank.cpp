// The second argument of an op has the rank of the first.
// expect: (invalid initialization of reference.*Tensor<float, 2>|no known conversion from .*Tensor<float, 3>)
// max_lines: 16
#include "aulos/ops/arithmetic.hpp"

aulos::Tensor<float, 2> wrong(const aulos::Tensor<float, 2>& a, const aulos::Tensor<float, 3>& b) { return add(a, b); }
