// The blocks of LayerNorm, Joint and every query/key norm, feed-forward and residual.
#include <gtest/gtest.h>

#include "stream/block_support.hpp"

namespace {

using namespace block_support;

TEST(StreamBlockProduct, LayerNormJoint) { expect_every_block<LayerNorm<float>, Joint<>>(); }

}  // namespace
