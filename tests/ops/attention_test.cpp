#include "aulos/ops/attention.hpp"

#include <gtest/gtest.h>

#include "aulos/ops/layout.hpp"
#include "ops/attention_case.hpp"

namespace {

using namespace aulos_test;
using Side = aulos::QueryKeyValue<float>;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

TEST(AttentionOp, AgreesWithTheFormula) {
  for (const Heads& h :
       {Heads{2, 3, 5, 4, 2, 7, 3}, {1, 1, 1, 1, 1, 1, 1}, {1, 17, 70, 2, 2, 40, 40}, {2, 5, 3, 3, 1, 16, 8}}) {
    Context context;
    Case<float> c(context);
    const Arguments<float> a = arguments(c, h);
    const NaiveAttention expected = naive_attention(a);
    const auto y = attention_with_lse(a.q, a.k, a.v);
    expect_near(y.out, at(expected.out), 2e-6);
    expect_near(y.lse, at(expected.lse), 2e-6);
    EXPECT_EQ(values(scaled_dot_product_attention(a.q, a.k, a.v)), values(y.out));
    expect_near(scaled_dot_product_attention(a.q, a.k, a.v, {.scale = 0.7}), at(naive_attention(a, {}, 0.7).out), 2e-6);
  }
}

// bf16 keeps 8 bits of q, k, v and of the weights: 2^-9 each at most, in sums that average the signs out.
TEST(AttentionOp, TheContextSaysWhatIsRounded) {
  const Heads h{2, 17, 70, 2, 2, 40, 40};
  const auto run = [&](aulos::Numeric numeric, bool recorded) {
    Context context({.threads = 1, .numeric = numeric});
    Case<float> c(context);
    const Arguments<float> a = arguments(c, h);
    if (recorded) {
      GradTape tape(context);
      auto q = a.q;
      tape.watch(q);
      return values(scaled_dot_product_attention(q, a.k, a.v));
    }
    return values(scaled_dot_product_attention(a.q, a.k, a.v));
  };
  const auto exact = run(aulos::Numeric::exact, false), bf16 = run(aulos::Numeric::bf16, false);
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    error += std::pow(static_cast<double>(bf16[i]) - static_cast<double>(exact[i]), 2);
    norm += std::pow(static_cast<double>(exact[i]), 2);
  }
  EXPECT_LE(std::sqrt(error / norm), 5e-3);
  EXPECT_GE(std::sqrt(error / norm), 1e-4);
  EXPECT_EQ(run(aulos::Numeric::int8, false), bf16);
  EXPECT_EQ(run(aulos::Numeric::bf16, true), exact);  // what a tape records is exact
}

TEST(AttentionOp, ScalesByTheHeadWidth) {  // q = k0 = ones, k1 = 0, v = [1, 0]
  for (const Index width : {1, 3, 5, 40, 72, 80}) {
    Context context;
    const auto q = context.full<float>(Shape<4>{1, 1, 1, width}, 1);
    auto k = context.zeros<float>(Shape<4>{1, 2, 1, width});
    for (Index d = 0; d < width; ++d) k.mutable_data()[d] = 1;
    const auto v = of<float>(context, Shape<4>{1, 2, 1, 1}, {1, 0});
    const double d = static_cast<double>(width);
    expect_values(scaled_dot_product_attention(q, k, v), {1 / (1 + std::exp(-std::sqrt(d)))}, 1e-6);
    expect_values(scaled_dot_product_attention(q, k, v, {.scale = 0.01}), {1 / (1 + std::exp(-0.01 * d))}, 1e-6);
  }
}

TEST(AttentionOp, LargeScores) {
  Context context;
  const auto q = of<float>(context, Shape<4>{1, 1, 1, 1}, {1000});
  const auto k = of<float>(context, Shape<4>{1, 2, 1, 1}, {1, 0.999f}),
             v = of<float>(context, Shape<4>{1, 2, 1, 1}, {1, 0});
  expect_values(scaled_dot_product_attention(q, k, v, {.scale = 1}), {0.7310586}, 1e-4);
}

TEST(AttentionOp, HeadsReadTheirGroupInBlocks) {
  Context context;
  GradTape tape(context);
  const auto q = context.zeros<float>(Shape<4>{1, 1, 4, 1}), k = context.zeros<float>(Shape<4>{1, 1, 2, 1});
  auto v = of<float>(context, Shape<4>{1, 1, 2, 1}, {10, 20});
  tape.watch(v);
  const auto y = scaled_dot_product_attention(q, k, v);
  expect_values(y, {10, 10, 20, 20});
  backward<float>(context, {y.any()});
  expect_values(tape.gradient(v), {noise(77, 0) + noise(77, 1), noise(77, 2) + noise(77, 3)}, 1e-6);
}

TEST(AttentionOp, NoKeysNoQueriesNoSamples) {
  for (const Heads& h : {Heads{2, 3, 0, 4, 2, 5, 3}, {2, 0, 3, 4, 2, 5, 3}, {0, 3, 4, 4, 2, 5, 3}}) {
    const Outcome<float> outcome = forward_backward<float>([&](Case<float>& c) {
      const Arguments<float> a = arguments(c, h);
      const auto y = attention_with_lse(a.q, a.k, a.v);
      return results(y.out);
    });
    EXPECT_EQ(outcome.results[0],
              std::vector<float>(static_cast<std::size_t>(h.batch * h.nq * h.heads * h.value_width), 0));
    for (const auto& gradient : outcome.gradients)
      for (const float g : gradient) EXPECT_EQ(g, 0);
    Context context;
    Case<float> c(context);
    const Arguments<float> a = arguments(c, h);
    for (const float l : values(attention_with_lse(a.q, a.k, a.v).lse)) EXPECT_EQ(l, -infinity);
  }
}

TEST(AttentionOp, LayoutsAndThreadsAgree) {
  const auto body = [](const Heads& h) {
    return [=](Case<float>& c) {
      const Arguments<float> a = arguments(c, h);
      const auto y = attention_with_lse(a.q, a.k, a.v);
      return results(y.out, y.lse);
    };
  };
  expect_layouts_agree<float>(body({3, 5, 19, 4, 2, 7, 6}));
  expect_threads_agree<float>(body({2, 65, 70, 4, 2, 40, 40}));
}

TEST(AttentionOp, HeadsMayBeViewsOfTheChannels) {
  Context context;
  Case<float> c(context);
  const auto qkv = c.in<3>(Shape<3>{2, 5, 3 * 4 * 7}, 1);
  const auto parts = aulos::chunk<3>(qkv, 2);
  const auto heads = [&](std::size_t i) { return parts[i].split_last(4); };
  const auto y = scaled_dot_product_attention(heads(0), heads(1), heads(2));
  EXPECT_EQ(values(y), values(scaled_dot_product_attention(dense(heads(0)), dense(heads(1)), dense(heads(2)))));
}

TEST(AttentionOp, NaNFillsWhatSeesIt) {
  Context context;
  Case<float> c(context);
  Arguments<float> a = arguments(c, {1, 3, 5, 1, 1, 4, 4});
  a.q.mutable_data()[4] = nan_value;  // query 1
  const auto y = scaled_dot_product_attention(a.q, a.k, a.v);
  for (Index i = 0; i < 3; ++i)
    for (Index e = 0; e < 4; ++e) EXPECT_EQ(std::isnan(y(0, i, 0, e)), i == 1);
  Arguments<float> b = arguments(c, {1, 3, 5, 1, 1, 4, 4});
  b.v.mutable_data()[6] = nan_value;
  const auto z = scaled_dot_product_attention(b.q, b.k, b.v);
  for (Index i = 0; i < 3; ++i)
    for (Index e = 0; e < 4; ++e) EXPECT_EQ(std::isnan(z(0, i, 0, e)), e == 2);
}

// ---- joint attention

std::vector<AnyTensor<float>> joint(Case<float>& c, bool concatenated) {
  const Arguments<float> a = arguments(c, {2, 3, 3, 4, 2, 7, 6}, 1), b = arguments(c, {2, 5, 5, 4, 2, 7, 6}, 10);
  const Arguments<float> keys = arguments(c, {2, 0, 4, 4, 2, 7, 6}, 20);
  if (!concatenated) {
    const auto y = joint_attention(std::array{Side{a.q, a.k, a.v}, Side{{}, keys.k, keys.v}, Side{b.q, b.k, b.v}});
    EXPECT_TRUE(y[1].empty());
    return results(y[0], y[2]);
  }
  const auto y = scaled_dot_product_attention(concat(std::array{a.q, b.q}, 1), concat(std::array{a.k, keys.k, b.k}, 1),
                                              concat(std::array{a.v, keys.v, b.v}, 1));
  return results(dense(y.slice(1, 0, 3)), dense(y.slice(1, 3, 8)));
}

TEST(JointAttentionOp, IsTheAttentionOfTheConcatenation) {
  const auto apart = forward_backward<float>([](Case<float>& c) { return joint(c, false); });
  const auto together = forward_backward<float>([](Case<float>& c) { return joint(c, true); });
  const auto near = [](const auto& x, const auto& y) {
    ASSERT_EQ(x.size(), y.size());
    for (std::size_t n = 0; n < x.size(); ++n) {
      ASSERT_EQ(x[n].size(), y[n].size());
      for (std::size_t i = 0; i < x[n].size(); ++i) EXPECT_NEAR(x[n][i], y[n][i], 3e-6) << n << " " << i;
    }
  };
  near(apart.results, together.results);
  near(apart.gradients, together.gradients);
}

TEST(JointAttentionOp, LayoutsAgreeAndAnEmptySideChangesNothing) {
  expect_layouts_agree<float>([](Case<float>& c) { return joint(c, false); });
  Context context;
  Case<float> c(context);
  const Arguments<float> a = arguments(c, {2, 3, 3, 4, 2, 7, 6}, 1), b = arguments(c, {2, 5, 5, 4, 2, 7, 6}, 10);
  const Arguments<float> none = arguments(c, {2, 0, 0, 4, 2, 7, 6});
  const auto two = joint_attention(std::array{Side{a.q, a.k, a.v}, Side{b.q, b.k, b.v}});
  const auto three =
      joint_attention(std::array{Side{a.q, a.k, a.v}, Side{none.q, none.k, none.v}, Side{b.q, b.k, b.v}});
  EXPECT_EQ(values(three[0]), values(two[0]));
  EXPECT_EQ(values(three[2]), values(two[1]));
  EXPECT_EQ(three[1].shape(), (Shape<4>{2, 0, 4, 6}));
}

TEST(JointAttentionOp, OnlyOneResultMayHaveAGradient) {
  Context context;
  GradTape tape(context);
  Case<float> c(context);
  const Arguments<float> a = arguments(c, {1, 3, 3, 2, 2, 4, 4}, 1), b = arguments(c, {1, 2, 2, 2, 2, 4, 4}, 10);
  const auto y = joint_attention(std::array{Side{a.q, a.k, a.v}, Side{b.q, b.k, b.v}});
  backward<float>(context, {y[0].any()});
  for (const float g : values(tape.gradient(b.q))) EXPECT_EQ(g, 0);
  double size = 0;
  for (const float g : values(tape.gradient(b.v))) size += std::fabs(g);
  EXPECT_GT(size, 0.1);
  EXPECT_TRUE(std::isfinite(size));
}

TEST(JointAttentionOp, TheLogSumExpAloneMayHaveAGradient) {
  Context context;
  GradTape tape(context);
  Case<float> c(context);
  const Arguments<float> a = arguments(c, {1, 3, 5, 2, 1, 4, 4});
  backward<float>(context, {attention_with_lse(a.q, a.k, a.v).lse.any()});
  for (const float g : values(tape.gradient(a.v))) EXPECT_EQ(g, 0);
  for (const float g : values(tape.gradient(a.k))) EXPECT_TRUE(std::isfinite(g));
}

TEST(AttentionOp, Records) {
  const Heads h{2, 3, 5, 4, 2, 7, 6};
  expect_records<float>("scaled_dot_product_attention", {"q", "k", "v"}, [&](Case<float>& c) {
    const Arguments<float> a = arguments(c, h);
    return results(scaled_dot_product_attention(a.q, a.k, a.v));
  });
  Context dry{Context::Dry{}};
  Case<float> c(dry);
  const Arguments<float> a = arguments(c, h);
  scaled_dot_product_attention(a.q, a.k, a.v);
  EXPECT_EQ(dry.planned().flops, 2.0 * 2 * 4 * 3 * 5 * (7 + 6));
}

TEST(AttentionOp, ValuesMayHaveHeadsOfTheirOwn) {
  for (const Heads& h : {Heads{2, 3, 5, 6, 6, 7, 14, 3}, {2, 3, 5, 6, 2, 7, 4, 6}, {1, 4, 9, 6, 3, 5, 5, 2}}) {
    Context context;
    Case<float> c(context);
    const Arguments<float> a = arguments(c, h);
    const auto y = scaled_dot_product_attention(a.q, a.k, a.v, {.value_heads = aulos::ValueHeads::own});
    EXPECT_EQ(y.shape(), (Shape<4>{h.batch, h.nq, h.heads, h.value_width}));
    expect_values(y, naive_attention(a).out, 1e-6);
  }
  const auto call = [](Index value_groups) {
    return [=](Context& c) {
      const auto x = [&](Index h) { return c.zeros<float>(Shape<4>{1, 2, h, 4}); };
      scaled_dot_product_attention(x(6), x(6), x(value_groups), {.value_heads = aulos::ValueHeads::own});
    };
  };
  expect_errors({{"four of six", call(4), {"q [1, 2, 6, 4] has 6 heads, not a multiple of the 4 of v [1, 2, 4, 4]"}},
                 {"none", call(0), {"not a multiple of the 0 of v"}}});
}

TEST(AttentionOp, AStepOfDecodingHasTheSameBitsForAnyThreads) {
  std::vector<float> first;
  for (const int threads : {1, 2, 3, 4, 8}) {
    Context c({.threads = threads});
    const auto q = c.normal<float>(Shape<4>{1, 1, 2, 16}), k = c.normal<float>(Shape<4>{1, 2000, 2, 16});
    const auto y = scaled_dot_product_attention(q, k, k);
    const std::vector<float> bits(y.data(), y.data() + y.count());
    if (first.empty()) first = bits;
    EXPECT_EQ(bits, first) << threads;
  }
}

TEST(AttentionOp, SaysWhatIsWrong) {
  const auto x = [](Context& c, Index b, Index n, Index h, Index d) { return c.zeros<float>(Shape<4>{b, n, h, d}); };
  const std::string op = "scaled_dot_product_attention: ";
  const auto call = [&](const Shape<4>& q, const Shape<4>& k, const Shape<4>& v) {
    return [=](Context& c) { scaled_dot_product_attention(c.zeros<float>(q), c.zeros<float>(k), c.zeros<float>(v)); };
  };
  expect_errors({
      {"Nk",
       call({2, 3, 4, 8}, {2, 16, 4, 8}, {2, 15, 4, 8}),
       {op + "k [2, 16, 4, 8] and v [2, 15, 4, 8] differ in Nk (16 != 15)"}},
      {"G", call({2, 3, 4, 8}, {2, 6, 4, 8}, {2, 6, 2, 8}), {op, "differ in G (4 != 2)"}},
      {"B of v", call({2, 3, 4, 8}, {2, 6, 4, 8}, {1, 6, 4, 8}), {op, "differ in B (2 != 1)"}},
      {"B",
       call({1, 3, 4, 8}, {2, 6, 4, 8}, {2, 6, 4, 8}),
       {op + "q [1, 3, 4, 8] and k [2, 6, 4, 8] differ in B (1 != 2)"}},
      {"D", call({2, 3, 4, 7}, {2, 6, 4, 8}, {2, 6, 4, 8}), {op, "differ in D (7 != 8)"}},
      {"heads", call({2, 3, 5, 8}, {2, 6, 2, 8}, {2, 6, 2, 8}), {op, "5 heads, not a multiple of the 2"}},
      {"no q",
       [&](Context& c) { scaled_dot_product_attention(Tensor<float, 4>(), x(c, 1, 2, 1, 4), x(c, 1, 2, 1, 4)); },
       {op + "no side has queries"}},
      {"no k", [&](Context& c) { scaled_dot_product_attention(x(c, 1, 2, 1, 4), {}, {}); }, {op + "no side has keys"}},
      {"no v",
       [&](Context& c) { scaled_dot_product_attention(x(c, 1, 2, 1, 4), x(c, 1, 2, 1, 4), {}); },
       {op, "k without v"}},
      {"sides",
       [&](Context& c) {
         const auto a = x(c, 1, 2, 2, 4), b = x(c, 1, 3, 2, 5);
         joint_attention(std::array{Side{a, a, a}, Side{b, b, b}});
       },
       {op, "q [1, 3, 2, 5] and q [1, 2, 2, 4] of an earlier side differ in D (5 != 4)"}},
  });
}

}  // namespace
