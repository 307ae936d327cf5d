// Float and double do not mix.
// expect: (invalid initialization of reference.*Tensor<float, 4>|no known conversion from .*Tensor<double, 4>)
// max_lines: 16
#include "aulos/ops/attention.hpp"

aulos::Tensor<float, 4> wrong(const aulos::Tensor<float, 4>& q, const aulos::Tensor<double, 4>& k) {
  return scaled_dot_product_attention(q, k, q);
}
