#include "aulos/conditioning/ada_layer_norm_single.hpp"

#include "aulos/conditioning/size_embedding.hpp"
#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using namespace aulos::conditioning;

using Single = AdaLayerNormSingle<float, TimestepEmbedder<float>>;
using Sized = AdaLayerNormSingle<float, TimestepSizeEmbedding<float>>;
static_assert(aulos::nn::Module<Single> && aulos::nn::Module<Sized> && aulos::nn::Module<AdaLayerNormSingle<double>>);

TEST(AdaLayerNormSingles, VectorAndItsParts) {
  Context context({.threads = 1});
  Single module(4, {TimestepEmbedding<float>(4, {.width = 6})});
  naive::randomise(module, 1);
  const float times[] = {2, 0.5f};
  const auto m = module(context.from(Shape<1>{2}, times));
  const naive::Tokens e = embedded(module.emb.timestep_embedder.mlp, waves({2, 0.5}, 6));
  naive::expect_near(m.embedded.unsqueeze(1), e, 2e-6);
  naive::expect_near(m.parts.unsqueeze(1), naive::linear(e.map(silu), module.linear), 2e-6);
}

// A time per token: each row is what its time alone gives.
TEST(AdaLayerNormSingles, PerToken) {
  Context context({.threads = 1});
  Single module(4, {TimestepEmbedding<float>(4, {.width = 6})}, 9);
  naive::randomise(module, 1);
  const float times[] = {0, 1, 2, 0.5f, 0.25f, 7};
  const auto all = module(context.from(Shape<2>{2, 3}, times));
  ASSERT_EQ(all.parts.shape(), (Shape<3>{2, 3, 36}));
  ASSERT_EQ(all.embedded.shape(), (Shape<3>{2, 3, 4}));
  for (Index i = 0; i < 6; ++i) {
    const auto alone = module(context.from(Shape<1>{1}, times + i));
    EXPECT_EQ(naive::values(all.parts.slice(0, i / 3, i / 3 + 1).slice(1, i % 3, i % 3 + 1)),
              naive::values(alone.parts));
  }
}

TEST(AdaLayerNormSingles, NamesOfDiffusers) {
  Single module(4, {TimestepEmbedding<float>(4)});
  EXPECT_EQ(names_of(module),
            "emb.timestep_embedder.linear_1.weight emb.timestep_embedder.linear_1.bias "
            "emb.timestep_embedder.linear_2.weight emb.timestep_embedder.linear_2.bias linear.weight linear.bias ");
  Sized sized(6, TimestepSizeEmbedding<float>(6));
  EXPECT_NE(names_of(sized).find(" emb.aspect_ratio_embedder.linear_2.bias linear.weight "), std::string::npos);
}

TEST(AdaLayerNormSingles, WithSizes) {
  Context context({.threads = 1});
  Sized module(6, TimestepSizeEmbedding<float>(6, {.width = 8}));
  naive::randomise(module, 1);
  const auto t = context.full<float>(Shape<1>{2}, 3);
  const auto size = naive::random<float, 2>(context, Shape<2>{2, 2}, 2);
  const auto ratio = naive::random<float, 2>(context, Shape<2>{2, 1}, 3);
  EXPECT_EQ(naive::values(module(t, size, ratio).embedded), naive::values(module.emb(t, size, ratio)));
}

TEST(AdaLayerNormSingles, Gradients) {
  Context context({.threads = 1});
  AdaLayerNormSingle<double> module(4, TimestepEmbedding<double>(4, {.width = 6}), 2);
  naive::randomise(module, 1);
  const auto t = naive::random<double, 1>(context, Shape<1>{2}, 2);
  expect_gradients(
      context, module,
      [&](const Tensor<double, 2>& x) {
        const auto m = module(t);
        return std::tuple(m.parts, aulos::multiply(m.embedded, x));
      },
      std::tuple(naive::random<double, 2>(context, Shape<2>{2, 4}, 3)));
}

}  // namespace
