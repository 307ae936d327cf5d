// One block of SD3, forward, in float.
#include "aulos/models/sd3.hpp"

using Block = aulos::models::SD3Block<float>;

Block::Streams run_block(const Block& block, Block::Streams x, const aulos::Tensor<float, 2>& c) {
  return block(std::move(x), c);
}
