#include "aulos/nn/conv.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "aulos/core/random.hpp"
#include "aulos/nn/initialise.hpp"

namespace {

using namespace aulos;
using namespace aulos::nn;

static_assert(std::is_same_v<Conv1d<double>::value_type, double>);

template <class Layer>
std::vector<std::string> names(Layer& layer) {
  std::vector<std::string> all;
  for_each_parameter(layer, [&](const auto& p) {
    std::string text = std::string(p.name) + " [";
    for (std::size_t i = 0; i < p.shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(p.shape[i]);
    all.push_back(text + "]");
  });
  return all;
}

TEST(Conv, ParametersAreThoseOfPyTorch) {
  Conv1d<float> one(4, 6, 3, {.groups = 2});
  EXPECT_EQ(names(one), (std::vector<std::string>{"weight [6, 2, 3]", "bias [6]"}));
  Conv2d<float> two(4, 6, {3, 5}, {}, Bias::no);
  EXPECT_EQ(names(two), (std::vector<std::string>{"weight [6, 4, 3, 5]"}));
  ConvTranspose1d<float> up(4, 6, 3, {.stride = 2, .groups = 2});
  EXPECT_EQ(names(up), (std::vector<std::string>{"weight [4, 3, 3]", "bias [6]"}));
  ConvTranspose2d<float> wide(4, 6, 2);
  EXPECT_EQ(names(wide), (std::vector<std::string>{"weight [4, 6, 2, 2]", "bias [6]"}));
}

// A transposed convolution is the adjoint of the convolution with the same weight: <conv(x), y> = <x, adjoint(y)>.
TEST(Conv, TheTransposedOneIsTheAdjoint) {
  Context context({.threads = 2});
  Random random(5);
  Conv2d<double> conv(4, 6, {3, 2}, {.stride = {2, 1}, .padding = 1, .groups = 2}, Bias::no);
  ConvTranspose2d<double> adjoint(6, 4, {3, 2}, {.stride = {2, 1}, .padding = 1, .groups = 2}, Bias::no);
  initialise_normal(conv, random, 1);
  adjoint.weight = conv.weight;
  const auto x = context.normal<double>(Shape<4>{2, 4, 7, 5});
  const auto y = conv(x);
  const auto g = context.normal<double>(y.shape());
  const auto back = adjoint(g);
  ASSERT_EQ(back.shape(), x.shape());
  double left = 0, right = 0;
  for (Index i = 0; i < y.count(); ++i) left += y.data()[i] * g.data()[i];
  for (Index i = 0; i < x.count(); ++i) right += x.data()[i] * back.data()[i];
  EXPECT_NEAR(left, right, 1e-10);
}

TEST(Conv, OneAxis) {
  Context context;
  Conv1d<float> causal(1, 1, 2, {.padding = causal_padding(2)});
  causal.weight.data()[0] = 1;
  causal.weight.data()[1] = 10;
  causal.bias.data()[0] = 0.5f;
  const std::vector<float> numbers{1, 2, 3};
  const auto x = context.from(Shape<3>{1, 1, 3}, numbers.data());
  const auto y = causal(x);
  EXPECT_EQ(std::vector<float>(y.data(), y.data() + 3), (std::vector<float>{10.5f, 21.5f, 32.5f}));
  ConvTranspose1d<float> up(1, 1, 2, {.stride = 2}, Bias::no);
  up.weight = causal.weight;
  const auto z = up(x);
  EXPECT_EQ(std::vector<float>(z.data(), z.data() + 6), (std::vector<float>{1, 10, 2, 20, 3, 30}));
}

TEST(Conv, IsRegularAndMayBeAbsent) {
  EXPECT_TRUE(Conv1d<float>().empty());
  EXPECT_TRUE(ConvTranspose1d<float>().empty());
  const Conv1d<float> layer(2, 3, 5, {.stride = 2});
  const Conv1d<float> copy = layer;
  EXPECT_EQ(copy, layer);
  EXPECT_FALSE(layer == (Conv1d<float>(2, 3, 5)));
  EXPECT_FALSE(layer.empty());
}

TEST(Conv, RefusesGroupsThatDoNotDivide) {
  const auto text = [](auto&& make) -> std::string {
    try {
      make();
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(text([] { Conv1d<float>(5, 4, 3, {.groups = 2}); }),
            "conv: 5 and 4 channels in 2 groups: expected multiples of them");
  EXPECT_EQ(text([] { ConvTranspose2d<float>(4, 4, 3, {.groups = 0}); }),
            "conv: 4 and 4 channels in 0 groups: expected multiples of them");
}

}  // namespace
