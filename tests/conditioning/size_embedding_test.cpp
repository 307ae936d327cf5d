#include "aulos/conditioning/size_embedding.hpp"

#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using namespace aulos::conditioning;

static_assert(aulos::nn::Module<SizeEmbedding<float>> && aulos::nn::Module<TimestepSizeEmbedding<float>>);

TEST(SizeEmbeddings, ScalarsSideBySide) {
  Context context({.threads = 1});
  SizeEmbedding<float> module(4, {.width = 6});
  naive::randomise(module, 1);
  const float sizes[] = {8, 3, 1, 0.5f, 2, 5};  // [2, 3]
  const auto y = module(context.from(Shape<2>{2, 3}, sizes));
  ASSERT_EQ(y.shape(), (Shape<2>{2, 12}));
  for (Index k = 0; k < 3; ++k) {
    const auto at = [&](Index b) { return static_cast<double>(sizes[b * 3 + k]); };
    naive::expect_near(y.slice(1, 4 * k, 4 * k + 4).unsqueeze(1), embedded(module.scalar.mlp, waves({at(0), at(1)}, 6)),
                       2e-6);
  }
}

TEST(TimestepSizeEmbeddings, HeightWidthAspectRatio) {
  Context context({.threads = 1});
  TimestepSizeEmbedding<float> module(9, {.width = 6});
  naive::randomise(module, 1);
  const float times[] = {2, 7}, sizes[] = {5, 3, 1, 4}, ratios[] = {1.5f, 0.25f};
  const auto c = module(context.from(Shape<1>{2}, times), context.from(Shape<2>{2, 2}, sizes),
                        context.from(Shape<2>{2, 1}, ratios));
  const naive::Tokens time = embedded(module.timestep_embedder.mlp, waves({2, 7}, 6));
  const naive::Tokens height = embedded(module.resolution_embedder.scalar.mlp, waves({5, 1}, 6));
  const naive::Tokens width = embedded(module.resolution_embedder.scalar.mlp, waves({3, 4}, 6));
  const naive::Tokens ratio = embedded(module.aspect_ratio_embedder.scalar.mlp, waves({1.5, 0.25}, 6));
  naive::Tokens want = time;
  for (Index b = 0; b < 2; ++b)
    for (Index i = 0; i < 3; ++i) {
      want.at(b, 0, i) += height.at(b, 0, i);
      want.at(b, 0, 3 + i) += width.at(b, 0, i);
      want.at(b, 0, 6 + i) += ratio.at(b, 0, i);
    }
  naive::expect_near(c.unsqueeze(1), want, 4e-6);
}

TEST(TimestepSizeEmbeddings, NamesAndErrors) {
  Context context({.threads = 1});
  TimestepSizeEmbedding<float> module(9);
  EXPECT_EQ(names_of(module).substr(0, 35), "timestep_embedder.linear_1.weight t");
  EXPECT_NE(names_of(module).find(" resolution_embedder.linear_2.bias aspect_ratio_embedder.linear_1.weight "),
            std::string::npos);
  EXPECT_THROW(TimestepSizeEmbedding<float>(10), aulos::ConfigError);
  SizeEmbedding<float> pixart(3, {}, mlp_names);
  EXPECT_EQ(names_of(pixart), "mlp.0.weight mlp.0.bias mlp.2.weight mlp.2.bias ");
  naive::randomise(module, 1);
  const auto t = context.zeros<float>(Shape<1>{2});
  const auto ratio = context.zeros<float>(Shape<2>{2, 1});
  EXPECT_THROW(module(t, ratio, ratio), aulos::ShapeError);
  EXPECT_THROW(module(t, context.zeros<float>(Shape<2>{3, 2}), ratio), aulos::ShapeError);
}

TEST(TimestepSizeEmbeddings, Gradients) {
  Context context({.threads = 1});
  TimestepSizeEmbedding<double> module(6, {.width = 6});
  naive::randomise(module, 1);
  const auto t = naive::random<double, 1>(context, Shape<1>{2}, 1);
  const auto size = naive::random<double, 2>(context, Shape<2>{2, 2}, 2);
  const auto ratio = naive::random<double, 2>(context, Shape<2>{2, 1}, 3);
  expect_gradients(
      context, module, [&](const Tensor<double, 2>& x) { return aulos::multiply(module(t, size, ratio), x); },
      std::tuple(naive::random<double, 2>(context, Shape<2>{2, 6}, 4)));
}

}  // namespace
