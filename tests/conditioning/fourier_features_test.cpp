#include "aulos/conditioning/fourier_features.hpp"

#include "aulos/autograd/tape.hpp"
#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using namespace aulos::conditioning;

struct Model {
  FourierFeatures<float> time{3};
  void visit(auto&& v) { v("time_proj.weight", time); }
};
static_assert(aulos::nn::Module<Model>);

TEST(FourierFeatureModules, NameIsTheParents) {
  Model model;
  EXPECT_EQ(names_of(model), "time_proj.weight ");
}

TEST(FourierFeatureModules, TimesAndTheirLogarithms) {
  Context context({.threads = 1});
  const double numbers[] = {0.5, 2};
  const auto t = context.from(Shape<1>{2}, numbers);
  for (const FourierTime time : {FourierTime::linear, FourierTime::log}) {
    FourierFeatures<double> module(3, {.order = aulos::SinusoidOrder::sin_first}, time);
    naive::randomise(module, 1);
    const auto y = module(t);
    ASSERT_EQ(y.shape(), (Shape<2>{2, 6}));
    for (Index b = 0; b < 2; ++b)
      for (Index i = 0; i < 3; ++i) {
        const double u = time == FourierTime::log ? std::log(numbers[b]) : numbers[b];
        const double angle = 2 * std::acos(-1.0) * u * module.frequencies.data()[i];
        EXPECT_NEAR(y(b, i), std::sin(angle), 1e-13);
        EXPECT_NEAR(y(b, 3 + i), std::cos(angle), 1e-13);
      }
  }
}

// Training leaves the frequencies alone, unless somebody asks for it.
TEST(FourierFeatureModules, FrequenciesAreFrozen) {
  Context context({.threads = 1});
  FourierFeatures<double> module(3);
  naive::randomise(module, 1);
  const auto f = [&](const Tensor<double, 1>& t) { return module(t); };
  const auto t = naive::random<double, 1>(context, Shape<1>{2}, 2);
  {
    aulos::GradTape tape(context);
    Tensor<double, 1> watched = naive::random<double, 1>(context, Shape<1>{2}, 2);
    tape.watch(watched);
    const auto y = module(watched);
    const aulos::Seed<double> seeds[] = {{y.any(), context.full<double>(y.shape(), 1).any()}};
    tape.backward(std::span<const aulos::Seed<double>>(seeds));
    EXPECT_TRUE(tape.gradient(module.frequencies).empty());
    EXPECT_FALSE(tape.gradient(watched).empty());
  }
  module.frequencies.set_trainable(true);
  expect_gradients(context, module, f, std::tuple(t));
}

}  // namespace
