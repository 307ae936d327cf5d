// The blocks of RmsNorm, SelfOnly and every query/key norm, feed-forward and residual.
#include <gtest/gtest.h>

#include "stream/block_support.hpp"

namespace {

using namespace block_support;

TEST(StreamBlockProduct, RmsNormSelfOnly) { expect_every_block<RmsNorm<float>, SelfOnly<>>(); }

}  // namespace
