#include <gtest/gtest.h>

#include "ops/attention_case.hpp"

namespace {

using namespace aulos_test;
using Side = aulos::QueryKeyValue<double>;
using aulos::kernels::Causality;

TEST(AttentionGradients, OfOutAndLogSumExp) {
  for (const Heads& h :
       {Heads{2, 3, 5, 4, 2, 7, 3}, {1, 1, 1, 1, 1, 1, 1}, {1, 2, 9, 3, 1, 5, 4}, {1, 4, 1, 2, 2, 3, 2}}) {
    expect_gradients([&](Case<double>& c) {
      const Arguments<double> a = arguments(c, h);
      const auto y = attention_with_lse(a.q, a.k, a.v, {.scale = 0.8});
      return results(y.out, y.lse);
    });
  }
}

TEST(AttentionGradients, OfValuesWithHeadsOfTheirOwn) {
  for (const Heads& h : {Heads{2, 3, 5, 6, 6, 4, 3, 2}, {1, 2, 4, 6, 3, 3, 5, 2}, {1, 3, 3, 4, 1, 5, 2, 4}}) {
    expect_gradients([&](Case<double>& c) {
      const Arguments<double> a = arguments(c, h);
      return results(scaled_dot_product_attention(a.q, a.k, a.v, {.value_heads = aulos::ValueHeads::own}));
    });
  }
}

TEST(AttentionGradients, OfEverySide) {
  expect_gradients([](Case<double>& c) {
    const Arguments<double> a = arguments(c, {2, 3, 3, 2, 1, 5, 4}, 1), b = arguments(c, {2, 2, 2, 2, 1, 5, 4}, 10);
    const auto k = c.in<4>(Shape<4>{2, 4, 1, 5}, 20), v = c.in<4>(Shape<4>{2, 4, 1, 4}, 21);
    const auto y = joint_attention(std::array{Side{a.q, a.k, a.v}, Side{{}, k, v}, Side{b.q, b.k, b.v}});
    return results(y[0], y[2]);
  });
}

TEST(AttentionGradients, UnderACausalMaskWithEmptyRows) {
  expect_gradients([](Case<double>& c) {
    const Arguments<double> a = arguments(c, {1, 5, 3, 2, 1, 5, 4});
    return results(
        scaled_dot_product_attention(a.q, a.k, a.v, {}, aulos::kernels::causal(Causality::bottom_right, 5, 3)));
  });
}

}  // namespace
