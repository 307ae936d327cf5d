#include "aulos/ops/linear_attention.hpp"

#include <gtest/gtest.h>

#include "aulos/ops/activation.hpp"
#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::kernels::LinearForm;
using aulos::kernels::Normaliser;

struct Extents {
  Index batch, nq, nk, heads, width, value_width;
};

// Every form on positive features, with and without what may be absent; the results of all of them.
template <class T>
std::vector<AnyTensor<T>> linear(Case<T>& c, const Extents& x, bool all = true) {
  const auto q = c.template in<4>(Shape<4>{x.batch, x.nq, x.heads, x.width}, 1, 0.5, 0.75);
  const auto k = c.template in<4>(Shape<4>{x.batch, x.nk, x.heads, x.width}, 2, 0.5, 0.75);
  const auto v = c.template in<4>(Shape<4>{x.batch, x.nk, x.heads, x.value_width}, 3);
  const auto qc = c.template in<4>(Shape<4>{x.batch, x.nk, x.heads, x.width}, 4, 0.5, 0.75);
  const auto decay = c.template in<1>(Shape<1>{x.heads}, 5, 0.1, 0.8);
  const auto kv = c.template in<4>(Shape<4>{x.batch, x.heads, x.width, x.value_width}, 6);
  const auto sum = c.template in<3>(Shape<3>{x.batch, x.heads, x.width}, 7, 1, 2);
  auto keep = c.context.template empty<std::uint8_t>(Shape<2>{x.batch, x.nk});
  if (!c.context.dry()) {
    for (Index i = 0; i < keep.count(); ++i) keep.mutable_data()[i] = i % 3 == 1 ? 0 : 1;
  }
  const aulos::LinearAttentionOptions causal{.form = LinearForm::causal, .scale = 0.5},
      retention{.form = LinearForm::causal, .normaliser = Normaliser::none};
  if (!all) return results(linear_attention(qc, k, v, retention, {.decay = decay}));
  const auto a = linear_attention_with_state(q, k, v, {}, {.keep = keep, .initial = {kv, sum}});
  const auto b = linear_attention_with_state(qc, k, v, causal, {.decay = decay, .keep = keep, .initial = {kv, sum}});
  const auto d = linear_attention_with_state(qc, k, v, retention, {.decay = decay, .initial = {kv, {}}});
  return results(linear_attention(q, k, v), a.out, a.last.kv, a.last.sum, linear_attention(qc, k, v, causal), b.out,
                 b.last.kv, b.last.sum, linear_attention(qc, k, v, retention), d.out, d.last.kv);
}

template <class T>
std::vector<AnyTensor<T>> delta(Case<T>& c, const Extents& x) {
  const auto q = c.template in<4>(Shape<4>{x.batch, x.nk, x.heads, x.width}, 1);
  const auto k = c.template in<4>(Shape<4>{x.batch, x.nk, x.heads, x.width}, 2, 0.6);
  const auto v = c.template in<4>(Shape<4>{x.batch, x.nk, x.heads, x.value_width}, 3);
  const auto beta = c.template in<3>(Shape<3>{x.batch, x.nk, x.heads}, 4, 0.5, 0.5);
  const auto initial = c.template in<4>(Shape<4>{x.batch, x.heads, x.width, x.value_width}, 5);
  const auto y = delta_rule_with_state(q, k, v, beta, {.scale = 0.5}, initial);
  return results(delta_rule(q, k, v, beta), y.out, y.last);
}

constexpr Extents sizes[] = {{2, 3, 5, 2, 4, 3}, {1, 1, 1, 1, 1, 1}, {1, 4, 2, 3, 1, 7}, {1, 2, 6, 1, 9, 1}};

TEST(LinearAttentionOp, SumsOverKeys) {
  Context context;
  const auto q = of<float>(context, Shape<4>{1, 2, 1, 2}, {1, 0, 1, 1});
  const auto k = of<float>(context, Shape<4>{1, 2, 1, 2}, {1, 2, 3, 0});
  const auto v = of<float>(context, Shape<4>{1, 2, 1, 1}, {10, 20});
  const aulos::LinearAttentionOptions raw{.normaliser = Normaliser::none},
      causal{.form = LinearForm::causal, .normaliser = Normaliser::none};
  expect_values(linear_attention(q, k, v, raw), {70, 90});
  expect_values(linear_attention(q, k, v, {.eps = 0}), {70.0 / 4, 90.0 / 6}, 1e-6);
  expect_values(linear_attention(q, k, v, causal), {10, 90});
  const auto half = context.full<float>(Shape<1>{1}, 0.5f);
  const auto y = linear_attention_with_state(q, k, v, causal, {.decay = half});
  expect_values(y.out, {10, 75});
  expect_values(y.last.kv, {65, 10});
  EXPECT_TRUE(y.last.sum.empty());
}

TEST(DeltaRuleOp, CorrectsItsState) {
  Context context;
  const auto q = of<float>(context, Shape<4>{1, 2, 1, 2}, {1, 0, 1, 1});
  const auto k = of<float>(context, Shape<4>{1, 2, 1, 2}, {1, 0, 1, 1});
  const auto v = of<float>(context, Shape<4>{1, 2, 1, 1}, {4, 10});
  const auto beta = of<float>(context, Shape<3>{1, 2, 1}, {0.5f, 1});
  const auto y = delta_rule_with_state(q, k, v, beta);
  expect_values(y.out, {2, 18});  // S = (2, 0); then the error 10 - 2 is added along (1, 1)
  expect_values(y.last, {10, 8});
}

TEST(LinearAttentionOp, Gradients) {
  for (const Extents& x : sizes) {
    SCOPED_TRACE(x.nk);
    expect_gradients([&](Case<double>& c) { return linear(c, x); });
  }
}

TEST(LinearAttentionOp, GradientsAcrossChunks) {
  expect_gradients([](Case<double>& c) { return linear(c, {1, 66, 66, 1, 2, 1}, false); });
}

TEST(DeltaRuleOp, Gradients) {
  for (const Extents& x : sizes) {
    SCOPED_TRACE(x.nk);
    expect_gradients([&](Case<double>& c) { return delta(c, x); });
  }
}

TEST(LinearAttentionOp, LayoutsAndThreadsAgree) {
  expect_layouts_agree<double>([](Case<double>& c) { return linear(c, {2, 3, 5, 2, 4, 3}); });
  expect_threads_agree<float>([](Case<float>& c) { return linear(c, {2, 70, 80, 3, 20, 18}); });
}

TEST(DeltaRuleOp, LayoutsAndThreadsAgree) {
  expect_layouts_agree<double>([](Case<double>& c) { return delta(c, {2, 3, 5, 2, 4, 3}); });
  expect_threads_agree<float>([](Case<float>& c) { return delta(c, {2, 70, 80, 3, 20, 18}); });
}

TEST(LinearAttentionOp, WithoutTokensOrSamples) {
  for (const Extents& x : {Extents{2, 0, 0, 2, 3, 4}, {0, 2, 3, 2, 3, 4}, {1, 2, 3, 0, 3, 4}, {1, 2, 3, 2, 0, 4}}) {
    const Outcome<float> y = forward_backward<float>([&](Case<float>& c) { return linear(c, x); });
    for (const auto& g : y.gradients) {
      for (const float each : g) EXPECT_TRUE(std::isfinite(each));
    }
    forward_backward<float>([&](Case<float>& c) { return delta(c, x); });
  }
}

// A state that was given up is written in place; one that somebody holds is not.
TEST(LinearAttentionOp, WritesItsStateInPlace) {
  Context context;
  const auto x = context.full<float>(Shape<4>{1, 1, 2, 3}, 1);
  const auto beta = context.full<float>(Shape<3>{1, 1, 2}, 1);
  const aulos::LinearAttentionOptions causal{.form = LinearForm::causal};
  auto y = linear_attention_with_state(x, x, x, causal);
  const float *kv = y.last.kv.data(), *sum = y.last.sum.data();
  y = linear_attention_with_state(x, x, x, causal, {.initial = std::move(y.last)});
  EXPECT_EQ(y.last.kv.data(), kv);
  EXPECT_EQ(y.last.sum.data(), sum);
  expect_values(y.last.kv, std::vector<double>(18, 2));
  const auto z = linear_attention_with_state(x, x, x, causal, {.initial = y.last});
  EXPECT_NE(z.last.kv.data(), kv);
  expect_values(y.last.kv, std::vector<double>(18, 2));
  expect_values(z.last.kv, std::vector<double>(18, 3));

  auto d = delta_rule_with_state(x, x, x, beta);
  const float* state = d.last.data();
  d = delta_rule_with_state(x, x, x, beta, {}, std::move(d.last));
  EXPECT_EQ(d.last.data(), state);
}

TEST(LinearAttentionOp, Records) {
  expect_records<float>("linear_attention", {"q", "k", "v", "decay", "initial.kv", "initial.sum"}, [](Case<float>& c) {
    return linear(c, {2, 3, 5, 2, 4, 3});
  });
  expect_records<float>("delta_rule", {"q", "k", "v", "beta", "initial"}, [](Case<float>& c) {
    return delta(c, {2, 3, 5, 2, 4, 3});
  });
}

TEST(LinearAttentionOp, SaysWhatIsWrong) {
  const auto x = [](Context& c, const Shape<4>& shape) { return c.zeros<float>(shape); };
  const aulos::LinearAttentionOptions causal{.form = LinearForm::causal};
  expect_errors({
      {"B",
       [&](Context& c) {
         linear_attention(x(c, {2, 3, 1, 4}), x(c, {1, 3, 1, 4}), x(c, {1, 3, 1, 4}));
       },
       {"linear_attention: ", "q [2, 3, 1, 4]", "k [1, 3, 1, 4]", "differ in B"}},
      {"causal N",
       [&](Context& c) {
         linear_attention(x(c, {1, 2, 1, 4}), x(c, {1, 3, 1, 4}), x(c, {1, 3, 1, 4}), causal);
       },
       {"differ in N"}},
      {"v",
       [&](Context& c) {
         linear_attention(x(c, {1, 2, 1, 4}), x(c, {1, 3, 1, 4}), x(c, {1, 2, 1, 4}));
       },
       {"k [1, 3, 1, 4]", "v [1, 2, 1, 4]"}},
      {"decay",
       [&](Context& c) {
         linear_attention(x(c, {1, 3, 2, 4}), x(c, {1, 3, 2, 4}), x(c, {1, 3, 2, 4}), causal,
                          {.decay = c.zeros<float>(Shape<1>{3})});
       },
       {"decay [3], expected [2]"}},
      {"decay of the full form",
       [&](Context& c) {
         linear_attention(x(c, {1, 3, 2, 4}), x(c, {1, 3, 2, 4}), x(c, {1, 3, 2, 4}), {},
                          {.decay = c.zeros<float>(Shape<1>{2})});
       },
       {"a decay needs the causal form"}},
      {"keep",
       [&](Context& c) {
         linear_attention(x(c, {1, 3, 2, 4}), x(c, {1, 3, 2, 4}), x(c, {1, 3, 2, 4}), {},
                          {.keep = c.zeros<std::uint8_t>(Shape<2>{1, 2})});
       },
       {"keep [1, 2], expected [1, 3]"}},
      {"half a state",
       [&](Context& c) {
         linear_attention(x(c, {1, 3, 2, 4}), x(c, {1, 3, 2, 4}), x(c, {1, 3, 2, 4}), {},
                          {.initial = {x(c, {1, 2, 4, 4}), {}}});
       },
       {"initial.kv without initial.sum"}},
      {"state",
       [&](Context& c) {
         linear_attention(x(c, {1, 3, 2, 4}), x(c, {1, 3, 2, 4}), x(c, {1, 3, 2, 5}), {.normaliser = Normaliser::none},
                          {.initial = {x(c, {1, 2, 4, 4}), {}}});
       },
       {"initial.kv [1, 2, 4, 4], expected [1, 2, 4, 5]"}},
      {"no k",
       [&](Context& c) {
         linear_attention(x(c, {1, 3, 2, 4}), {}, x(c, {1, 3, 2, 4}));
       },
       {"linear_attention: k is empty"}},
      {"beta",
       [&](Context& c) {
         delta_rule(x(c, {1, 3, 2, 4}), x(c, {1, 3, 2, 4}), x(c, {1, 3, 2, 4}), c.zeros<float>(Shape<3>{1, 2, 3}));
       },
       {"delta_rule: ", "beta [1, 2, 3], expected [1, 3, 2]"}},
  });
}

}  // namespace
