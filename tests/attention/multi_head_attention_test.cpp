#include "aulos/attention/multi_head_attention.hpp"

#include <gtest/gtest.h>

#include "attention/attention_support.hpp"
#include "aulos/attention/differential.hpp"

namespace {

using namespace attention_support;

static_assert(aulos::nn::Module<MultiHeadAttention<float>>);

template <class M>
std::vector<std::string> names_of(const M& module) {
  std::vector<std::string> names;
  aulos::nn::for_each_parameter(module, [&](const auto& p) { names.push_back(p.name); });
  return names;
}

// The parameters of a mixer stand behind those of the projections; a mixer without parameters adds no name.
TEST(MultiHeadAttention, NamesItsMixersParameters) {
  using Plain = SeparateQkv<float, NoQkNorm<float>>;
  const Plain projection(8, 8, {4, 2}, aulos::nn::Bias::no);
  const Linear<float> to_out(8, 8, aulos::nn::Bias::no);
  std::vector<std::string> names{"to_q.weight", "to_k.weight", "to_v.weight", "to_out.weight"};
  EXPECT_EQ(names_of(MultiHeadAttention<float, Plain>{projection, to_out, {}}), names);
  for (const char* name : {"lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2", "subln.weight"}) names.push_back(name);
  const MultiHeadAttention<float, Plain, Differential<float>> differential{projection, to_out, {2, 0}};
  EXPECT_EQ(names_of(differential), names);
}

TEST(MultiHeadAttention, SelfAndCross) {
  Context context({.threads = 1});
  for (const Index groups : {1, 2, 4}) {
    const auto m = make<float>(12, 10, {.heads = 4, .width = 6, .groups = groups});
    const auto x = naive::random<float, 3>(context, Shape<3>{2, 5, 12}, 2);
    const auto y = naive::random<float, 3>(context, Shape<3>{2, 7, 10}, 3);
    naive::expect_near(m.cross(x, y), written_out(m, naive::Tokens(x), naive::Tokens(y)), 2e-6);
    const auto self = make<float>(12, 12, {.heads = 4, .width = 6, .groups = groups});
    naive::expect_near(self(x), written_out(self, naive::Tokens(x), naive::Tokens(x)), 2e-6);
    EXPECT_EQ(naive::values(self(x)), naive::values(self.cross(x, x)));
  }
}

// Groups are heads that share keys: repeating the rows of keys and values gives the same.
TEST(MultiHeadAttention, GroupsAreRepeatedHeads) {
  Context context({.threads = 1});
  const auto grouped = make<float>(12, 12, {.heads = 4, .width = 6, .groups = 2});
  auto full = make<float>(12, 12, {.heads = 4, .width = 6});
  full.projection.to_q = grouped.projection.to_q;
  full.to_out = grouped.to_out;
  const auto repeat = [](const Linear<float>& from, Linear<float>& to) {
    for (Index h = 0; h < 4; ++h)
      for (Index r = 0; r < 6; ++r) {
        const Index row = h / 2 * 6 + r;
        std::copy_n(from.weight.rows().data() + row * 12, 12, to.weight.rows().data() + (h * 6 + r) * 12);
        to.bias.data()[h * 6 + r] = from.bias.data()[row];
      }
  };
  repeat(grouped.projection.to_k, full.projection.to_k);
  repeat(grouped.projection.to_v, full.projection.to_v);
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 9, 12}, 2);
  const auto a = naive::values(grouped(x)), b = naive::values(full(x));
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-6f);
}

TEST(MultiHeadAttention, AddToIsTheGatedResidual) {
  Context context({.threads = 1});
  const auto m = make<float>(12, 12, {.heads = 2, .width = 6});
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 6, 12}, 2);
  const auto gate = naive::random<float, 3>(context, Shape<3>{2, 1, 12}, 3);
  for (const bool gated : {true, false}) {
    Tensor<float, 3> residual = naive::random<float, 3>(context, Shape<3>{2, 6, 12}, 4);
    const naive::Tokens before(residual), f(m(x));
    const auto y = m.add_to(x, gated ? gate : Tensor<float, 3>(), std::move(residual));
    naive::expect_near(y, naive::gated(before, gated ? naive::Tokens(gate) : naive::Tokens(), f), 2e-6);
  }
}

TEST(MultiHeadAttention, AddCrossToIsTheGatedResidual) {
  Context context({.threads = 1});
  const auto m = make<float>(12, 10, {.heads = 2, .width = 6});
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 6, 12}, 2);
  const auto other = naive::random<float, 3>(context, Shape<3>{2, 3, 10}, 3);
  Tensor<float, 3> residual = naive::random<float, 3>(context, Shape<3>{2, 6, 12}, 4);
  const naive::Tokens before(residual), f(m.cross(x, other));
  naive::expect_near(m.add_cross_to(x, other, {}, std::move(residual)), naive::gated(before, {}, f), 2e-6);
}

TEST(MultiHeadAttention, ParametersAndNames) {
  auto m =
      make<float, PerHead<RmsNorm<float>>>(12, 10, {.heads = 4, .width = 6, .groups = 2}, {RmsNorm<float>(6, 1e-6)});
  EXPECT_EQ(aulos::nn::parameter_count(m), 24 * 12 + 24 + 2 * (12 * 10 + 12) + 2 * 6 + 12 * 24 + 12);
  std::string names;
  aulos::nn::for_each_parameter(m, [&](const auto& p) { names += p.name + " "; });
  EXPECT_EQ(names,
            "to_q.weight to_q.bias to_k.weight to_k.bias to_v.weight to_v.bias norm_q.weight norm_k.weight "
            "to_out.weight to_out.bias ");
}

TEST(MultiHeadAttention, EmptySequences) {
  Context context({.threads = 1});
  const auto m = make<float>(12, 12, {.heads = 2, .width = 6});
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, 12}, 2);
  const auto none = context.empty<float, 3>(Shape<3>{2, 0, 12});
  const auto y = m.cross(x, none);  // no key at all: the bias of to_out
  for (Index c = 0; c < 12; ++c) EXPECT_EQ(y(1, 2, c), m.to_out.bias.data()[c]);
  EXPECT_EQ(m.cross(none, x).shape(), (Shape<3>{2, 0, 12}));
  EXPECT_EQ(m(context.empty<float, 3>(Shape<3>{0, 3, 12})).count(), 0);
}

TEST(MultiHeadAttentionErrors, ChannelsThatDoNotFit) {
  Context context({.threads = 1});
  const auto m = make<float>(12, 10, {.heads = 2, .width = 6});
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, 12}, 2);
  EXPECT_THROW(m(x), aulos::ShapeError);
}

}  // namespace
