#include "aulos/ops/pointwise_loss.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

TEST(PointwiseLossOps, ClosedForms) {
  Context context;
  const auto x = of<float>(context, Shape<2>{2, 2}, {0, 1, -2, 3}),
             t = of<float>(context, Shape<2>{2, 2}, {0, 0.5f, 1, 1});
  EXPECT_NEAR(l1_loss(x, t)(0), 5.5 / 4, 1e-7);
  EXPECT_NEAR(smooth_l1_loss(x, t)(0), (0.125 + 2.5 + 1.5) / 4, 1e-7);
  EXPECT_NEAR(smooth_l1_loss(x, t, 2)(0), (0.0625 + 2 + 1) / 4, 1e-7);
  EXPECT_NEAR(huber_loss(x, t)(0), (0.125 + 2.5 + 1.5) / 4, 1e-7);
  EXPECT_NEAR(huber_loss(x, t, 2)(0), (0.125 + 4 + 2) / 4, 1e-7);
  EXPECT_NEAR(
      bce_with_logits(x, t)(0),
      (std::log(2.0) + (std::log1p(std::exp(1.0)) - 0.5) + std::log1p(std::exp(2.0)) + std::log1p(std::exp(-3.0))) / 4,
      1e-7);
  const auto p = of<float>(context, Shape<2>{2, 2}, {std::log(0.5f), std::log(0.5f), std::log(0.25f), std::log(0.75f)});
  const auto q = of<float>(context, Shape<2>{2, 2}, {1, 0, 0.25f, 0.75f});
  EXPECT_NEAR(kl_div(p, q)(0), std::log(2.0) / 2, 1e-7);
}

template <class C>
auto all_losses(C& c, const Shape<3>& shape) {
  const auto x = c.template in<3>(shape, 1, 2), target = c.template in<3>(shape, 2, 2);
  const auto p = c.template in<3>(shape, 3, 0.4, 0.5);
  return results(l1_loss(x, target), smooth_l1_loss(x, target, 0.8), huber_loss(x, target, 0.6), bce_with_logits(x, p),
                 kl_div(x, p));
}

TEST(PointwiseLossOps, GradientsOfBothSides) {
  for (const Shape<3>& shape : {Shape<3>{2, 3, 7}, {1, 1, 17}, {1, 1, 1}})
    expect_gradients([&](Case<double>& c) { return all_losses(c, shape); });
}

TEST(PointwiseLossOps, LayoutsThreadsRecordsAndNothing) {
  const auto body = [](const Shape<3>& shape) { return [=](Case<float>& c) { return all_losses(c, shape); }; };
  expect_layouts_agree<float>(body({3, 4, 19}));
  expect_threads_agree<float>(body({3, 64, 257}));
  for (const char* name : {"l1_loss", "smooth_l1_loss", "huber_loss", "bce_with_logits", "kl_div"})
    expect_records<float>(name, {"x", "target"}, body({2, 3, 5}));
  for (const auto& y : forward_backward<float>(body({0, 3, 5})).results) EXPECT_TRUE(std::isnan(y[0]));  // as PyTorch
}

TEST(PointwiseLossOps, SayWhatIsWrong) {
  expect_errors({
      {"shapes",
       [](Context& c) {
         l1_loss(c.zeros<float>(Shape<2>{2, 3}), c.zeros<float>(Shape<2>{2, 1}));
       },
       {"l1_loss: x [2, 3] and target [2, 1] differ"}},
      {"x", [](Context& c) { kl_div(Tensor<float, 1>(), c.zeros<float>(Shape<1>{2})); }, {"kl_div: x is empty"}},
      {"target", [](Context& c) { huber_loss(c.zeros<float>(Shape<1>{2}), {}); }, {"huber_loss: target is empty"}},
  });
  expect_errors<aulos::ConfigError>({
      {"beta",
       [](Context& c) { smooth_l1_loss(c.zeros<float>(Shape<1>{2}), c.zeros<float>(Shape<1>{2}), 0); },
       {"beta 0"}},
      {"delta",
       [](Context& c) { huber_loss(c.zeros<float>(Shape<1>{2}), c.zeros<float>(Shape<1>{2}), -1); },
       {"delta -1"}},
  });
}

}  // namespace
