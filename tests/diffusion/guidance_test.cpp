#include "aulos/diffusion/guidance.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "aulos/core/context.hpp"

namespace {

using namespace aulos::diffusion;
using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;

template <class T>
std::vector<T> values(const Tensor<T, 3>& x) {
  return std::vector<T>(x.data(), x.data() + x.count());
}

template <class T>
class Guidance : public ::testing::Test {
 protected:
  Context context_{{.threads = 1, .seed = 5}};
  Tensor<T, 3> random() { return context_.normal<T>(Shape<3>{2, 3, 5}); }
  Tensor<T, 3> all(double value) { return context_.full<T>(Shape<3>{2, 3, 5}, static_cast<T>(value)); }
};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Guidance, Types);

template <class T>
double deviation(const Tensor<T, 3>& x, Index first, Index last) {  // of samples [first, last)
  const Index each = x.count() / x.extent(0);
  double sum = 0, squares = 0;
  for (Index i = first * each; i < last * each; ++i) sum += static_cast<double>(x.data()[i]);
  const double n = static_cast<double>((last - first) * each), mean = sum / n;
  for (Index i = first * each; i < last * each; ++i)
    squares += (static_cast<double>(x.data()[i]) - mean) * (static_cast<double>(x.data()[i]) - mean);
  return std::sqrt(squares / (n - 1));
}

TYPED_TEST(Guidance, NeutralScalesGiveTheConditionalToTheBit) {
  const auto c = this->random(), u = this->random(), a = this->random(), b = this->random();
  EXPECT_EQ(values(classifier_free_guidance(u, c, 1)), values(c));
  EXPECT_EQ(values(modality_guidance(c, u, a, b, {})), values(c));
  EXPECT_EQ(values(motion_free_guidance(u, c, a, 1, 1)), values(c));
  EXPECT_EQ(values(cross_guidance(u, c, a, 1, 1)), values(c));
  const auto keep = this->context_.template full<TypeParam>(Shape<1>{2}, TypeParam(1));
  EXPECT_EQ(values(model_guidance_target(c, u, a, keep, 0)), values(c));
}

TYPED_TEST(Guidance, FormulasOnNumbers) {
  const auto number = [&](const auto& x) { return static_cast<double>(x.data()[7]); };
  const auto n = [&](double value) { return this->all(value); };
  EXPECT_EQ(number(classifier_free_guidance(n(1), n(3), 2)), 5);  // not 7, not -1
  EXPECT_EQ(number(classifier_free_guidance(n(1), n(3), 0)), 1);
  // u + 3 (a - u) + 2 (b - a) with u 1, a 2, b 4
  EXPECT_EQ(number(cross_guidance(n(1), n(4), n(2), 3, 2)), 8);
  EXPECT_EQ(number(motion_free_guidance(n(1), n(4), n(2), 2, 3)), 8);  // 1 + 2 (4 - 2) + 3 (2 - 1)
  // 3 + (3 - 1)(3 - 1) + 0.5 (3 - 2) + (2 - 1)(3 - 5)
  EXPECT_EQ(number(modality_guidance(n(3), n(1), n(2), n(5), {.text = 3, .perturbed = 0.5, .modality = 2})), 5.5);
}

TYPED_TEST(Guidance, RescaleKeepsTheSpreadOfTheConditional) {
  using T = TypeParam;
  const double tolerance = 20 * static_cast<double>(std::numeric_limits<T>::epsilon());
  const auto c = this->random(), u = this->random();
  const auto g = classifier_free_guidance(u, c, 6);
  const auto by_sample = rescale_guidance(g, c, 1);
  for (const Index b : {0, 1}) EXPECT_NEAR(deviation(by_sample, b, b + 1), deviation(c, b, b + 1), tolerance);
  const auto whole = rescale_guidance(g, c, 1, RescaleOver::all);
  EXPECT_NEAR(deviation(whole, 0, 2), deviation(c, 0, 2), tolerance);
  EXPECT_GT(std::fabs(deviation(whole, 0, 1) - deviation(c, 0, 1)), 1e-3);
  EXPECT_EQ(values(rescale_guidance(g, c, 0)), values(g));
  // In between: a mixture of the two.
  const auto mixed = rescale_guidance(g, c, 0.7);
  for (Index i = 0; i < g.count(); ++i) {
    const Index b = i / 15;
    const double factor = 0.7 * deviation(c, b, b + 1) / deviation(g, b, b + 1) + 0.3;
    EXPECT_NEAR(static_cast<double>(mixed.data()[i]), factor * static_cast<double>(g.data()[i]), 20 * tolerance);
  }
  EXPECT_EQ(mixed.shape(), g.shape());
}

TYPED_TEST(Guidance, ModelGuidanceTargetDropsSamples) {
  using T = TypeParam;
  const auto target = this->random(), u = this->random(), c = this->random();
  auto keep = this->context_.template full<T>(Shape<1>{2}, T(1));
  keep.mutable_data()[1] = 0;
  const auto y = model_guidance_target(target, u, c, keep, 0.8);
  for (Index i = 0; i < 30; ++i) {
    const double difference = i < 15 ? static_cast<double>(c.data()[i]) - static_cast<double>(u.data()[i]) : 0;
    EXPECT_NEAR(static_cast<double>(y.data()[i]), static_cast<double>(target.data()[i]) + 0.8 * difference,
                20 * static_cast<double>(std::numeric_limits<T>::epsilon()));
  }
}

TYPED_TEST(Guidance, HalvesAreGuidedInTheirFirstChannels) {
  using T = TypeParam;
  const auto both = this->context_.template normal<T>(Shape<3>{4, 3, 5});
  for (const Index guided : {0, 2, 3}) {
    const auto y = guide_halves(both, 2.5, guided);
    ASSERT_EQ(y.shape(), both.shape());
    for (Index b = 0; b < 4; ++b)
      for (Index c = 0; c < 3; ++c)
        for (Index i = 0; i < 5; ++i) {
          const double conditional = static_cast<double>(both(b % 2, c, i)),
                       none = static_cast<double>(both(b % 2 + 2, c, i));
          const double want = c < guided ? none + 2.5 * (conditional - none) : static_cast<double>(both(b, c, i));
          EXPECT_NEAR(static_cast<double>(y(b, c, i)), want,
                      20 * static_cast<double>(std::numeric_limits<T>::epsilon()));
        }
  }
  EXPECT_THROW(guide_halves(both, 2, 4), aulos::ShapeError);
  EXPECT_THROW(guide_halves(both.slice(0, 0, 3), 2, 1), aulos::ShapeError);
}

TYPED_TEST(Guidance, EmptyBatches) {
  const auto none = this->context_.template empty<TypeParam>(Shape<3>{0, 3, 5});
  EXPECT_EQ(classifier_free_guidance(none, none, 2).count(), 0);
  EXPECT_EQ(rescale_guidance(none, none, 0.5).shape(), (Shape<3>{0, 3, 5}));
}

TEST(GuidanceErrors, ShapesMustAgree) {
  Context context({.threads = 1});
  const auto a = context.zeros<float>(Shape<2>{2, 3});
  const auto b = context.zeros<float>(Shape<2>{2, 4});
  EXPECT_THROW(classifier_free_guidance(a, b, 2), aulos::ShapeError);
}

}  // namespace
