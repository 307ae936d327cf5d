#include "aulos/nn/group_norm.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "aulos/autograd/tape.hpp"
#include "aulos/nn/module.hpp"

namespace {

using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::nn::Affine;
using aulos::nn::GroupNorm;

TEST(GroupNormLayer, NormsGroupsWithWeightAndBias) {
  Context context({.threads = 1});
  GroupNorm<float> norm(2, 4, 0.0);
  for (Index i = 0; i < 4; ++i) {
    norm.weight.data()[i] = static_cast<float>(i + 1);
    norm.bias.data()[i] = static_cast<float>(10 * i);
  }
  const float values[] = {1, 1, -1, -1, 3, 3, 5, 5};  // each group has a spread of 1
  const auto y = norm(context.from(Shape<3>{1, 4, 2}, values));
  const float want[] = {1, 1, 8, 8, 17, 17, 34, 34};
  for (Index i = 0; i < 8; ++i) EXPECT_NEAR(y.data()[i], want[i], 1e-5);
}

TEST(GroupNormLayer, UsesTheEpsThatItWasGiven) {
  Context context({.threads = 1});
  auto x = context.empty<float>(Shape<3>{1, 6, 10});
  for (Index i = 0; i < x.count(); ++i) x.mutable_data()[i] = i % 2 == 0 ? 1e-3f : -1e-3f;
  for (const auto& [eps, want] : {std::pair{1e-6, 0.7071068}, {1e-5, 0.3015113}, {1e-3, 0.031607}})
    for (const Index groups : {1, 2, 6})
      EXPECT_NEAR(GroupNorm<float>(groups, 6, eps, Affine::no)(x)(0, 5, 8), want, 1e-6);
  EXPECT_EQ(GroupNorm<float>(1, 2).eps, 1e-5);  // PyTorch's
}

TEST(GroupNormLayer, NamesItsParametersAndRefusesOddGroups) {
  std::vector<std::string> names;
  const auto collect = [&](const auto& p) { names.push_back(p.name); };
  aulos::nn::for_each_parameter(GroupNorm<float>(2, 6), collect);
  aulos::nn::for_each_parameter(GroupNorm<float>(2, 6, 1e-5, Affine::no), collect);
  EXPECT_EQ(names, (std::vector<std::string>{"weight", "bias"}));
  EXPECT_THROW(GroupNorm<float>(4, 6), aulos::ConfigError);
  EXPECT_THROW(GroupNorm<float>(0, 6), aulos::ConfigError);
}

}  // namespace
