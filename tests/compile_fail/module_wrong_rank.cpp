// A module called with another rank than it takes: tokens are [B, N, C].
// expect: FeedForward<float>
// max_lines: 16
#include "aulos/nn/feed_forward.hpp"

auto wrong(const aulos::nn::FeedForward<float>& mlp, const aulos::Tensor<float, 4>& image) { return mlp(image); }
