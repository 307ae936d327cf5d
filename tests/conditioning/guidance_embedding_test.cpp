#include "aulos/conditioning/guidance_embedding.hpp"

#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using aulos::conditioning::TimestepGuidanceEmbedding;

static_assert(aulos::nn::Module<TimestepGuidanceEmbedding<float>>);

TEST(TimestepGuidanceEmbeddings, SumsWhatTheModelHas) {
  Context context({.threads = 1});
  const float times[] = {0.5f, 0.125f}, scales[] = {3.5f, 1};
  const auto t = context.from(Shape<1>{2}, times), g = context.from(Shape<1>{2}, scales);
  const auto pooled = naive::random<float, 2>(context, Shape<2>{2, 5}, 1);
  for (const bool guidance : {false, true}) {
    for (const Index width : {0, 5}) {
      TimestepGuidanceEmbedding<float> e(4, {.timestep_factor = 8,
                                             .guidance_factor = 2,
                                             .guidance = guidance,
                                             .pooled = width,
                                             .sinusoid = {.width = 6}});
      naive::randomise(e, 1);
      naive::Tokens want = embedded(e.timestep_embedder.mlp, waves({4, 1}, 6));
      if (guidance) want = sum(want, embedded(e.guidance_embedder->mlp, waves({7, 2}, 6)));
      if (width > 0) want = sum(want, embedded(*e.text_embedder, vectors(pooled)));
      const auto c = e(t, guidance ? g : Tensor<float, 1>(), width > 0 ? pooled : Tensor<float, 2>());
      naive::expect_near(c.unsqueeze(1), want, 4e-6);
    }
  }
}

// The factor multiplies before the waves are made: 1000 t is rounded first, as models that take t in [0, 1] do.
TEST(TimestepGuidanceEmbeddings, FactorComesFirst) {
  Context context({.threads = 1});
  TimestepGuidanceEmbedding<float> scaled(4, {.timestep_factor = 1000, .guidance = false});
  naive::randomise(scaled, 1);
  TimestepGuidanceEmbedding<float> plain = scaled;
  plain.timestep_embedder.factor = 1;
  const float t = 0.7317f, thousand = 1000.0f * t;
  EXPECT_EQ(naive::values(scaled(context.from(Shape<1>{1}, &t), {})),
            naive::values(plain(context.from(Shape<1>{1}, &thousand), {})));
}

TEST(TimestepGuidanceEmbeddings, NamesAndErrors) {
  Context context({.threads = 1});
  TimestepGuidanceEmbedding<float> e(4, {.pooled = 5});
  EXPECT_EQ(names_of(e),
            "timestep_embedder.linear_1.weight timestep_embedder.linear_1.bias timestep_embedder.linear_2.weight "
            "timestep_embedder.linear_2.bias guidance_embedder.linear_1.weight guidance_embedder.linear_1.bias "
            "guidance_embedder.linear_2.weight guidance_embedder.linear_2.bias text_embedder.linear_1.weight "
            "text_embedder.linear_1.bias text_embedder.linear_2.weight text_embedder.linear_2.bias ");
  naive::randomise(e, 1);
  const auto t = context.zeros<float>(Shape<1>{2});
  const auto pooled = context.zeros<float>(Shape<2>{2, 5});
  EXPECT_THROW(e(t, {}, pooled), aulos::ShapeError);  // the model has an embedder for guidance
  EXPECT_THROW(e(t, t), aulos::ShapeError);
  EXPECT_THROW(e(t, context.zeros<float>(Shape<1>{3}), pooled), aulos::ShapeError);
}

TEST(TimestepGuidanceEmbeddings, Gradients) {
  Context context({.threads = 1});
  TimestepGuidanceEmbedding<double> e(4, {.pooled = 3, .sinusoid = {.width = 6}});
  naive::randomise(e, 1);
  const auto t = naive::random<double, 1>(context, Shape<1>{2}, 1);
  expect_gradients(
      context, e, [&](const Tensor<double, 2>& pooled) { return e(t, t, pooled); },
      std::tuple(naive::random<double, 2>(context, Shape<2>{2, 3}, 2)));
}

}  // namespace
