#include <gtest/gtest.h>

#include "ops/attention_case.hpp"

namespace {

using namespace aulos_test;
using aulos::AddBias;
using aulos::KeepKeys;
using aulos::kernels::Causal;
using aulos::kernels::Causality;
using aulos::kernels::KeyFlag;
using aulos::kernels::KeyMask;
using aulos::kernels::MaskBoth;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

// q = 0 and v_j given: every score is what the mask or bias makes of 0.
struct Equal {
  Context context;
  Tensor<float, 4> q, k, v;
  Equal(Index nq, const std::vector<float>& value)
      : q(context.zeros<float>(Shape<4>{1, nq, 1, 1})),
        k(context.zeros<float>(Shape<4>{1, static_cast<Index>(value.size()), 1, 1})),
        v(of<float>(context, Shape<4>{1, static_cast<Index>(value.size()), 1, 1}, value)) {}
};

TEST(AttentionMask, KindsAndPolarities) {
  Equal e(1, {1, 2, 4});
  const KeepKeys keep{of<std::uint8_t>(e.context, Shape<2>{1, 3}, {1, 1, 0})};
  expect_values(scaled_dot_product_attention(e.q, e.k, e.v, {}, keep), {1.5}, 1e-6);
  const std::uint8_t drop[] = {0, 0, 1};
  expect_values(scaled_dot_product_attention(e.q, e.k, e.v, {}, KeyMask{drop, 3, KeyFlag::drop}), {1.5}, 1e-6);
  const auto biased = [&](float a, float b, float c) {
    return AddBias<float>(of<float>(e.context, Shape<3>{1, 1, 3}, {a, b, c}));
  };
  const auto with = [&](const AddBias<float>& bias) {
    return scaled_dot_product_attention(e.q, e.k, e.v, {}, aulos::kernels::NoMask{}, bias);
  };
  const float ln3 = std::log(3.0f);
  expect_values(with(biased(0, 0, -infinity)), {1.5}, 1e-6);
  expect_values(with(biased(0, ln3, 0)), {2.2}, 1e-6);
  expect_values(scaled_dot_product_attention(e.q, e.k, e.v, {}, keep, biased(0, ln3, 9)), {1.75}, 1e-6);
  expect_values(with(biased(-1e10f, -1e10f, -1e10f)), {7 / 3.0}, 1e-6);
  expect_values(with(biased(-infinity, -infinity, -infinity)), {0});
}

TEST(AttentionMask, CausalityHasTwoAlignments) {
  Equal wide(2, {0, 1, 2, 3, 4});
  const auto masked = [](Equal& e, Causality causality) {
    return scaled_dot_product_attention(e.q, e.k, e.v, {},
                                        aulos::kernels::causal(causality, e.q.extent(1), e.k.extent(1)));
  };
  expect_values(masked(wide, Causality::top_left), {0, 0.5}, 1e-6);
  expect_values(masked(wide, Causality::bottom_right), {1.5, 2}, 1e-6);
  Equal tall(5, {0, 1});
  expect_values(masked(tall, Causality::bottom_right), {0, 0, 0, 0, 0.5}, 1e-6);
}

TEST(AttentionMask, TheLastQueriesOfACausalSequenceAreABottomRightOne) {
  Context context;
  Case<float> c(context);
  const Arguments<float> a = arguments(c, {2, 7, 7, 2, 1, 5, 4});
  const auto all = scaled_dot_product_attention(a.q, a.k, a.v, {}, aulos::kernels::causal(Causality::top_left, 7, 7));
  const auto last = scaled_dot_product_attention(a.q.slice(1, 4, 7), a.k, a.v, {},
                                                 aulos::kernels::causal(Causality::bottom_right, 3, 7));
  EXPECT_EQ(values(last), values(all.slice(1, 4, 7)));
}

// Rows 2 and 3 see no key, rows 0 and 1 see keys 0 and 1; nk crosses the borders of tiles.
template <class Attend>
void check_empty_rows(Index nk, const Attend& attend) {
  SCOPED_TRACE(nk);
  Context context;
  GradTape tape(context);
  Case<float> c(context);
  const Arguments<float> a = arguments(c, {1, 4, nk, 1, 1, 8, 8});
  const auto y = attend(context, a);
  const NaiveAttention expected =
      naive_attention(a, [](Index, Index, Index i, Index j) { return i < 2 && j < 2 ? 0 : minus_infinity; });
  expect_near(y.out, at(expected.out), 2e-6);
  expect_near(y.lse, at(expected.lse), 2e-6);
  backward<float>(context, {y.out.any()});
  const auto dq = tape.gradient(a.q), dk = tape.gradient(a.k), dv = tape.gradient(a.v);
  for (Index d = 0; d < 8; ++d) {
    for (Index i = 0; i < 4; ++i) {
      if (i >= 2) {
        EXPECT_EQ(dq(0, i, 0, d), 0);
      } else {
        EXPECT_TRUE(std::isfinite(dq(0, i, 0, d)));
      }
    }
    for (Index j = 0; j < nk; ++j) {
      EXPECT_TRUE(j < 2 ? std::isfinite(dk(0, j, 0, d)) : dk(0, j, 0, d) == 0) << j;
      EXPECT_TRUE(j < 2 ? dv(0, j, 0, d) != 0 : dv(0, j, 0, d) == 0) << j;
    }
  }
}

TEST(AttentionMask, RowsThatSeeNoKeyAreZero) {
  for (const Index nk : {4, 63, 64, 65, 128, 129, 257}) {
    check_empty_rows(nk, [nk](Context& context, const Arguments<float>& a) {
      auto bias = context.full<float>(Shape<3>{1, 4, nk}, -infinity);
      for (Index i = 0; i < 2; ++i)
        for (Index j = 0; j < 2; ++j) bias.mutable_data()[i * nk + j] = 0;
      return attention_with_lse(a.q, a.k, a.v, {}, aulos::kernels::NoMask{}, AddBias<float>(bias));
    });
  }
}

TEST(AttentionMask, KeepKeysBySample) {
  for (const Index nk : {5, 70}) {
    Context context;
    Case<float> c(context);
    const Heads h{3, 4, nk, 2, 1, 8, 5};
    const Arguments<float> a = arguments(c, h);
    auto keep = context.zeros<std::uint8_t>(Shape<2>{3, nk + 2}).slice(1, 1, nk + 1);  // sample 2 keeps nothing
    for (Index j = 0; j < nk; ++j) {
      keep.mutable_data()[j] = j % 3 == 0;
      keep.mutable_data()[keep.stride(0) + j] = 1;
    }
    const NaiveAttention expected =
        naive_attention(a, [&](Index b, Index, Index, Index j) { return keep(b, j) != 0 ? 0 : minus_infinity; });
    const auto y = attention_with_lse(a.q, a.k, a.v, {}, KeepKeys{keep});
    expect_near(y.out, at(expected.out), 2e-6);
    expect_near(y.lse, at(expected.lse), 2e-6);
  }
}

TEST(AttentionMask, BiasOfEveryShape) {
  Context context;
  Case<float> c(context);
  const Heads h{2, 5, 19, 4, 2, 7, 6};
  const Arguments<float> a = arguments(c, h);
  const auto shared = c.in<3>(Shape<3>{4, 5, 19}, 31);
  const auto by_sample = c.in<4>(Shape<4>{2, 4, 5, 19}, 32);
  const auto one_head = c.in<3>(Shape<3>{1, 5, 19}, 33).broadcast(Shape<3>{4, 5, 19});
  const auto with = [&](const AddBias<float>& bias) {
    return scaled_dot_product_attention(a.q, a.k, a.v, {}, aulos::kernels::NoMask{}, bias);
  };
  expect_near(with(shared),
              at(naive_attention(a, [&](Index, Index n, Index i, Index j) { return shared(n, i, j); }).out), 2e-6);
  expect_near(with(by_sample),
              at(naive_attention(a, [&](Index b, Index n, Index i, Index j) { return by_sample(b, n, i, j); }).out),
              2e-6);
  expect_near(with(one_head),
              at(naive_attention(a, [&](Index, Index n, Index i, Index j) { return one_head(n, i, j); }).out), 2e-6);
}

TEST(AttentionMask, BiasOnLayoutsAndThreads) {
  const auto body = [](const Heads& h) {
    return [=](Case<float>& c) {
      const Arguments<float> a = arguments(c, h);
      const auto bias = c.in<3>(Shape<3>{h.heads, h.nq, h.nk}, 9);
      return results(scaled_dot_product_attention(a.q, a.k, a.v, {}, aulos::kernels::NoMask{}, AddBias<float>(bias)));
    };
  };
  expect_layouts_agree<float>(body({3, 5, 19, 3, 1, 7, 6}));
  expect_threads_agree<float>(body({2, 65, 70, 4, 2, 40, 40}));
}

TEST(AttentionMask, SaysWhatIsWrong) {
  const auto x = [](Context& c) { return c.zeros<float>(Shape<4>{2, 3, 4, 8}); };
  const auto keep = [](Context& c, const Shape<2>& shape) { return KeepKeys{c.zeros<std::uint8_t>(shape)}; };
  const std::string op = "scaled_dot_product_attention: ";
  const auto with_bias = [=](const AddBias<float>& bias, Context& c) {
    scaled_dot_product_attention(x(c), x(c), x(c), {}, aulos::kernels::NoMask{}, bias);
  };
  expect_errors({
      {"keys",
       [&](Context& c) {
         scaled_dot_product_attention(x(c), x(c), x(c), {}, keep(c, {2, 4}));
       },
       {op, "key mask [2, 4]", "expected [2, 3]"}},
      {"samples",
       [&](Context& c) {
         scaled_dot_product_attention(x(c), x(c), x(c), {}, keep(c, {1, 3}));
       },
       {op, "key mask [1, 3]"}},
      {"absent",
       [&](Context& c) { scaled_dot_product_attention(x(c), x(c), x(c), {}, KeepKeys{}); },
       {op, "key mask is absent", "[2, 3]"}},
      {"inside another",
       [&](Context& c) {
         scaled_dot_product_attention(x(c), x(c), x(c), {}, MaskBoth{Causal{0}, keep(c, {2, 4})});
       },
       {op, "key mask [2, 4]"}},
      {"bias",
       [&](Context& c) {
         with_bias(c.zeros<float>(Shape<3>{4, 3, 4}), c);
       },
       {op, "bias [4, 3, 4]", "expected [4, 3, 3]"}},
      {"bias by sample",
       [&](Context& c) {
         with_bias(c.zeros<float>(Shape<4>{1, 4, 3, 3}), c);
       },
       {op, "bias [1, 4, 3, 3]", "expected [2, 4, 3, 3]"}},
      {"no bias", [&](Context& c) { with_bias(Tensor<float, 3>(), c); }, {op, "bias is empty"}},
  });
}

}  // namespace
