#include "aulos/conditioning/zero_linear.hpp"

#include "aulos/autograd/tape.hpp"
#include "aulos/ops/reduce.hpp"
#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using aulos::conditioning::ZeroLinear;

static_assert(aulos::nn::Module<ZeroLinear<float>>);

TEST(ZeroLinears, BeginAsTheIdentityButLearn) {
  Context context({.threads = 1});
  ZeroLinear<float> module(5, 4);
  naive::randomise(module, 1);
  module.initialise();
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, 4}, 2);
  const auto control = naive::random<float, 3>(context, Shape<3>{2, 3, 5}, 3);
  EXPECT_EQ(naive::values(module(x, control)), naive::values(x));
  aulos::GradTape tape(context);
  tape.backward(aulos::sum(module(x, control)));
  double want = 0;  // of every output: the sum of the first channel of the control
  for (Index i = 0; i < 6; ++i) want += static_cast<double>(control(i / 3, i % 3, 0));
  EXPECT_NEAR(static_cast<double>(tape.gradient(module.linear.weight.rows())(2, 0)), want, 1e-6);
}

TEST(ZeroLinears, AddsALinear) {
  Context context({.threads = 1});
  ZeroLinear<float> module(5, 4);
  naive::randomise(module, 1);
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, 4}, 2);
  const auto control = naive::random<float, 3>(context, Shape<3>{2, 3, 5}, 3);
  const naive::Tokens before(x);
  naive::expect_near(module(x, control), sum(before, naive::linear(naive::Tokens(control), module.linear)), 1e-6);
  EXPECT_EQ(naive::Tokens(x).x, before.x);  // not overwritten
  EXPECT_EQ(names_of(module), "weight bias ");
  EXPECT_THROW(module(x, context.zeros<float>(Shape<3>{2, 4, 5})), aulos::ShapeError);
  EXPECT_THROW(module(x, context.zeros<float>(Shape<3>{2, 3, 4})), aulos::ShapeError);
}

TEST(ZeroLinears, Gradients) {
  Context context({.threads = 1});
  ZeroLinear<double> module(3, 4);
  naive::randomise(module, 1);
  expect_gradients(
      context, module, [&](const Tensor<double, 3>& x, const Tensor<double, 3>& h) { return module(x, h); },
      std::tuple(naive::random<double, 3>(context, Shape<3>{2, 3, 4}, 2),
                 naive::random<double, 3>(context, Shape<3>{2, 3, 3}, 3)));
}

}  // namespace
