// No tensor has nine axes.
// expect: a (T|t)ensor has 1 to 8 axes
// max_lines: 16
#include "aulos/core/tensor.hpp"

aulos::Tensor<float, 9> wrong;
