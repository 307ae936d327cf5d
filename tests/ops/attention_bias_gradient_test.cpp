#include <gtest/gtest.h>

#include "ops/attention_case.hpp"

namespace {

using namespace aulos_test;
using aulos::AddBias;
using aulos::KeepKeys;

KeepKeys every_third_dropped(Context& context, Index batch, Index nk) {
  auto keep = context.empty<std::uint8_t>(Shape<2>{batch, nk});
  for (Index i = 0; i < batch * nk; ++i) keep.mutable_data()[i] = i % 3 != 1;
  return {keep};
}

TEST(AttentionBiasGradients, OfABiasSharedOrBySample) {
  const Heads h{2, 3, 5, 4, 2, 3, 2};
  expect_gradients([&](Case<double>& c) {
    const Arguments<double> a = arguments(c, h);
    const auto bias = c.in<3>(Shape<3>{4, 3, 5}, 9);
    return results(
        scaled_dot_product_attention(a.q, a.k, a.v, {}, every_third_dropped(c.context, 2, 5), AddBias<double>(bias)));
  });
  expect_gradients([&](Case<double>& c) {
    const Arguments<double> a = arguments(c, h);
    const auto bias = c.in<4>(Shape<4>{2, 4, 3, 5}, 9);
    return results(
        scaled_dot_product_attention(a.q, a.k, a.v, {}, every_third_dropped(c.context, 2, 5), AddBias<double>(bias)));
  });
}

TEST(AttentionBiasGradients, OfABiasThatHeadsOrQueriesShare) {
  const Heads h{2, 3, 5, 4, 2, 3, 2};
  for (const Shape<3>& shape : {Shape<3>{1, 3, 5}, {4, 1, 5}, {1, 1, 5}}) {
    SCOPED_TRACE(to_string(shape));
    expect_gradients([&](Case<double>& c) {
      const Arguments<double> a = arguments(c, h);
      const auto bias = c.in<3>(shape, 9).broadcast(Shape<3>{4, 3, 5});
      return results(
          scaled_dot_product_attention(a.q, a.k, a.v, {}, every_third_dropped(c.context, 2, 5), AddBias<double>(bias)));
    });
  }
}

TEST(AttentionBiasGradients, ThreadsAgreeOnASharedBias) {
  expect_threads_agree<double>([](Case<double>& c) {
    const Arguments<double> a = arguments(c, {3, 65, 70, 4, 2, 24, 16});
    const auto bias = c.in<3>(Shape<3>{1, 65, 70}, 9).broadcast(Shape<3>{4, 65, 70});
    return results(
        scaled_dot_product_attention(a.q, a.k, a.v, {}, every_third_dropped(c.context, 3, 70), AddBias<double>(bias)));
  });
}

}  // namespace
