#include "aulos/conditioning/scale_only_final.hpp"

#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using aulos::conditioning::ScaleOnlyFinal;

static_assert(aulos::nn::Module<ScaleOnlyFinal<float>>);

TEST(ScaleOnlyFinals, AgreesWithTheFormula) {
  Context context({.threads = 1});
  ScaleOnlyFinal<float> module(5, 4, 3);
  naive::randomise(module, 1);
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, 4}, 2);
  const auto c = naive::random<float, 2>(context, Shape<2>{2, 5}, 3);
  const naive::Tokens scale = naive::linear(vectors(c), module.linear_1);
  const naive::Tokens h = naive::modulate(naive::norm(naive::Tokens(x), module.norm, 4), {}, scale);
  naive::expect_near(module(x, c), naive::linear(h, module.linear_2), 2e-6);
}

TEST(ScaleOnlyFinals, NamesAndErrors) {
  Context context({.threads = 1});
  ScaleOnlyFinal<float> module(5, 4, 3);
  EXPECT_EQ(names_of(module), "linear_1.weight linear_1.bias linear_2.weight linear_2.bias ");
  EXPECT_EQ(module.norm.eps, 1e-6);
  naive::randomise(module, 1);
  EXPECT_THROW(module(context.zeros<float>(Shape<3>{2, 3, 5}), context.zeros<float>(Shape<2>{2, 5})),
               aulos::ShapeError);
  EXPECT_THROW(module(context.zeros<float>(Shape<3>{2, 3, 4}), context.zeros<float>(Shape<2>{1, 5})),
               aulos::ShapeError);
}

TEST(ScaleOnlyFinals, Gradients) {
  Context context({.threads = 1});
  ScaleOnlyFinal<double> module(3, 4, 2);
  naive::randomise(module, 1);
  expect_gradients(
      context, module, [&](const Tensor<double, 3>& x, const Tensor<double, 2>& c) { return module(x, c); },
      std::tuple(naive::random<double, 3>(context, Shape<3>{2, 3, 4}, 2),
                 naive::random<double, 2>(context, Shape<2>{2, 3}, 3)));
}

}  // namespace
