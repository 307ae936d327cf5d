#include "aulos/nn/plan.hpp"

#include <gtest/gtest.h>

#include "aulos/nn/linear.hpp"

namespace {

using aulos::Context;
using aulos::Index;
using aulos::Shape;

TEST(ModelPlan, CountsParametersBesideTheWork) {
  const aulos::nn::Linear<float> layer(Index{1} << 20, Index{1} << 18);  // a terabyte that nobody allocates
  const aulos::Plan plan = aulos::nn::plan(layer, [&](Context& dry) {
    return layer(dry.empty<float>(Shape<3>{2, 5, Index{1} << 20}));
  });
  EXPECT_EQ(plan.parameters, (Index{1} << 38) + (Index{1} << 18));
  EXPECT_EQ(plan.flops, 2.0 * 10 * 0x1p38);
  EXPECT_EQ(plan.peak_bytes, (std::size_t{40} << 20) + (std::size_t{10} << 20));
}

}  // namespace
