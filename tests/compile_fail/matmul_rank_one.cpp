// A product of vectors has no meaning here.
// expect: a product takes tensors of two axes or more
// max_lines: 16
#include "aulos/ops/matmul.hpp"

aulos::Tensor<float, 1> wrong(const aulos::Tensor<float, 1>& a) { return matmul(a, a); }
