// Nor none.
// expect: a tensor has 1 to 8 axes
// max_lines: 16
#include "aulos/core/shape.hpp"

aulos::Shape<0> wrong;
