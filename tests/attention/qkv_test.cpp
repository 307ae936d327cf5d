#include "aulos/attention/qkv.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/naive_tokens.hpp"

namespace {

using namespace aulos::attention;
using aulos::Context;
using aulos::Index;
using aulos::QueryKeyValue;
using aulos::Shape;
using aulos::Tensor;
using aulos::nn::AcrossHeads;
using aulos::nn::LayerNorm;
using aulos::nn::NoQkNorm;
using aulos::nn::PerHead;
using aulos::nn::RmsNorm;

constexpr Index channels = 12, heads = 2, width = 8;

static_assert(aulos::nn::Module<SeparateQkv<float>> && aulos::nn::Module<FusedQkv<double, NoQkNorm<double>>>);

template <class T>
Tensor<T, 3> merged(const Tensor<T, 4>& x) {
  return merge_heads(x);
}

// The rows q, k, v of the fused linear, copied from the three.
template <class T, class Norm>
FusedQkv<T, Norm> fused_of(const SeparateQkv<T, Norm>& from, aulos::nn::Bias bias) {
  FusedQkv<T, Norm> to(channels, {heads, width}, bias);
  to.norm_q = from.norm_q;
  to.norm_k = from.norm_k;
  T* rows = to.qkv.weight.rows().data();
  T* entries = to.qkv.bias.data();
  for (const auto* part : {&from.to_q, &from.to_k, &from.to_v}) {
    rows = std::copy_n(part->weight.rows().data(), part->weight.count(), rows);
    if (bias == aulos::nn::Bias::yes) entries = std::copy_n(part->bias.data(), part->bias.count(), entries);
  }
  return to;
}

template <class T, class Norm>
void expect_fused_is_separate(const Norm& norm, aulos::nn::Bias bias) {
  Context context({.threads = 1});
  SeparateQkv<T, Norm> separate(channels, channels, {heads, width}, bias, norm);
  naive::randomise(separate, 1);
  const FusedQkv<T, Norm> fused = fused_of(separate, bias);
  const auto x = naive::random<T, 3>(context, Shape<3>{2, 5, channels}, 9);
  const QueryKeyValue<T> a = separate(x), b = fused(x);
  EXPECT_EQ(naive::values(a.q), naive::values(b.q));
  EXPECT_EQ(naive::values(a.k), naive::values(b.k));
  EXPECT_EQ(naive::values(a.v), naive::values(b.v));
  EXPECT_EQ(b.q.shape(), (Shape<4>{2, 5, heads, width}));
  EXPECT_EQ(merged(b.v).shape(), (Shape<3>{2, 5, heads * width}));
}

TEST(Qkv, FusedIsSeparateToTheBit) {
  for (const auto bias : {aulos::nn::Bias::no, aulos::nn::Bias::yes}) {
    expect_fused_is_separate<float>(NoQkNorm<float>(), bias);
    expect_fused_is_separate<float>(PerHead<RmsNorm<float>>{RmsNorm<float>(width, 1e-6)}, bias);
    expect_fused_is_separate<float>(PerHead<LayerNorm<float>>{LayerNorm<float>(width, 1e-6)}, bias);
    expect_fused_is_separate<float>(PerHead<RmsNorm<float>>(), bias);
    expect_fused_is_separate<float>(AcrossHeads<RmsNorm<float>>{RmsNorm<float>(heads * width, 1e-5)}, bias);
  }
}

// Normed before attention: per head over D with one weight for all heads, or over all heads together.
template <class Norm>
naive::Tokens normed(const naive::Tokens& x, const Norm& norm, Index norm_width) {
  return naive::norm(x, norm, norm_width);
}

TEST(Qkv, NormsOfQueriesAndKeys) {
  Context context({.threads = 1});
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 5, channels}, 9);
  const naive::Tokens tokens(x);
  const auto check = [&](auto norm, auto norm_of, Index norm_width) {
    SeparateQkv<float, decltype(norm)> qkv(channels, channels, {heads, width}, aulos::nn::Bias::yes, norm);
    naive::randomise(qkv, 3);
    const auto y = qkv(x);
    naive::expect_near(merged(y.q), naive::norm(naive::linear(tokens, qkv.to_q), norm_of(qkv.norm_q), norm_width),
                       2e-6);
    naive::expect_near(merged(y.k), naive::norm(naive::linear(tokens, qkv.to_k), norm_of(qkv.norm_k), norm_width),
                       2e-6);
    naive::expect_near(merged(y.v), naive::linear(tokens, qkv.to_v), 2e-6);
  };
  const auto per_head = [](const auto& n) { return *n.norm; };
  const auto across = [](const auto& n) { return n.norm; };
  check(PerHead<RmsNorm<float>>{RmsNorm<float>(width, 1e-6)}, per_head, width);
  check(PerHead<LayerNorm<float>>{LayerNorm<float>(width, 1e-5, aulos::nn::Affine::no)}, per_head, width);
  check(AcrossHeads<RmsNorm<float>>{RmsNorm<float>(heads * width, 1e-5)}, across, heads * width);
  check(AcrossHeads<LayerNorm<float>>{LayerNorm<float>(heads * width, 1e-5)}, across, heads * width);
}

TEST(Qkv, GroupsOfKeys) {
  Context context({.threads = 1});
  for (const Index groups : {1, 2, 4}) {
    SeparateQkv<float, NoQkNorm<float>> qkv(channels, 10, {.heads = 4, .width = 6, .groups = groups},
                                            aulos::nn::Bias::no);
    naive::randomise(qkv, 4);
    const auto y = qkv.cross(naive::random<float, 3>(context, Shape<3>{2, 3, channels}, 1),
                             naive::random<float, 3>(context, Shape<3>{2, 5, 10}, 2));
    EXPECT_EQ(y.q.shape(), (Shape<4>{2, 3, 4, 6}));
    EXPECT_EQ(y.k.shape(), (Shape<4>{2, 5, groups, 6}));
    EXPECT_EQ(y.v.shape(), (Shape<4>{2, 5, groups, 6}));
    EXPECT_EQ(aulos::nn::parameter_count(qkv), 24 * channels + 2 * groups * 6 * 10);
  }
  const SeparateQkv<float> as_many(channels, channels, {.heads = 4, .width = 6});
  EXPECT_EQ(as_many.shape.groups, 4);
}

TEST(Qkv, KeysOnly) {
  Context context({.threads = 1});
  SeparateQkv<float> qkv(channels, channels, {heads, width});
  naive::randomise(qkv, 5);
  const auto x = naive::random<float, 3>(context, Shape<3>{1, 4, channels}, 2);
  const auto all = qkv(x), keys = qkv.keys_only(x);
  EXPECT_TRUE(keys.q.empty());
  EXPECT_EQ(naive::values(keys.k), naive::values(all.k));
  EXPECT_EQ(naive::values(keys.v), naive::values(all.v));
}

TEST(Qkv, Names) {
  const auto names = [](auto module) {
    std::string all;
    aulos::nn::for_each_parameter(module, [&](const auto& p) { all += p.name + " "; });
    return all;
  };
  EXPECT_EQ(names(SeparateQkv<float>(channels, channels, {heads, width}, aulos::nn::Bias::yes,
                                     {RmsNorm<float>(width, 1e-6)})),
            "to_q.weight to_q.bias to_k.weight to_k.bias to_v.weight to_v.bias norm_q.weight norm_k.weight ");
  EXPECT_EQ(names(FusedQkv<float>(channels, {heads, width}, aulos::nn::Bias::no)), "qkv.weight ");
}

TEST(QkvErrors, FusedHasNoGroups) {
  EXPECT_NO_THROW(FusedQkv<float>(channels, {.heads = 4, .width = 3, .groups = 4}));
  try {
    FusedQkv<float>(channels, {.heads = 4, .width = 3, .groups = 2});
    ADD_FAILURE() << "no error";
  } catch (const aulos::ConfigError& error) {
    EXPECT_STREQ(error.what(), "FusedQkv: groups is 2, expected as many as heads, 4");
  }
}

TEST(Qkv, FusedGivesKeysOnly) {
  Context context({.threads = 1});
  FusedQkv<float> fused(channels, {heads, width});
  naive::randomise(fused, 1);
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 5, channels}, 9);
  const QueryKeyValue<float> all = fused(x), keys = fused.keys_only(x);
  EXPECT_TRUE(keys.q.empty());
  EXPECT_EQ(naive::values(keys.k), naive::values(all.k));
  EXPECT_EQ(naive::values(keys.v), naive::values(all.v));
}

TEST(Qkv, FusedKvReadsAnotherSequence) {
  Context context({.threads = 1});
  for (const Index groups : {0, 1}) {
    FusedKv<float> cross(channels, 7, {heads, width, groups});
    naive::randomise(cross, 1);
    const Index inner = (groups == 0 ? heads : groups) * width;
    const auto x = naive::random<float, 3>(context, Shape<3>{2, 5, channels}, 9);
    const auto y = naive::random<float, 3>(context, Shape<3>{2, 3, 7}, 10);
    const QueryKeyValue<float> qkv = cross.cross(x, y);
    naive::expect_near(merged(qkv.q), naive::linear(naive::Tokens(x), cross.q), 1e-6);
    const naive::Tokens rows = naive::linear(naive::Tokens(y), cross.kv);
    EXPECT_EQ(qkv.k.shape(), (Shape<4>{2, 3, inner / width, width}));
    for (Index n = 0; n < 3; ++n)
      for (Index c = 0; c < inner; ++c) {
        EXPECT_NEAR(qkv.k(1, n, c / width, c % width), rows.at(1, n, c), 1e-5);
        EXPECT_NEAR(qkv.v(1, n, c / width, c % width), rows.at(1, n, inner + c), 1e-5);
      }
  }
}

}  // namespace
