#include "aulos/conditioning/token_mean.hpp"

#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using aulos::conditioning::mean_tokens;
using aulos::conditioning::TimestepTokensEmbedding;

static_assert(aulos::nn::Module<TimestepTokensEmbedding<float>>);

// keep [B, N] or empty.
naive::Tokens mean(const naive::Tokens& x, const std::vector<double>& keep) {
  naive::Tokens y(x.batch, 1, x.channels);
  for (Index b = 0; b < x.batch; ++b)
    for (Index c = 0; c < x.channels; ++c) {
      double total = 0, count = 0;
      for (Index n = 0; n < x.count; ++n) {
        const double k = keep.empty() ? 1 : keep[static_cast<std::size_t>(b * x.count + n)];
        total += k * x.at(b, n, c);
        count += k;
      }
      y.at(b, 0, c) = total / count;
    }
  return y;
}

TEST(TokenMeans, OfAllAndOfThoseKept) {
  Context context({.threads = 1});
  for (const Index tokens : {1, 4, 37}) {
    const auto x = naive::random<float, 3>(context, Shape<3>{2, tokens, 5}, 1);
    naive::expect_near(mean_tokens(x).unsqueeze(1), mean(naive::Tokens(x), {}), 1e-6);
    std::vector<double> mask;
    auto keep = context.empty<float, 2>(Shape<2>{2, tokens});
    for (Index i = 0; i < 2 * tokens; ++i) {
      mask.push_back(i % tokens == 0 || i % 3 == 1 ? 1 : 0);
      keep.mutable_data()[i] = static_cast<float>(mask.back());
    }
    naive::expect_near(mean_tokens(x, keep).unsqueeze(1), mean(naive::Tokens(x), mask), 1e-6);
  }
  const auto view = naive::random<float, 3>(context, Shape<3>{2, 6, 5}, 1).slice(1, 1, 4);
  naive::expect_near(mean_tokens(view).unsqueeze(1), mean(naive::Tokens(view), {}), 1e-6);
}

TEST(TokenMeans, NothingToAverage) {
  Context context({.threads = 1});
  EXPECT_THROW(mean_tokens(context.zeros<float>(Shape<3>{2, 0, 5})), aulos::ShapeError);
  EXPECT_THROW(mean_tokens(Tensor<float, 3>()), aulos::ShapeError);
  EXPECT_EQ(mean_tokens(context.zeros<float>(Shape<3>{0, 3, 5})).shape(), (Shape<2>{0, 5}));
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, 5}, 1);
  EXPECT_THROW(mean_tokens(x, context.zeros<float>(Shape<2>{2, 4})), aulos::ShapeError);
  const float numbers[] = {0, 0, 0, 1, 0, 0};
  const auto y = mean_tokens(x, context.from(Shape<2>{2, 3}, numbers));
  EXPECT_TRUE(std::isnan(y(0, 0)));
  EXPECT_NEAR(y(1, 2), x(1, 0, 2), 1e-6f);
}

TEST(TimestepTokensEmbeddings, AgreesWithTheFormula) {
  Context context({.threads = 1});
  TimestepTokensEmbedding<float> e(5, 4, {.width = 6});
  naive::randomise(e, 1);
  const float times[] = {2, 7};
  const auto t = context.from(Shape<1>{2}, times);
  const auto tokens = naive::random<float, 3>(context, Shape<3>{2, 3, 5}, 2);
  const float mask[] = {1, 1, 0, 1, 1, 1};
  const auto want = [&](const std::vector<double>& keep) {
    const naive::Tokens normed = naive::norm(mean(naive::Tokens(tokens), keep), e.norm, 5);
    return sum(embedded(e.timestep_embedder.mlp, waves({2, 7}, 6)), naive::linear(normed, e.linear));
  };
  naive::expect_near(e(t, tokens).unsqueeze(1), want({}), 4e-6);
  naive::expect_near(e(t, tokens, context.from(Shape<2>{2, 3}, mask)).unsqueeze(1), want({1, 1, 0, 1, 1, 1}), 4e-6);
  EXPECT_EQ(names_of(e),
            "timestep_embedder.linear_1.weight timestep_embedder.linear_1.bias timestep_embedder.linear_2.weight "
            "timestep_embedder.linear_2.bias caption_embedder.0.weight caption_embedder.0.bias "
            "caption_embedder.1.weight caption_embedder.1.bias ");
}

TEST(TimestepTokensEmbeddings, Gradients) {
  Context context({.threads = 1});
  TimestepTokensEmbedding<double> e(3, 4, {.width = 6});
  naive::randomise(e, 1);
  const auto t = naive::random<double, 1>(context, Shape<1>{2}, 1);
  const double mask[] = {1, 1, 0, 1, 1, 1};
  const auto keep = context.from(Shape<2>{2, 3}, mask);
  expect_gradients(
      context, e, [&](const Tensor<double, 3>& x) { return std::tuple(e(t, x), e(t, x, keep)); },
      std::tuple(naive::random<double, 3>(context, Shape<3>{2, 3, 3}, 2)));
}

}  // namespace
