#include "aulos/ops/distribution_loss.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

TEST(DistributionLosses, AgreeWithTheFormulas) {
  Context context;
  Case<double> c(context);
  const auto x = c.in<2>(Shape<2>{3, 5}, 1, 2), y = c.in<2>(Shape<2>{3, 5}, 2, 2);
  const auto softmax_of = [](const Tensor<double, 2>& z, Index r, double temperature) {
    std::vector<double> p;
    double sum = 0;
    for (Index k = 0; k < 5; ++k) p.push_back(std::exp(z(r, k) / temperature));
    for (const double v : p) sum += v;
    for (double& v : p) v /= sum;
    return p;
  };
  double cross = 0, kl = 0;
  for (Index r = 0; r < 3; ++r) {
    const auto p = softmax_of(x, r, 1), p3 = softmax_of(x, r, 3), q3 = softmax_of(y, r, 3);
    for (Index k = 0; k < 5; ++k) {
      const auto i = static_cast<std::size_t>(k);
      cross -= y(r, k) * std::log(p[i]) / 3;
      kl += 9 * q3[i] * std::log(q3[i] / p3[i]) / 3;
    }
  }
  EXPECT_NEAR(soft_cross_entropy(x, y)(0), cross, 1e-13);
  EXPECT_NEAR(kl_distill(x, y, 3)(0), kl, 1e-13);
  EXPECT_NEAR(kl_distill(x, x, 3)(0), 0, 1e-15);
}

TEST(DistributionLosses, GradientsOfBothSides) {
  for (const Shape<3>& shape : {Shape<3>{2, 3, 7}, {1, 1, 17}, {1, 2, 1}}) {
    expect_gradients([&](Case<double>& c) {
      const auto x = c.in<3>(shape, 1, 2), y = c.in<3>(shape, 2);
      return results(soft_cross_entropy(x, y), soft_cross_entropy(x, softmax(y)), kl_distill(x, y, 2));
    });
  }
}

TEST(DistributionLosses, LayoutsThreadsAndRecords) {
  const auto body = [](const Shape<3>& shape) {
    return [=](Case<float>& c) {
      const auto x = c.in<3>(shape, 1, 2), y = c.in<3>(shape, 2);
      return results(soft_cross_entropy(x, y), kl_distill(x, y, 2));
    };
  };
  expect_layouts_agree<float>(body({3, 4, 19}));
  expect_threads_agree<float>(body({3, 64, 257}));
  expect_records<float>("kl_distill", {"x", "target"}, body({2, 3, 5}));
  expect_records<float>("log_softmax", {"x"}, body({2, 3, 5}));
}

TEST(DistributionLosses, SayWhatIsWrong) {
  const auto zeros = [](Context& c, Index n) { return c.zeros<float>(Shape<2>{2, n}); };
  expect_errors({
      {"shapes",
       [&](Context& c) { soft_cross_entropy(zeros(c, 3), zeros(c, 4)); },
       {"soft_cross_entropy: logits [2, 3]"}},
      {"empty", [&](Context& c) { soft_cross_entropy(zeros(c, 3), {}); }, {"soft_cross_entropy: "}},
      {"distill",
       [&](Context& c) { kl_distill(zeros(c, 3), zeros(c, 4), 1); },
       {"kl_distill: x [2, 3] and target [2, 4]"}},
  });
  expect_errors<aulos::ConfigError>(
      {{"temperature", [&](Context& c) { kl_distill(zeros(c, 3), zeros(c, 3), 0); }, {"kl_distill: temperature 0"}}});
}

}  // namespace
