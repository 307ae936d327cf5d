#include "all.hpp"

aulos::Tensor<float, 2> from_first(aulos::Context& context) {
  return aulos::scale(context.full<float>(aulos::Shape<2>{2, 3}, 1.5F), 2.0F);
}
