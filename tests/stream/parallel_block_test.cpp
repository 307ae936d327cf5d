// The parallel block against its formula, written with the sequential parts, and its gradients.
#include "aulos/stream/parallel_block.hpp"

#include <gtest/gtest.h>

#include "aulos/attention/multi_head_attention.hpp"
#include "aulos/autograd/gradcheck.hpp"
#include "stream/block_support.hpp"

namespace {

using namespace block_support;
using aulos::AnyTensor;
using aulos::conditioning::Modulation;

constexpr Index channels = 6, hidden = 5;

template <class T>
struct NamedParallel {
  aulos::stream::ParallelBlock<T> block;

  explicit NamedParallel(std::uint64_t seed = 5) {
    block.norm = LayerNorm<T>(channels, 1e-5, Affine::yes);
    PerHead<RmsNorm<T>> qk_norm;
    qk_norm.norm = RmsNorm<T>(width, 1e-6);
    block.qkv = {channels, channels, {heads, width}, Bias::yes, qk_norm};
    block.hidden.proj = aulos::nn::Linear<T>(channels, hidden);
    block.to_out = aulos::nn::Linear<T>(inner + hidden, channels);
    naive::randomise(*this, seed);
  }
  void visit(auto&& v) {
    v("norm", block.norm);
    v("qkv", block.qkv);
    v("hidden", block.hidden);
    v("to_out", block.to_out);
  }
};

template <class T>
struct ParallelInputs {
  Tensor<T, 3> x;
  Modulation<T> m;

  explicit ParallelInputs(Context& context)
      : x(naive::random<T, 3>(context, Shape<3>{2, 4, channels}, 11)),
        m{naive::random<T, 3>(context, Shape<3>{2, 1, channels}, 12),
          naive::random<T, 3>(context, Shape<3>{2, 1, channels}, 13),
          naive::random<T, 3>(context, Shape<3>{2, 1, channels}, 14)} {}
};

// x + gate (W_a attention(h) + W_f hidden(h) + b) with the weight's columns taken apart.
TEST(ParallelBlock, IsTheSumOfItsTwoHalves) {
  Context context({.threads = 1});
  const NamedParallel<double> named;
  const ParallelInputs<double> in(context);
  const auto& block = named.block;
  const auto y = block(aulos::dense(in.x), in.m);

  const auto h = block.norm.modulated(in.x, in.m.shift, in.m.scale);
  const std::array<aulos::QueryKeyValue<double>, 1> side{block.qkv(h)};
  const auto a = aulos::attention::merge_heads(aulos::attention::Softmax{}(side)[0]);
  const auto f = block.hidden(h);
  for (Index b = 0; b < 2; ++b)
    for (Index n = 0; n < 4; ++n)
      for (Index c = 0; c < channels; ++c) {
        double sum = block.to_out.bias.data()[c];
        const double* row = block.to_out.weight.rows().data() + c * (inner + hidden);
        for (Index i = 0; i < inner; ++i) sum += row[i] * a(b, n, i);
        for (Index i = 0; i < hidden; ++i) sum += row[inner + i] * f(b, n, i);
        EXPECT_NEAR(y(b, n, c), in.x(b, n, c) + in.m.gate(b, 0, c) * sum, 1e-12);
      }
}

TEST(ParallelBlock, AGateOfZeroIsTheIdentity) {
  Context context({.threads = 1});
  const NamedParallel<float> named;
  ParallelInputs<float> in(context);
  in.m.gate = context.zeros<float>(Shape<3>{2, 1, channels});
  const auto y = named.block(aulos::dense(in.x), in.m);
  for (Index i = 0; i < y.count(); ++i) EXPECT_EQ(y.data()[i], in.x.data()[i]);
}

TEST(ParallelBlock, Gradients) {
  Context context({.threads = 1});
  NamedParallel<double> named;
  ParallelInputs<double> in(context);
  const auto table = rope_table(naive::random<double, 4>(context, Shape<4>{1, 4, 1, width / 2}, 15));
  const auto f = [&](auto x, auto shift, auto scale, auto gate) {
    const aulos::attention::Rotated<double, 1> rotation{{table}, aulos::RopePairs::interleaved};
    return named.block(std::move(x), {shift, scale, gate}, rotation);
  };
  const auto parameters = naive::parameters_of(named);
  const auto result = gradcheck(context, f, std::tuple(in.x, in.m.shift, in.m.scale, in.m.gate), parameters);
  EXPECT_TRUE(result) << to_string(result);
}

}  // namespace
