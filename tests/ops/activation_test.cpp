#include "aulos/ops/activation.hpp"

#include <gtest/gtest.h>

#include "aulos/kernels/naive/activation.hpp"
#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::Activation;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

constexpr Activation all[] = {Activation::identity,     Activation::relu,    Activation::gelu, Activation::gelu_tanh,
                              Activation::silu,         Activation::sigmoid, Activation::tanh, Activation::softplus,
                              Activation::elu_plus_one, Activation::exp,     Activation::log,  Activation::sqrt,
                              Activation::rsqrt};

double expected(Activation activation, double x) {
  double y = 0;
  aulos::with_activation(activation, [&](auto f) { y = aulos::kernels::naive::value(f, x); });
  return y;
}

TEST(ActivationOp, AgreesWithTheFormula) {
  for (const Activation activation : all) {
    for (const Index width : {1, 15, 16, 37}) {
      SCOPED_TRACE(name_of(activation));
      Context context;
      Case<float> c(context);
      const bool positive = activation >= Activation::log;
      const auto x = c.in<2>(Shape<2>{3, width}, 1, 2, positive ? 2.5 : 0);
      const std::vector<float> numbers = values(x);
      expect_near(
          apply(x, activation),
          [&](Index i) { return expected(activation, static_cast<double>(numbers[static_cast<std::size_t>(i)])); },
          1e-6);
    }
  }
}

TEST(ActivationOp, TheTwoGelusAreNotOne) {
  Context context;
  const auto x = of<float>(context, Shape<1>{5}, {1, -2, 3, 40, -40});
  expect_values(gelu(x), {0.8413447, -0.0455003, 2.9959503, 40, 0}, 1e-7);
  expect_values(gelu_tanh(x), {0.8411920, -0.0454023, 2.9963626, 40, 0}, 1e-7);
}

TEST(ActivationOp, LargeArguments) {
  Context context;
  const std::vector<float> x = {-1e4f, -104, -89, 0, 88, 89, 1e4f, -infinity, infinity};
  const auto in = [&] { return of<float>(context, Shape<1>{9}, x); };
  for (const float v : values(sigmoid(in()))) EXPECT_TRUE(v >= 0 && v <= 1);
  expect_values(sigmoid(in()), {0, 0, 0, 0.5, 1, 1, 1, 0, 1}, 1e-37);
  expect_values(aulos::tanh(in()), {-1, -1, -1, 0, 1, 1, 1, -1, 1});
  EXPECT_EQ(silu(in())(0), 0);
  EXPECT_EQ(silu(in())(6), 1e4f);
  for (const Activation activation :
       {Activation::sigmoid, Activation::tanh, Activation::silu, Activation::gelu, Activation::gelu_tanh}) {
    SCOPED_TRACE(name_of(activation));
    GradTape tape(context);
    auto v = of<float>(context, Shape<1>{4}, {-1e4f, 1e4f, -40, 40});
    tape.watch(v);
    backward<float>(context, {apply(v, activation).any()});
    const std::vector<float> g = values(tape.gradient(v));
    const bool grows = activation != Activation::sigmoid && activation != Activation::tanh;
    EXPECT_EQ(g[0], 0);
    EXPECT_NEAR(g[1], grows ? static_cast<float>(noise(77, 1)) : 0, 1e-6);
    EXPECT_NEAR(g[2], 0, 1e-12);
    EXPECT_NEAR(g[3], grows ? static_cast<float>(noise(77, 3)) : 0, 1e-6);
  }
}

TEST(ActivationOp, NaNStaysWhereverItStands) {
  for (const Activation activation : all) {
    for (Index length = 1; length <= 67; length += 3) {
      for (const Index at : {Index{0}, length / 2, length - 1}) {
        Context context;
        auto x = context.full<float>(Shape<1>{length}, 2);
        x.mutable_data()[at] = nan_value;
        const auto y = apply(std::move(x), activation);
        for (Index i = 0; i < length; ++i) ASSERT_EQ(std::isnan(y(i)), i == at) << name_of(activation) << " " << length;
      }
    }
  }
}

TEST(ActivationOp, Gradients) {
  for (const Activation activation : all) {
    SCOPED_TRACE(name_of(activation));
    const bool positive = activation >= Activation::log;
    for (const Shape<2>& shape : {Shape<2>{3, 7}, {1, 1}, {1, 17}}) {
      expect_gradients([&](Case<double>& c) {
        return results(apply(c.at<2>(shape,
                                     [&](Index i) {
                                       const double v = 2 * noise(5, static_cast<std::uint64_t>(i));
                                       return positive ? 0.5 + std::fabs(v)
                                                       : v + (v < 0 ? -0.01 : 0.01);  // no kink of relu within a step
                                     }),
                             activation));
      });
    }
  }
}

TEST(ActivationOp, WritesIntoAnArgumentThatItHoldsAlone) {
  Context context;
  auto x = context.full<float>(Shape<2>{3, 5}, -1);
  const float* memory = x.data();
  auto y = relu(std::move(x));
  EXPECT_EQ(y.data(), memory);
  const auto kept = y;
  const auto z = relu(y);
  EXPECT_NE(z.data(), memory);
  const auto slice = std::move(y).slice(1, 0, 2);
  EXPECT_EQ(values(relu(slice)), std::vector<float>(6, 0));
}

TEST(ActivationOp, LayoutsThreadsAndNothing) {
  for (const Activation activation : {Activation::gelu, Activation::relu, Activation::tanh}) {
    const auto body = [&](const Shape<3>& shape) {
      return [=](Case<float>& c) { return results(apply(c.in<3>(shape, 1, 2), activation)); };
    };
    expect_layouts_agree<float>(body({3, 4, 19}));
    expect_threads_agree<float>(body({3, 64, 257}));
    EXPECT_TRUE(forward_backward<float>(body({0, 4, 19})).gradients[0].empty());
    EXPECT_TRUE(forward_backward<float>(body({2, 4, 0})).gradients[0].empty());
  }
}

TEST(ActivationOp, RecordsUnderItsName) {
  for (const Activation activation : all) {
    SCOPED_TRACE(name_of(activation));
    expect_records<float>(name_of(activation), {"x"}, [&](auto& c) {
      return results(apply(c.template in<2>(Shape<2>{3, 19}, 1, 1, 2), activation));
    });
  }
}

TEST(ActivationOp, NamesAnEmptyArgument) {
  for (const Activation activation : all) {
    expect_errors({{name_of(activation),
                    [&](Context&) { apply(Tensor<float, 2>(), activation); },
                    {std::string(name_of(activation)) + ": x is empty (moved from?)"}}});
  }
  expect_errors({{"in a scope",
                  [](Context& context) {
                    const aulos::Scope outer(context.scopes(), "blocks", 2);
                    relu(Tensor<float, 2>());
                  },
                  {"relu: x is empty"}}});
}

}  // namespace
