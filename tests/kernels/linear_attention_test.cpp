#include "aulos/kernels/linear_attention.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "linear_attention_problem.hpp"
#include "thread_counts.hpp"

namespace {

namespace simd = aulos::simd;
using namespace aulos_test;
using kernels::LinearForm;
using kernels::Normaliser;

template <class T>
class LinearAttentionKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(LinearAttentionKernel, Types);

template <class T>
void expect_forward(const LinearCase& c) {
  const LinearProblem<T> p(c);
  const LinearResults<T> got = p.run(1);
  const LinearResults<double> want = p.expected();
  expect_close(got.out, want.out, 64, "out");
  expect_close(got.kv, want.kv, 64, "S");
  if (c.shape.normaliser == Normaliser::score_sum) expect_close(got.sum, want.sum, 64, "z");
}

TYPED_TEST(LinearAttentionKernel, AgreesWithTheNaiveTwin) {
  for (const Index n : {1, 2, 63, 64, 65, 130})
    for_each_linear_case(1, 2, n / 2 + 1, n, 5, 3, expect_forward<TypeParam>);
  for (const Index n : {255, 256, 257}) for_each_linear_case(1, 1, n, n, 3, 2, expect_forward<TypeParam>);
  for (Index width = 1; width <= 35; width += width < 20 ? 1 : 7) {
    for_each_linear_case(2, 1, 4, 9, width, 36 - width, expect_forward<TypeParam>);
  }
  for_each_linear_case(1, 1, 70, 70, 64, 64, expect_forward<TypeParam>);
}

TYPED_TEST(LinearAttentionKernel, WithoutTokensHeadsOrWidth) {
  for_each_linear_case(2, 2, 0, 0, 3, 4, expect_forward<TypeParam>);
  for_each_linear_case(2, 2, 3, 0, 3, 4, [](LinearCase c) {
    if (c.shape.form == LinearForm::full) expect_forward<TypeParam>(c);
  });
  for_each_linear_case(0, 2, 3, 3, 3, 4, expect_forward<TypeParam>);
  for_each_linear_case(2, 0, 3, 3, 3, 4, expect_forward<TypeParam>);
  for_each_linear_case(1, 2, 3, 3, 0, 4, expect_forward<TypeParam>);
  for_each_linear_case(1, 2, 3, 3, 4, 0, expect_forward<TypeParam>);
}

TYPED_TEST(LinearAttentionKernel, ThreadsGiveTheSameBits) {
  for_each_linear_case(2, 3, 70, 70, 9, 17, [](const LinearCase& c) {
    const LinearProblem<TypeParam> p(c);
    const auto one = p.run(1);
    for (const int threads : more_threads) {
      const auto more = p.run(threads);
      EXPECT_EQ(more.out, one.out);
      EXPECT_EQ(more.kv, one.kv);
      EXPECT_EQ(more.sum, one.sum);
      EXPECT_EQ(more.dq, one.dq);
      EXPECT_EQ(more.dk, one.dk);
      EXPECT_EQ(more.dv, one.dv);
      EXPECT_EQ(more.dkv, one.dkv);
      EXPECT_EQ(more.dsum, one.dsum);
      EXPECT_EQ(more.ddecay, one.ddecay);
    }
  });
}

// Results that are larger than the caches take another way, with the same bits as those of a head alone.
TYPED_TEST(LinearAttentionKernel, PastTheCaches) {
  using T = TypeParam;
  const Index width = 1, values = 8 * simd::lanes<T> + 3, row = 10 * simd::lanes<T>, heads = 4;
  const Index tokens = kernels::detail::past_caches_bytes / static_cast<Index>(sizeof(T)) / (values * heads) + 3;
  std::vector<T> q(static_cast<std::size_t>(tokens * heads * width)), v(static_cast<std::size_t>(tokens * values));
  for (std::size_t i = 0; i < q.size(); ++i) q[i] = static_cast<T>(1 + i % 7) / T(8);
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<T>(i % 1001) / T(500) - T(1);
  std::vector<T> memory(static_cast<std::size_t>(2 * tokens * heads * row) + 32, T(-77));
  T* all = memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64 / sizeof(T);
  T* alone = all + tokens * heads * row;
  kernels::LinearAttentionShape shape{.batch = 1,
                                      .heads = heads,
                                      .nq = tokens,
                                      .nk = tokens,
                                      .width = width,
                                      .value_width = values,
                                      .normaliser = Normaliser::score_sum};
  const kernels::LinearAttentionOperands<T> in{.q = {q.data(), 0, heads * width, width},
                                               .k = {q.data(), 0, heads * width, width},
                                               .v = {v.data(), 0, values, 0}};
  ASSERT_EQ(kernels::detail::LinearForward<T>::goes_past_caches(shape, {all, 0, heads * row, row}), simd::has_stream);
  for (const LinearForm form : {LinearForm::full, LinearForm::causal}) {
    shape.form = form;
    aulos::ThreadTeam team(2);
    kernels::linear_attention<T>(team.threads(kernels::linear_attention_scratch<T>(shape)), shape, in,
                                 {all, 0, heads * row, row});
    kernels::LinearAttentionShape one = shape;
    one.heads = 1;
    for (Index h = 0; h < heads; ++h) {
      kernels::LinearAttentionOperands<T> of_head = in;
      of_head.q.data += h * width;
      of_head.k.data += h * width;
      kernels::linear_attention<T>(team.threads(kernels::linear_attention_scratch<T>(one)), one, of_head,
                                   {alone + h * row, 0, heads * row, row});
    }
    ASSERT_EQ(std::memcmp(all, alone, static_cast<std::size_t>(tokens * heads * row) * sizeof(T)), 0);
  }
}

// Splitting a sequence and carrying the state changes nothing, nor does stepping token by token.
TYPED_TEST(LinearAttentionKernel, ResumesFromItsState) {
  using T = TypeParam;
  constexpr Index n = 100;
  for_each_linear_case(1, 2, n, n, 6, 5, [&](const LinearCase& c) {
    if (c.shape.form == LinearForm::full) return;
    const LinearProblem<T> p(c);
    const auto whole = p.run(1);
    aulos::ThreadTeam team(1);
    const auto threads = team.threads(kernels::linear_attention_scratch<T>(p.s()));
    for (const Index segment : {1, 3, 63, 64, 65}) {
      HeadArray<T> out(1, n, 2, 5, 20);
      std::vector<T> kv(p.kv), sum(p.sum);
      if (!c.state) kv.assign(kv.size(), T(0)), sum.assign(sum.size(), T(0));
      for (Index at = 0; at < n; at += segment) {
        auto s = p.s();
        s.nq = s.nk = std::min(segment, n - at);
        auto in = p.operands();
        in.q.data += at * in.q.token, in.k.data += at * in.k.token, in.v.data += at * in.v.token;
        if (in.keep != nullptr) in.keep += at;
        in.initial = {kv.data(), sum.data()};
        auto to = out.view();
        to.data += at * to.token;
        kernels::linear_attention<T>(threads, s, in, to, {kv.data(), sum.data()});
      }
      const auto wide = [](const std::vector<T>& x) { return std::vector<double>(x.begin(), x.end()); };
      expect_close(out.values(), wide(whole.out), 64, "out");
      expect_close(kv, wide(whole.kv), 64, "S");
    }
  });
}

TEST(LinearAttentionKernel, StrongDecayStaysFinite) {
  for (const double g : {0.0, 1e-30, 1e-3, 1.0}) {
    LinearCase c;
    c.shape = {1, 1, 130, 130, 4, 4, LinearForm::causal};
    c.decay = c.state = true;
    LinearProblem<float> p(c);
    p.decay[0] = static_cast<float>(g);
    const auto got = p.run(1);
    const auto want = p.expected();
    expect_close(got.out, want.out, 64, "out");
    expect_close(got.ddecay, want.ddecay, 256, "ddecay");
    expect_close(got.dkv, want.dkv, 64, "dS");
  }
}

// The past is free of the future, to the bit.
TEST(LinearAttentionKernel, IsCausal) {
  LinearCase c;
  c.shape = {1, 1, 90, 90, 7, 6, LinearForm::causal, Normaliser::score_sum};
  LinearProblem<float> p(c);
  const auto before = p.run(1).out;
  for (Index j = 40; j < 90; ++j) p.k.view().at(0, j, 0)[2] = 5, p.v.view().at(0, j, 0)[1] = -3;
  const auto after = p.run(1).out;
  for (std::size_t i = 0; i < 40 * 6; ++i) ASSERT_EQ(before[i], after[i]) << i;
  EXPECT_NE(before[40 * 6 + 1], after[40 * 6 + 1]);
}

// A feature map given to the kernel is the feature map applied before, to the bit; so are its gradients, up to
// rounding.
template <class T, class F>
void expect_feature(const LinearCase& c) {
  LinearProblem<T> raw(c), applied(c);
  const F f;
  for (auto* x : {&raw.q, &raw.k}) {
    for (T& value : x->data) value -= T(1.25);
  }
  applied.q = raw.q, applied.k = raw.k;
  std::vector<T> slope_q, slope_k;
  for (const T value : raw.q.values()) slope_q.push_back(f.derivative(value));
  for (const T value : raw.k.values()) slope_k.push_back(f.derivative(value));
  for (auto* x : {&applied.q, &applied.k}) {
    for (T& value : x->data) value = f(value);
  }
  raw.feature = kernels::linear_feature<T, F>();
  const LinearResults<T> got = raw.run(1), want = applied.run(1);
  EXPECT_EQ(got.out, want.out);
  EXPECT_EQ(got.kv, want.kv);
  if (c.shape.normaliser == Normaliser::score_sum) {
    EXPECT_EQ(got.sum, want.sum);
  }
  EXPECT_EQ(got.dv, want.dv);
  for (std::size_t i = 0; i < slope_q.size(); ++i) ASSERT_EQ(got.dq[i], want.dq[i] * slope_q[i]) << i;
  for (std::size_t i = 0; i < slope_k.size(); ++i) ASSERT_EQ(got.dk[i], want.dk[i] * slope_k[i]) << i;
}

TYPED_TEST(LinearAttentionKernel, FeatureMaps) {
  for (const Index n : {1, 40}) {
    for_each_linear_case(2, 3, n, n, 19, 6, expect_feature<TypeParam, aulos::simd::EluPlusOne>);
    for_each_linear_case(1, 2, n, n, 16, 16, expect_feature<TypeParam, aulos::simd::Relu>);
  }
}

// Rows close together are read where they lie, heads of one token by turns: neither changes a bit.
TYPED_TEST(LinearAttentionKernel, LayoutsGiveTheSameBits) {
  using T = TypeParam;
  constexpr Index heads = 11, n = 70, d = 16, e = 17;
  const auto q = noise_vector<T>(1, n * heads * d, 1, 1.25), k = noise_vector<T>(2, n * heads * d, 1, 1.25),
             v = noise_vector<T>(3, n * heads * e);
  aulos::ThreadTeam team(1);
  for (const LinearForm form : {LinearForm::full, LinearForm::causal}) {
    const kernels::LinearAttentionShape s{1, heads, n, n, d, e, form, Normaliser::score_sum};
    const auto threads = team.threads(kernels::linear_attention_scratch<T>(s));
    std::vector<T> tokens(v.size()), by_heads(v.size());
    kernels::linear_attention<T>(
        threads, s,
        {kernels::tokens_major(q.data(), n, heads, d), kernels::tokens_major(k.data(), n, heads, d),
         kernels::tokens_major(v.data(), n, heads, e)},
        kernels::tokens_major(tokens.data(), n, heads, e));
    const auto turned = [&](const std::vector<T>& x, Index width) {
      std::vector<T> y(x.size());
      const auto from = kernels::tokens_major(x.data(), n, heads, width);
      const auto to = kernels::heads_major(y.data(), n, heads, width);
      for (Index i = 0; i < n; ++i) {
        for (Index h = 0; h < heads; ++h) std::copy_n(from.at(0, i, h), width, to.at(0, i, h));
      }
      return y;
    };
    const auto hq = turned(q, d), hk = turned(k, d), hv = turned(v, e);
    kernels::linear_attention<T>(
        threads, s,
        {kernels::heads_major(hq.data(), n, heads, d), kernels::heads_major(hk.data(), n, heads, d),
         kernels::heads_major(hv.data(), n, heads, e)},
        kernels::heads_major(by_heads.data(), n, heads, e));
    EXPECT_EQ(turned(tokens, e), by_heads);
  }
}

// Small features: eps decides, and nothing becomes NaN.
TEST(LinearAttentionKernel, AVanishingDivisor) {
  aulos::ThreadTeam team(1);
  for (const LinearForm form : {LinearForm::full, LinearForm::causal}) {
    kernels::LinearAttentionShape s{1, 1, 1, 1, 1, 1, form, Normaliser::score_sum, 1.0, 1e-6};
    const float v = 1;
    float out = 0;
    const auto run = [&](float phi) {
      const kernels::HeadRows<const float> x{&phi, 1, 1, 1}, y{&v, 1, 1, 1};
      kernels::linear_attention<float>(team.threads(kernels::linear_attention_scratch<float>(s)), s, {x, x, y},
                                       {&out, 1, 1, 1});
      return out;
    };
    EXPECT_NEAR(run(std::exp(-20.0f)), 4.248e-12f, 1e-15f);
    EXPECT_EQ(run(0), 0);
    EXPECT_TRUE(std::isnan(run(std::numeric_limits<float>::quiet_NaN())));
  }
}

// Causal is more than a weight of 0: what is no number at a token leaves the rows before it as they were, to the bit.
TYPED_TEST(LinearAttentionKernel, NanOfALaterTokenReachesNoEarlierRow) {
  using T = TypeParam;
  for (int bits = 0; bits < 8; ++bits) {
    LinearCase c;
    c.shape = {1, 2, 70, 70, 5, 19};
    c.shape.form = kernels::LinearForm::causal;
    c.shape.normaliser = (bits & 1) != 0 ? kernels::Normaliser::score_sum : kernels::Normaliser::none;
    c.decay = (bits & 2) != 0;
    c.state = (bits & 4) != 0;
    const LinearProblem<T> clean(c);
    const std::vector<T> want = clean.run(1).out;
    for (const Index token : {0, 1, 37, 63, 64, 69}) {
      for (HeadArray<T> LinearProblem<T>::*of : {&LinearProblem<T>::q, &LinearProblem<T>::k, &LinearProblem<T>::v}) {
        LinearProblem<T> spoilt = clean;
        for (Index x = 0; x < (spoilt.*of).width; ++x)
          (spoilt.*of).view().at(0, token, 1)[x] = std::numeric_limits<T>::quiet_NaN();
        const std::vector<T> got = spoilt.run(1).out;
        const std::size_t row = static_cast<std::size_t>(2 * 19), before = static_cast<std::size_t>(token) * row;
        ASSERT_TRUE(std::equal(want.begin(), want.begin() + static_cast<std::ptrdiff_t>(before), got.begin())) << token;
        EXPECT_EQ(got[before], want[before]);       // the other head
        EXPECT_TRUE(std::isnan(got[before + 19]));  // its own row
      }
    }
  }
}

}  // namespace
