// Any mixer in any block: the three of attention/ in the encoder block, in a stream block of two streams and in the
// dual-path block, against the same block written out, and by gradcheck of inputs and all parameters.
#include <gtest/gtest.h>

#include <numbers>

#include "attention/naive_mixers.hpp"
#include "aulos/attention/softmax.hpp"
#include "aulos/path/dual_path_block.hpp"
#include "aulos/stream/encoder_block.hpp"
#include "aulos/stream/stream_block.hpp"

namespace {

using namespace aulos::stream;
using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;
using aulos::attention::Differential;
using aulos::attention::Linear;
using aulos::attention::Softmax;
using naive::Tokens;

constexpr Index heads = 4, width = 2, channels = heads * width, hidden = 5;

// A mixer for these heads, and what it computes from q, k, v.
struct OfSoftmax {
  using Mixer = Softmax;
  static Mixer make() { return {}; }
  static Tokens naive(const Mixer&, const Tokens& q, const Tokens& k, const Tokens& v) {
    return naive::attention(q, k, v, heads, heads);
  }
};
struct OfLinear {
  using Mixer = Linear;
  static Mixer make() { return {}; }
  static Tokens naive(const Mixer& mixer, const Tokens& q, const Tokens& k, const Tokens& v) {
    return naive::linear_mixer(q, k, v, heads, mixer);
  }
};
struct OfDifferential {
  using Mixer = Differential<double>;
  static Mixer make() { return {width, 1}; }
  static Tokens naive(const Mixer& mixer, const Tokens& q, const Tokens& k, const Tokens& v) {
    return naive::differential_mixer(q, k, v, heads, heads, mixer);
  }
};

template <class Of>
class MixersInBlocks : public ::testing::Test {};
using Mixers = ::testing::Types<OfSoftmax, OfLinear, OfDifferential>;
TYPED_TEST_SUITE(MixersInBlocks, Mixers);

template <class Of>
using Encoder = EncoderBlock<double, aulos::nn::Mlp<double, aulos::Activation::gelu>, Gated, Joint<typename Of::Mixer>>;

template <class Of>
Encoder<Of> encoder(std::uint64_t seed) {
  Encoder<Of> block({.channels = channels, .heads = heads, .hidden = hidden}, {Of::make()});
  naive::randomise(block, seed);
  return block;
}

Tokens gelu(const Tokens& x) {
  return x.map([](double v) { return 0.5 * v * (1 + std::erf(v / std::numbers::sqrt2)); });
}

// One stream block of any sides with LayerNorm, FusedQkv, GELU and without modulation.
template <class Of, class Block>
std::vector<Tokens> written_out(const Block& block, std::vector<Tokens> x) {
  Tokens q, k, v;
  for (std::size_t s = 0; s < x.size(); ++s) {
    const auto& side = block.sides[s];
    const Tokens rows = naive::linear(naive::norm(x[s], side.norm1, x[s].channels), side.qkv.qkv);
    q = naive::joined(q, naive::channels(rows, 0, channels));
    k = naive::joined(k, naive::channels(rows, channels, channels));
    v = naive::joined(v, naive::channels(rows, 2 * channels, channels));
  }
  const Tokens mixed = Of::naive(block.coupling.mixer, q, k, v);
  Index first = 0;
  for (std::size_t s = 0; s < x.size(); ++s) {
    const auto& side = block.sides[s];
    const Tokens own = naive::part(mixed, first, first + x[s].count);
    first += x[s].count;
    x[s] = naive::gated(x[s], {}, naive::linear(own, side.to_out));
    const Tokens h = gelu(naive::linear(naive::norm(x[s], side.norm2, x[s].channels), side.ff.fc1));
    x[s] = naive::gated(x[s], {}, naive::linear(h, side.ff.fc2));
  }
  return x;
}

TYPED_TEST(MixersInBlocks, Encoder) {
  Context context({.threads = 1});
  auto block = encoder<TypeParam>(1);
  const auto x = naive::random<double, 3>(context, Shape<3>{2, 3, channels}, 2);
  naive::expect_near(block(dense(x)), written_out<TypeParam>(block.block, {Tokens(x)})[0], 1e-12);
  const auto result = gradcheck(
      context, [&](const auto& t) { return block(t); }, std::tuple(x), naive::parameters_of(block));
  EXPECT_TRUE(result) << to_string(result);
}

template <class Of>
struct TwoStreams {
  StreamBlock<double, 2, aulos::nn::LayerNorm<double>, aulos::nn::NoQkNorm<double>,
              aulos::nn::Mlp<double, aulos::Activation::gelu>, Gated, Joint<typename Of::Mixer>,
              aulos::attention::FusedQkv<double, aulos::nn::NoQkNorm<double>>>
      block;

  TwoStreams() {
    block.coupling.mixer = Of::make();
    for (auto& side : block.sides) {
      side.norm1 = side.norm2 = aulos::nn::LayerNorm<double>(channels, 1e-5);
      side.qkv = {channels, {heads, width}};
      side.to_out = aulos::nn::Linear<double>(channels, channels);
      side.ff = {channels, hidden};
    }
    naive::randomise(*this, 1);
  }
  void visit(auto&& v) {
    for (auto& side : block.sides) {
      v("norm1", side.norm1);
      v("norm2", side.norm2);
      v("qkv", side.qkv);
      v("to_out", side.to_out);
      v("ff", side.ff);
    }
    v("coupling", block.coupling);
  }
};

TYPED_TEST(MixersInBlocks, Streams) {
  Context context({.threads = 1});
  TwoStreams<TypeParam> streams;
  const auto x = naive::random<double, 3>(context, Shape<3>{2, 3, channels}, 2);
  const auto y = naive::random<double, 3>(context, Shape<3>{2, 2, channels}, 3);
  const auto f = [&](const Tensor<double, 3>& a, const Tensor<double, 3>& b) { return streams.block({a, b}, {}); };
  const auto want = written_out<TypeParam>(streams.block, {Tokens(x), Tokens(y)});
  const auto got = f(dense(x), dense(y));
  for (std::size_t s = 0; s < 2; ++s) naive::expect_near(got[s], want[s], 1e-12);
  const auto result = gradcheck(context, f, std::tuple(x, y), naive::parameters_of(streams));
  EXPECT_TRUE(result) << to_string(result);
}

TYPED_TEST(MixersInBlocks, DualPath) {
  Context context({.threads = 1});
  aulos::path::DualPathBlock<double, Encoder<TypeParam>> block{encoder<TypeParam>(1), encoder<TypeParam>(30), {}, {}};
  constexpr Index m = 2, n = 3;
  const auto x = naive::random<double, 4>(context, Shape<4>{1, m, n, channels}, 2);
  const Tokens rows(x.reshape(Shape<3>{m, n, channels}));
  const Tokens u = naive::gated(rows, {}, written_out<TypeParam>(block.inner.block, {rows})[0]);
  Tokens columns(n, m, channels);
  const auto exchange = [](const Tokens& from, Tokens& to) {
    for (Index b = 0; b < from.batch; ++b)
      for (Index i = 0; i < from.count; ++i)
        for (Index c = 0; c < channels; ++c) to.at(i, b, c) = from.at(b, i, c);
  };
  exchange(u, columns);
  columns = naive::gated(columns, {}, written_out<TypeParam>(block.outer.block, {columns})[0]);
  Tokens want = rows;
  exchange(columns, want);
  naive::expect_near(dense(block(x)).reshape(Shape<3>{m, n, channels}), want, 1e-12);
  const auto result = gradcheck(
      context, [&](const auto& t) { return block(t); }, std::tuple(x), naive::parameters_of(block));
  EXPECT_TRUE(result) << to_string(result);
}

}  // namespace
