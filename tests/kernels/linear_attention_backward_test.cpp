#include "aulos/kernels/linear_attention_backward.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "linear_attention_problem.hpp"

namespace {

using namespace aulos_test;
using kernels::Normaliser;

template <class T>
class LinearAttentionBackwardKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(LinearAttentionBackwardKernel, Types);

template <class T>
void expect_gradients(const LinearCase& c) {
  const LinearProblem<T> p(c);
  const LinearResults<T> got = p.run(1);
  const LinearResults<double> want = p.expected();
  expect_close(got.dq, want.dq, 256, "dq");
  expect_close(got.dk, want.dk, 256, "dk");
  expect_close(got.dv, want.dv, 256, "dv");
  expect_close(got.dkv, want.dkv, 256, "dS");
  if (c.shape.normaliser == Normaliser::score_sum) expect_close(got.dsum, want.dsum, 256, "dz");
  expect_close(got.ddecay, want.ddecay, 512, "ddecay");
}

TYPED_TEST(LinearAttentionBackwardKernel, AgreesWithTheNaiveTwin) {
  for (const Index n : {0, 1, 2, 63, 64, 65, 130})
    for_each_linear_case(1, 2, n / 2 + 1, n, 5, 3, expect_gradients<TypeParam>);
  for (const Index n : {256, 257}) for_each_linear_case(1, 1, n, n, 3, 2, expect_gradients<TypeParam>);
  for (Index width = 1; width <= 35; width += width < 20 ? 1 : 7) {
    for_each_linear_case(2, 1, 4, 9, width, 36 - width, expect_gradients<TypeParam>);
  }
  for_each_linear_case(1, 1, 70, 70, 64, 64, expect_gradients<TypeParam>);
}

// What nobody wants is not computed, and changes nothing in the rest.
TYPED_TEST(LinearAttentionBackwardKernel, GradientsAlone) {
  using T = TypeParam;
  for_each_linear_case(1, 2, 70, 70, 5, 4, [](const LinearCase& c) {
    const LinearProblem<T> p(c);
    const LinearResults<T> all = p.run(1);
    aulos::ThreadTeam team(1);
    HeadArray<T> out(1, 70, 2, 4, 20);
    kernels::linear_attention<T>(team.threads(kernels::linear_attention_scratch<T>(p.s())), p.s(), p.operands(),
                                 out.view());
    for (int only = 0; only < 5; ++only) {
      LinearResults<T> r;
      kernels::LinearAttentionGradients<T> g;
      HeadArray<T> dq = p.q, dk = p.k, dv = p.v;
      p.gradients(r, g, dq, dk, dv);
      g.out = std::as_const(out).view();
      if (only != 0) g.dq = {};
      if (only != 1) g.dk = {};
      if (only != 2) g.dv = {};
      if (only != 3) g.dinitial = {};
      if (only != 4) g.ddecay = nullptr;
      kernels::linear_attention_backward<T>(team.threads(kernels::linear_attention_backward_scratch<T>(p.s())), p.s(),
                                            p.operands(), g);
      if (only == 0) {
        EXPECT_EQ(dq.values(), all.dq);
      }
      if (only == 1) {
        EXPECT_EQ(dk.values(), all.dk);
      }
      if (only == 2) {
        EXPECT_EQ(dv.values(), all.dv);
      }
      if (only == 3) {
        EXPECT_EQ(r.dkv, all.dkv);
      }
      if (only == 4) {
        EXPECT_EQ(r.ddecay, all.ddecay);
      }
    }
  });
}

// dq reads no later token, dk and dv no earlier one: what is no number there leaves them as they were, to the bit.
TYPED_TEST(LinearAttentionBackwardKernel, NanStaysOnItsSideOfTheDiagonal) {
  using T = TypeParam;
  for (const bool decay : {false, true}) {
    LinearCase c;
    c.shape = {1, 1, 70, 70, 5, 19};
    c.shape.form = kernels::LinearForm::causal;
    c.decay = decay;
    const LinearProblem<T> clean(c);
    const LinearResults<T> want = clean.run(1);
    const auto spoil = [](HeadArray<T>& x, Index token) {
      for (Index i = 0; i < x.width; ++i) x.view().at(0, token, 0)[i] = std::numeric_limits<T>::quiet_NaN();
    };
    for (const Index token : {1, 37, 63, 64}) {
      LinearProblem<T> later = clean;
      spoil(later.k, token);
      spoil(later.v, token);
      const std::vector<T> dq = later.run(1).dq;
      EXPECT_TRUE(std::equal(dq.begin(), dq.begin() + token * 5, want.dq.begin())) << token;
      EXPECT_TRUE(std::isnan(dq[static_cast<std::size_t>(token * 5)])) << token;
      LinearProblem<T> earlier = clean;
      spoil(earlier.q, token);
      spoil(earlier.dout, token);
      const LinearResults<T> got = earlier.run(1);
      EXPECT_TRUE(std::equal(got.dk.begin() + (token + 1) * 5, got.dk.end(), want.dk.begin() + (token + 1) * 5));
      EXPECT_TRUE(std::equal(got.dv.begin() + (token + 1) * 19, got.dv.end(), want.dv.begin() + (token + 1) * 19));
      EXPECT_TRUE(std::isnan(got.dk[static_cast<std::size_t>(token * 5)])) << token;
    }
  }
}

}  // namespace
