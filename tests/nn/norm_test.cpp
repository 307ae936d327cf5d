#include "aulos/nn/norm.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "aulos/nn/module.hpp"

namespace {

using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;
using aulos::nn::Affine;
using aulos::nn::LayerNorm;
using aulos::nn::RmsNorm;

static_assert(aulos::nn::NormLayer<LayerNorm<float>> && aulos::nn::NormLayer<RmsNorm<double>>);
static_assert(aulos::nn::QkNormOf<aulos::nn::NoQkNorm<float>, float>);
static_assert(aulos::nn::QkNormOf<aulos::nn::PerHead<RmsNorm<float>>, float>);
static_assert(aulos::nn::QkNormOf<aulos::nn::AcrossHeads<RmsNorm<double>>, double>);

// Rows of +-1e-3, whose variance and mean square are 1e-6: only they tell one eps from another.
template <class T, int Rank>
Tensor<T, Rank> small_rows(Context& context, const Shape<Rank>& shape) {
  Tensor<T, Rank> x = context.empty<T>(shape);
  for (Index i = 0; i < x.count(); ++i) x.mutable_data()[i] = static_cast<T>(i % 2 == 0 ? 1e-3 : -1e-3);
  return x;
}

struct Eps {
  double eps, value;
};
const Eps cases[] = {{1e-6, 0.7071068}, {1e-5, 0.3015113}, {1e-12, 0.9999995}, {1e-3, 0.0316070}};

template <class T, int Rank>
void expect_rows(const Tensor<T, Rank>& y, double value) {
  for (Index i = 0; i < y.count(); ++i)
    ASSERT_NEAR(static_cast<double>(y.data()[i]), i % 2 == 0 ? value : -value, 2e-7) << i;
}

template <class T>
void check_eps() {
  Context context({.threads = 1});
  for (const Eps& c : cases) {
    for (const Index width : {2, 16, 34, 1024}) {
      const auto x = small_rows<T>(context, Shape<3>{2, 3, width});
      const LayerNorm<T> layer(width, c.eps, Affine::no);
      const RmsNorm<T> rms(width, c.eps, Affine::no);
      expect_rows(layer(x), c.value);
      expect_rows(rms(x), c.value);
      expect_rows(layer.modulated(x, {}, {}), c.value);
      expect_rows(rms.modulated(x, {}, {}), c.value);
    }
    const auto heads = small_rows<T>(context, Shape<4>{1, 3, 2, 8});
    expect_rows(aulos::nn::PerHead<RmsNorm<T>>{RmsNorm<T>(8, c.eps, Affine::no)}(heads), c.value);
    expect_rows(aulos::nn::AcrossHeads<RmsNorm<T>>{RmsNorm<T>(16, c.eps, Affine::no)}(heads), c.value);
  }
}

TEST(NormLayer, UsesTheEpsThatItWasGivenFloat) { check_eps<float>(); }
TEST(NormLayer, UsesTheEpsThatItWasGivenDouble) { check_eps<double>(); }

TEST(NormLayer, HasPyTorchsDefaults) {
  EXPECT_EQ(LayerNorm<float>().eps, 1e-5);
  EXPECT_EQ(RmsNorm<float>().eps, 1e-6);
}

TEST(NormLayer, AppliesWeightAndBias) {
  Context context({.threads = 1});
  LayerNorm<float> layer(4, 0.0);
  RmsNorm<float> rms(4, 0.0);
  for (Index i = 0; i < 4; ++i) {
    layer.weight.data()[i] = rms.weight.data()[i] = static_cast<float>(i + 1);
    layer.bias.data()[i] = static_cast<float>(10 * i);
  }
  const float row[] = {1, 1, -1, -1};  // mean 0, variance 1
  const auto x = context.from(Shape<2>{1, 4}, row);
  const auto y = layer(x), z = rms(x);
  for (Index i = 0; i < 4; ++i) {
    const float sign = i < 2 ? 1.0f : -1.0f, weight = static_cast<float>(i + 1);
    EXPECT_NEAR(y(0, i), sign * weight + static_cast<float>(10 * i), 1e-5);
    EXPECT_NEAR(z(0, i), sign * weight, 1e-6);
  }
}

TEST(NormLayer, ModulatesInTheSamePass) {
  Context context({.threads = 1});
  const LayerNorm<double> layer(5, 1e-6, Affine::no);
  const RmsNorm<double> rms(5, 1e-6, Affine::no);
  const auto x = context.normal<double>(Shape<3>{2, 3, 5});
  const auto shift = context.normal<double>(Shape<3>{2, 1, 5});
  const auto scale = context.normal<double>(Shape<3>{2, 3, 5});  // a row per token
  const auto a = layer(x), b = layer.modulated(x, shift, scale);
  const auto c = rms(x), d = rms.modulated(x, {}, scale);
  for (Index i = 0; i < 2; ++i) {
    for (Index n = 0; n < 3; ++n) {
      for (Index k = 0; k < 5; ++k) {
        EXPECT_NEAR(b(i, n, k), a(i, n, k) * (1 + scale(i, n, k)) + shift(i, 0, k), 1e-14);
        EXPECT_NEAR(d(i, n, k), c(i, n, k) * (1 + scale(i, n, k)), 1e-14);
      }
    }
  }
}

TEST(NormLayer, LargeMeansDoNotCancel) {
  Context context({.threads = 1});
  const float row[] = {40000, 40001, 40002, 40003};
  const auto y = LayerNorm<float>(4, 1e-5, Affine::no)(context.from(Shape<2>{1, 4}, row));
  const double expected[] = {-1.341635, -0.447212, 0.447212, 1.341635};
  for (Index i = 0; i < 4; ++i) EXPECT_NEAR(y(0, i), expected[i], 1e-4);
}

TEST(NormLayer, NormsOfHeadsShareOneWeightOrHaveOneForAll) {
  Context context({.threads = 1});
  const auto x = context.normal<double>(Shape<4>{2, 3, 2, 4});
  aulos::nn::PerHead<RmsNorm<double>> each{RmsNorm<double>(4, 1e-6)};
  aulos::nn::AcrossHeads<RmsNorm<double>> all{RmsNorm<double>(8, 1e-6)};
  for (Index i = 0; i < 4; ++i) each.norm->weight.data()[i] = static_cast<double>(i + 1);
  for (Index i = 0; i < 8; ++i) all.norm.weight.data()[i] = static_cast<double>(i + 1);
  const auto y = each(x), z = all(x);
  for (Index h = 0; h < 2; ++h) {
    double square = 0, total = 0;
    for (Index d = 0; d < 4; ++d) square += x(1, 2, h, d) * x(1, 2, h, d);
    for (Index g = 0; g < 2; ++g)
      for (Index d = 0; d < 4; ++d) total += x(1, 2, g, d) * x(1, 2, g, d);
    for (Index d = 0; d < 4; ++d) {
      EXPECT_NEAR(y(1, 2, h, d), x(1, 2, h, d) / std::sqrt(square / 4 + 1e-6) * static_cast<double>(d + 1), 1e-13);
      EXPECT_NEAR(z(1, 2, h, d), x(1, 2, h, d) / std::sqrt(total / 8 + 1e-6) * static_cast<double>(4 * h + d + 1),
                  1e-13);
    }
  }
  const aulos::nn::PerHead<RmsNorm<double>> absent;
  EXPECT_EQ(absent(x).data(), x.data());
  EXPECT_EQ(aulos::nn::NoQkNorm<double>()(x).data(), x.data());
}

TEST(NormLayer, NamesItsParameters) {
  std::vector<std::string> names;
  const auto collect = [&](const auto& p) { names.push_back(p.name); };
  aulos::nn::for_each_parameter(LayerNorm<float>(3, 1e-5), collect);
  aulos::nn::for_each_parameter(LayerNorm<float>(3, 1e-5, Affine::no), collect);
  aulos::nn::for_each_parameter(RmsNorm<float>(3, 1e-5), collect);
  aulos::nn::for_each_parameter(aulos::nn::PerHead<RmsNorm<float>>{RmsNorm<float>(3, 1e-5)}, collect);
  aulos::nn::for_each_parameter(aulos::nn::PerHead<RmsNorm<float>>(), collect);
  EXPECT_EQ(names, (std::vector<std::string>{"weight", "bias", "weight", "weight"}));
  EXPECT_NE(LayerNorm<float>(3, 1e-5), LayerNorm<float>(3, 1e-6));  // the eps is part of the value
}

}  // namespace
