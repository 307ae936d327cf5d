#include "aulos/conditioning/embeddings.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "support/naive_tokens.hpp"

namespace {

using namespace aulos::conditioning;
using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::SinusoidOrder;

static_assert(aulos::nn::Module<VectorEmbedding<float>> && aulos::nn::Module<TimestepTextEmbedding<double>>);

double silu(double x) { return x / (1 + std::exp(-x)); }

template <class T>
naive::Tokens written_out(const VectorEmbedding<T>& e, const naive::Tokens& x) {
  return naive::linear(naive::linear(x, e.linear_1).map(silu), e.linear_2);
}

TEST(VectorEmbeddings, TwoLinearsAndASilu) {
  Context context({.threads = 1});
  VectorEmbedding<float> e(7, 4);
  naive::randomise(e, 1);
  const auto x = naive::random<float, 2>(context, Shape<2>{3, 7}, 2);
  naive::expect_near(e(x).unsqueeze(1), written_out(e, naive::Tokens(x.unsqueeze(1))), 1e-6);
  EXPECT_EQ(e(context.empty<float, 2>(Shape<2>{0, 7})).shape(), (Shape<2>{0, 4}));
}

TEST(VectorEmbeddings, NamesInUse) {
  const auto names = [](EmbeddingNames called) {
    VectorEmbedding<float> e(7, 4, called);
    std::string all;
    aulos::nn::for_each_parameter(e, [&](const auto& p) { all += p.name + " "; });
    return all;
  };
  EXPECT_EQ(names({}), "linear_1.weight linear_1.bias linear_2.weight linear_2.bias ");
  EXPECT_EQ(names(mlp_names), "mlp.0.weight mlp.0.bias mlp.2.weight mlp.2.bias ");
  EXPECT_EQ(names(sequential_names), "0.weight 0.bias 2.weight 2.bias ");
  EXPECT_EQ(names(in_out_names), "in_layer.weight in_layer.bias out_layer.weight out_layer.bias ");
  EXPECT_EQ(names(out_net_names), "out_net.0.weight out_net.0.bias out_net.2.weight out_net.2.bias ");
}

TEST(TimestepEmbeddings, OfTimesPerSampleAndPerToken) {
  Context context({.threads = 1});
  TimestepEmbedding<float> e(4, {.width = 6}, 8, mlp_names);
  naive::randomise(e, 1);
  const float times[] = {0, 0.25f, 1, 2, 0.5f, 3};
  const auto all = e(context.from(Shape<2>{2, 3}, times));
  naive::Tokens waves(2, 3, 6);
  for (Index k = 0; k < 6; ++k)
    for (Index i = 0; i < 3; ++i) {
      const double angle = 8 * static_cast<double>(times[k]) * std::pow(10000.0, -static_cast<double>(i) / 3);
      waves.at(k / 3, k % 3, i) = std::cos(angle);
      waves.at(k / 3, k % 3, 3 + i) = std::sin(angle);
    }
  naive::expect_near(all, written_out(e.mlp, waves), 4e-6);
  const auto first = e(context.from(Shape<1>{3}, times));
  EXPECT_EQ(naive::values(first), naive::values(all.slice(0, 0, 1)));
}

TEST(TimestepTextEmbeddings, SumOfTimeAndText) {
  Context context({.threads = 1});
  TimestepTextEmbedding<float> e(5, 4, {.width = 6});
  naive::randomise(e, 1);
  const float times[] = {0, 3.5f, 1000};
  const auto t = context.from(Shape<1>{3}, times);
  const auto pooled = naive::random<float, 2>(context, Shape<2>{3, 5}, 2);
  naive::Tokens waves(3, 1, 6);  // cosines first, frequencies 10000^(-i / 3)
  for (Index b = 0; b < 3; ++b)
    for (Index i = 0; i < 3; ++i) {
      const double angle = static_cast<double>(times[b]) * std::pow(10000.0, -static_cast<double>(i) / 3);
      waves.at(b, 0, i) = std::cos(angle);
      waves.at(b, 0, 3 + i) = std::sin(angle);
    }
  const naive::Tokens want = naive::gated(written_out(e.timestep_embedder, waves), {},
                                          written_out(e.text_embedder, naive::Tokens(pooled.unsqueeze(1))));
  naive::expect_near(e(t, pooled).unsqueeze(1), want, 1e-4);
}

// At t = 0 the embedding is [1 .. 1, 0 .. 0], cosines first: linear_1 sees the sum of its first columns. With the sines
// first and the halves of those columns exchanged, the same numbers.
TEST(TimestepTextEmbeddings, OrderIsAPermutationOfTheFirstColumns) {
  Context context({.threads = 1});
  TimestepTextEmbedding<float> cos_first(5, 4, {.width = 6}),
      sin_first(5, 4, {.width = 6, .order = SinusoidOrder::sin_first});
  naive::randomise(cos_first, 1);
  naive::randomise(sin_first, 1);
  EXPECT_EQ(cos_first, sin_first);  // parameters alone
  float* to = sin_first.timestep_embedder.linear_1.weight.rows().data();
  const float* from = cos_first.timestep_embedder.linear_1.weight.rows().data();
  for (Index row = 0; row < 4; ++row)
    for (Index i = 0; i < 6; ++i) to[row * 6 + (i + 3) % 6] = from[row * 6 + i];
  const float times[] = {0, 10};
  const auto t = context.from(Shape<1>{2}, times);
  const auto pooled = naive::random<float, 2>(context, Shape<2>{2, 5}, 2);
  const auto a = naive::values(cos_first(t, pooled)), b = naive::values(sin_first(t, pooled));
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-6f);
}

TEST(TimestepTextEmbeddings, NamesAndCounts) {
  TimestepTextEmbedding<float> e(5, 4);
  std::string names;
  aulos::nn::for_each_parameter(e, [&](const auto& p) { names += p.name + " "; });
  EXPECT_EQ(names,
            "timestep_embedder.linear_1.weight timestep_embedder.linear_1.bias timestep_embedder.linear_2.weight "
            "timestep_embedder.linear_2.bias text_embedder.linear_1.weight text_embedder.linear_1.bias "
            "text_embedder.linear_2.weight text_embedder.linear_2.bias ");
  EXPECT_EQ(aulos::nn::parameter_count(e), 256 * 4 + 4 + 4 * 4 + 4 + 5 * 4 + 4 + 4 * 4 + 4);
}

TEST(TimestepTextEmbeddingErrors, OneTimePerSample) {
  Context context({.threads = 1});
  TimestepTextEmbedding<float> e(5, 4);
  naive::randomise(e, 1);
  const auto t = context.zeros<float>(Shape<1>{3});
  EXPECT_THROW(e(t, context.zeros<float>(Shape<2>{2, 5})), aulos::ShapeError);
  EXPECT_THROW(e(t, context.zeros<float>(Shape<2>{3, 6})), aulos::ShapeError);
}

}  // namespace
