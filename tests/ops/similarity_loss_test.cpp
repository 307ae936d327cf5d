#include "aulos/ops/similarity_loss.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

TEST(SimilarityLosses, ClosedForms) {
  Context context;
  const auto a = of<float>(context, Shape<2>{3, 2}, {1, 0, 0, 2, 0, 0}),
             b = of<float>(context, Shape<2>{3, 2}, {3, 4, 0, -1, 5, 5});
  expect_values(cosine_similarity(a, b), {0.6, -1, 0}, 1e-7);
  EXPECT_NEAR(cosine_loss(a, b)(0), 1 + 0.4 / 3, 1e-6);
  // Orthogonal pairs, similarities 1 / tau on the diagonal and 0 elsewhere.
  const auto unit = of<float>(context, Shape<2>{2, 2}, {5, 0, 0, 2});
  EXPECT_NEAR(clip_loss(unit, unit, 0.5)(0), std::log1p(std::exp(-2.0)), 1e-6);
  const auto z = of<float>(context, Shape<2>{2, 2}, {1, 3, 0, 0});
  const double rows = (std::log(std::exp(1.0) + std::exp(3.0)) - 1 + std::log(2.0)) / 2;
  const double columns = (std::log(std::exp(1.0) + 1) - 1 + std::log(std::exp(3.0) + 1)) / 2;
  EXPECT_NEAR(contrastive_loss(z)(0), (rows + columns) / 2, 1e-6);
}

TEST(SimilarityLosses, GradientsOfBothSides) {
  for (const Shape<2>& shape : {Shape<2>{3, 7}, {1, 5}, {4, 2}}) {
    expect_gradients([&](Case<double>& c) {
      const auto a = c.in<2>(shape, 1, 2), b = c.in<2>(shape, 2);
      return results(clip_loss(a, b, 0.3), cosine_loss(a, b), cosine_similarity(a, b));
    });
  }
}

TEST(SimilarityLosses, LayoutsThreadsAndRecords) {
  const auto body = [](Case<float>& c) {
    const auto a = c.in<2>(Shape<2>{5, 7}, 1), b = c.in<2>(Shape<2>{5, 7}, 2);
    return results(clip_loss(a, b, 0.3), cosine_loss(a, b));
  };
  expect_records<float>("cross_entropy", {"logits"}, body);
  expect_layouts_agree<float>(body);
  expect_threads_agree<float>(body);
}

TEST(SimilarityLosses, SayWhatIsWrong) {
  expect_errors({
      {"square",
       [](Context& c) {
         contrastive_loss(c.zeros<float>(Shape<2>{2, 3}));
       },
       {"contrastive_loss: logits [2, 3]"}},
      {"empty", [](Context&) { contrastive_loss(Tensor<float, 2>()); }, {"contrastive_loss: logits"}},
      {"widths",
       [](Context& c) {
         clip_loss(c.zeros<float>(Shape<2>{2, 3}), c.zeros<float>(Shape<2>{2, 4}), 1);
       },
       {"matmul: "}},
  });
  expect_errors<aulos::ConfigError>({{"temperature",
                                      [](Context& c) {
                                        clip_loss(c.zeros<float>(Shape<2>{2, 3}), c.zeros<float>(Shape<2>{2, 3}), 0);
                                      },
                                      {"clip_loss: temperature 0"}}});
}

}  // namespace
