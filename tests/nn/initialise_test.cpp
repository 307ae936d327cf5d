#include "aulos/nn/initialise.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "aulos/nn/linear.hpp"

namespace {

using aulos::Index;
using aulos::Parameter;
using aulos::Random;
using aulos::Shape;

struct Net {
  aulos::nn::Linear<float> fc{50, 40};
  aulos::Weight<float> convolution{Shape<4>{30, 4, 5, 5}};
  Parameter<double, 1> scale{Shape<1>{7}};
  Parameter<float, 1> table{Shape<1>{3}};

  void visit(auto&& v) {
    v("fc", fc);
    v("convolution", convolution);
    v("scale", scale);
    v("table", table, aulos::nn::Role::derived_buffer);
  }
  bool operator==(const Net&) const = default;
};

struct Moments {
  double mean = 0, deviation = 0, least = 0, most = 0;
};

template <class T>
Moments moments(const T* x, Index count) {
  Moments m;
  for (Index i = 0; i < count; ++i) {
    const auto each = static_cast<double>(x[i]);
    m.mean += each / static_cast<double>(count);
    m.deviation += each * each / static_cast<double>(count);
    m.least = std::min(m.least, each);
    m.most = std::max(m.most, each);
  }
  m.deviation = std::sqrt(m.deviation - m.mean * m.mean);
  return m;
}

TEST(Initialise, NormalHasTheDeviationAskedFor) {
  Net net;
  Random random(1);
  aulos::nn::initialise_normal(net, random, 0.02);
  const Moments m = moments(net.fc.weight.rows().data(), 2000);
  EXPECT_NEAR(m.mean, 0, 0.002);
  EXPECT_NEAR(m.deviation, 0.02, 0.002);
  EXPECT_NE(net.scale.data()[0], 0);
  EXPECT_FALSE(net.table.ready());  // a derived buffer is left alone
}

TEST(Initialise, UniformIsPyTorchsDefault) {
  Net net;
  Random random(1);
  aulos::nn::initialise_uniform(net, random, 0.5);
  const double linear = 1 / std::sqrt(50.0), convolution = 1 / std::sqrt(4.0 * 5 * 5);
  const Moments a = moments(net.fc.weight.rows().data(), 2000), b = moments(net.convolution.rows().data(), 3000);
  for (const auto& [m, bound] : {std::pair{a, linear}, std::pair{b, convolution}}) {
    EXPECT_LE(m.most, bound);
    EXPECT_GE(m.least, -bound);
    EXPECT_GT(m.most, 0.95 * bound);
    EXPECT_LT(m.least, -0.95 * bound);
    EXPECT_NEAR(m.deviation, bound / std::sqrt(3.0), 0.03 * bound);
  }
  EXPECT_EQ(net.fc.bias.data()[3], 0.5f);
  EXPECT_EQ(net.scale.data()[6], 0.5);
  EXPECT_FALSE(net.table.ready());
}

TEST(Initialise, EqualSeedsGiveEqualModels) {
  Net a, b, c;
  Random first(7), second(7), other(8);
  aulos::nn::initialise_normal(a, first, 1);
  aulos::nn::initialise_normal(b, second, 1);
  aulos::nn::initialise_normal(c, other, 1);
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
  aulos::nn::initialise_normal(b, second, 1);  // the stream goes on
  EXPECT_NE(a, b);
}

TEST(Initialise, Zero) {
  Net net;
  aulos::nn::zero(net);
  EXPECT_EQ(moments(net.fc.weight.rows().data(), 2000).deviation, 0);
  EXPECT_TRUE(net.scale.ready());
  EXPECT_FALSE(net.table.ready());
}

TEST(Initialise, UnpacksPackedWeights) {
  Net net;
  Random random(7), again(7);
  aulos::nn::initialise_normal(net, random, 1);
  const Net rows = net;
  aulos::nn::pack(net);
  aulos::nn::initialise_normal(net, again, 1);
  EXPECT_EQ(net, rows);
}

}  // namespace
