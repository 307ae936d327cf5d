#include <gtest/gtest.h>

#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/linear.hpp"
#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::Activation;
using aulos::GradcheckParameter;
using aulos::Parameter;
using aulos::Weight;

struct Extents {
  Index batch, tokens, in, out;
};
constexpr Extents sizes[] = {{2, 3, 7, 5}, {1, 1, 1, 1}, {1, 17, 9, 3}, {2, 1, 5, 33}};

template <class F>
void check(const Extents& e, F&& f) {
  SCOPED_TRACE(e.tokens);
  Context context({.threads = 1});
  Weight<double> w(e.out, e.in);
  Parameter<double, 1> bias(Shape<1>{e.out});
  for (Index i = 0; i < w.count(); ++i) w.rows().data()[i] = noise(1, static_cast<std::uint64_t>(i));
  for (Index i = 0; i < e.out; ++i) bias.data()[i] = noise(2, static_cast<std::uint64_t>(i));
  const GradcheckParameter parameters[] = {gradcheck_parameter("weight", w.rows()), gradcheck_parameter("bias", bias)};
  const auto x = context.normal<double>(Shape<3>{e.batch, e.tokens, e.in});
  const auto residual = context.normal<double>(Shape<3>{e.batch, e.tokens, e.out});
  const auto gate = context.normal<double>(Shape<3>{e.batch, 1, e.out});
  const auto result = gradcheck(
      context, [&](const auto&... arguments) { return f(w, bias, arguments...); }, std::tuple(x, residual, gate),
      parameters);
  EXPECT_TRUE(result) << to_string(result);
}

TEST(LinearGradients, OfInputWeightAndBias) {
  for (const Extents& e : sizes)
    check(e,
          [](const auto& w, const auto& bias, const auto& x, const auto&, const auto&) { return linear(x, w, bias); });
  check(sizes[0], [](const auto& w, const auto& bias, const auto& x, const auto&, const auto&) {
    return linear(x, w, bias, Activation::gelu);
  });
  check(sizes[0], [](const auto& w, const auto&, const auto& x, const auto&, const auto&) { return linear(x, w); });
}

TEST(LinearGradients, OfResidualAndGate) {
  for (const Extents& e : sizes) {
    check(e, [](const auto& w, const auto& bias, const auto& x, const auto& residual, const auto& gate) {
      return linear_residual(x, w, bias, gate, Tensor<double, 3>(residual));
    });
  }
  check(sizes[0], [](const auto& w, const auto& bias, const auto& x, const auto& residual, const auto&) {
    return linear_residual(x, w, bias, Tensor<double, 2>(), Tensor<double, 3>(residual));
  });
}

TEST(LinearGradients, OfAWeightUsedTwice) {
  for (const Extents& e : {Extents{2, 3, 5, 5}, {1, 1, 1, 1}}) {
    check(e, [](const auto& w, const auto& bias, const auto& x, const auto&, const auto&) {
      return linear(linear(x, w, bias, Activation::tanh), w, bias);
    });
  }
}

TEST(LinearGradients, OfAnInputUsedTwice) {
  for (const Extents& e : {Extents{2, 3, 5, 4}, {1, 1, 1, 1}}) {
    check(e, [](const auto& w, const auto& bias, const auto& x, const auto&, const auto&) {
      return multiply(linear(x, w, bias), linear(x, w, bias));
    });
  }
}

TEST(LinearGradients, OfViews) {
  Context context({.threads = 1});
  Weight<double> w(5, 4);
  for (Index i = 0; i < w.count(); ++i) w.rows().data()[i] = noise(1, static_cast<std::uint64_t>(i));
  const auto x = context.normal<double>(Shape<3>{3, 2, 9}).slice(2, 3, 7).permute_leading(Shape<3>{1, 0, 2});
  const auto result = gradcheck(
      context, [&](const auto& a) { return linear(a, w); }, std::tuple(x));
  EXPECT_TRUE(result) << to_string(result);
}

}  // namespace
