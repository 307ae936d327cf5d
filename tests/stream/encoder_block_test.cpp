// compile: -O0
#include "aulos/stream/encoder_block.hpp"

#include <gtest/gtest.h>

#include <numbers>
#include <string>

#include "aulos/kernels/attention_mask.hpp"
#include "support/naive_tokens.hpp"

namespace {

using namespace aulos::stream;
using aulos::AnyTensor;
using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;
using aulos::conditioning::StreamModulation;
using aulos::nn::Affine;
using naive::Tokens;

constexpr Index channels = 6, heads = 2, hidden = 9;
constexpr EncoderShape small{.channels = channels, .heads = heads, .hidden = hidden};

template <class T>
using Plain = EncoderBlock<T>;
template <class T>
using Scaled = EncoderBlock<T, aulos::nn::Mlp<T, aulos::Activation::gelu>, LayerScale<T>>;

static_assert(aulos::nn::Module<Plain<float>> && aulos::nn::Module<Scaled<double>>);

Tokens columns(const Tokens& x, Index begin, Index end) {
  Tokens y(x.batch, x.count, end - begin);
  for (Index b = 0; b < y.batch; ++b)
    for (Index n = 0; n < y.count; ++n)
      for (Index c = 0; c < y.channels; ++c) y.at(b, n, c) = x.at(b, n, begin + c);
  return y;
}

// A vector for all samples, or nothing.
template <class T>
Tokens gamma_of(const LayerScale<T>& rule, Index batch) {
  if (rule.gamma.empty()) return {};
  Tokens y(batch, 1, channels);
  for (Index b = 0; b < batch; ++b)
    for (Index c = 0; c < channels; ++c) y.at(b, 0, c) = static_cast<double>(rule.gamma.data()[c]);
  return y;
}
Tokens gamma_of(const Gated&, Index) { return {}; }

// gate gamma, where they are.
Tokens product(Tokens gate, const Tokens& gamma) {
  if (gate.empty() || gamma.empty()) return gate.empty() ? gamma : gate;
  for (Index b = 0; b < gate.batch; ++b)
    for (Index n = 0; n < gate.count; ++n)
      for (Index c = 0; c < channels; ++c) gate.at(b, n, c) *= gamma.shared(b, n, c);
  return gate;
}

template <class Block>
Tokens written_out(const Block& block, Tokens x, const StreamModulation<float>& m = {},
                   const std::function<bool(Index, Index, Index)>& keep = {}) {
  const auto& side = block.block.sides[0];
  Tokens h =
      naive::modulate(naive::norm(x, side.norm1, channels), Tokens(m.attention.shift), Tokens(m.attention.scale));
  const Tokens qkv = naive::linear(h, side.qkv.qkv);
  h = naive::attention(columns(qkv, 0, channels), columns(qkv, channels, 2 * channels),
                       columns(qkv, 2 * channels, 3 * channels), heads, heads, keep);
  x = naive::gated(x, product(Tokens(m.attention.gate), gamma_of(side.after_attention, x.batch)),
                   naive::linear(h, side.to_out));
  h = naive::modulate(naive::norm(x, side.norm2, channels), Tokens(m.mlp.shift), Tokens(m.mlp.scale));
  h = naive::linear(h, side.ff.fc1).map([](double v) { return v * 0.5 * std::erfc(-v / std::numbers::sqrt2); });
  return naive::gated(x, product(Tokens(m.mlp.gate), gamma_of(side.after_mlp, x.batch)), naive::linear(h, side.ff.fc2));
}

template <class Block>
Block random_block(const EncoderShape& shape, bool scaled = false) {
  Block block(shape);
  if constexpr (std::is_same_v<Block, Scaled<typename Block::value_type>>)
    if (scaled)
      block.block.sides[0].after_attention = block.block.sides[0].after_mlp =
          LayerScale<typename Block::value_type>(channels);
  naive::randomise(block, 3);
  return block;
}

template <class T>
StreamModulation<T> rows(Context& context, Index batch, Index tokens) {
  StreamModulation<T> m;
  std::uint64_t seed = 20;
  for (auto* of : {&m.attention, &m.mlp})
    for (Tensor<T, 3>* row : {&of->shift, &of->scale, &of->gate})
      *row = naive::random<T, 3>(context, Shape<3>{batch, tokens, channels}, ++seed);
  return m;
}

TEST(EncoderBlock, IsThePreNormBlock) {
  Context context({.threads = 1});
  for (const Index batch : {0, 1, 2}) {
    const auto x = naive::random<float, 3>(context, Shape<3>{batch, 5, channels}, 1);
    const auto plain = random_block<Plain<float>>(small);
    naive::expect_near(plain(x), written_out(plain, Tokens(x)), 2e-6);
    for (const bool scaled : {false, true}) {
      const auto block = random_block<Scaled<float>>(small, scaled);
      naive::expect_near(block(x), written_out(block, Tokens(x)), 2e-6);
    }
  }
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 1, channels}, 1);
  EncoderShape bare = small;
  bare.affine = Affine::no;
  bare.qkv_bias = aulos::nn::Bias::no;
  bare.eps = 0.1;
  const auto block = random_block<Plain<float>>(bare);
  EXPECT_TRUE(block.block.sides[0].norm1.weight.empty());
  EXPECT_TRUE(block.block.sides[0].qkv.qkv.bias.empty());
  naive::expect_near(block(x), written_out(block, Tokens(x)), 2e-6);
}

TEST(EncoderBlock, TakesModulationsAndRules) {
  Context context({.threads = 1});
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 5, channels}, 1);
  for (const Index tokens : {1, 5}) {
    const auto m = rows<float>(context, 2, tokens);
    const auto plain = random_block<Plain<float>>(small);
    naive::expect_near(plain(x, m), written_out(plain, Tokens(x), m), 4e-6);
    const auto block = random_block<Scaled<float>>(small, true);
    naive::expect_near(block(x, m), written_out(block, Tokens(x), m), 4e-6);
  }
  const auto block = random_block<Scaled<float>>(small, true);
  const auto causal = aulos::kernels::causal(aulos::kernels::Causality::top_left, 5, 5);
  naive::expect_near(block(x, {}, aulos::attention::Unrotated(), causal),
                     written_out(block, Tokens(x), {}, [](Index, Index i, Index j) { return j <= i; }), 2e-6);
}

TEST(EncoderBlock, ItsHalvesMakeTheWhole) {
  Context context({.threads = 1});
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 5, channels}, 1);
  const auto block = random_block<Scaled<float>>(small, true);
  const auto m = rows<float>(context, 2, 1);
  EXPECT_EQ(naive::values(block.feed_forward(block.attend(x, m), m)), naive::values(block(x, m)));
}

TEST(EncoderBlock, HasTheNamesOfTimm) {
  std::vector<std::string> names;
  Scaled<float> block = random_block<Scaled<float>>(small, true);
  aulos::nn::for_each_parameter(block, [&](const auto& p) { names.push_back(p.name); });
  EXPECT_EQ(names, (std::vector<std::string>{"norm1.weight", "norm1.bias", "attn.qkv.weight", "attn.qkv.bias",
                                             "attn.proj.weight", "attn.proj.bias", "ls1.gamma", "norm2.weight",
                                             "norm2.bias", "mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight",
                                             "mlp.fc2.bias", "ls2.gamma"}));
}

TEST(EncoderBlock, GradientsAgreeWithDifferences) {
  Context context({.threads = 1});
  for (const Index batch : {1, 2}) {
    for (const bool modulated : {false, true}) {
      auto block = random_block<Scaled<double>>(small, true);
      std::vector<AnyTensor<double>> inputs{naive::random<double, 3>(context, Shape<3>{batch, 3, channels}, 1).any()};
      const auto m = rows<double>(context, batch, 1);
      if (modulated)
        for (const auto* of : {&m.attention, &m.mlp})
          for (const auto* row : {&of->shift, &of->scale, &of->gate}) inputs.push_back(row->any());
      const auto f = [&](std::span<const AnyTensor<double>> given, std::vector<AnyTensor<double>>& results) {
        StreamModulation<double> n;
        std::size_t at = 1;
        if (modulated)
          for (auto* of : {&n.attention, &n.mlp})
            for (auto* row : {&of->shift, &of->scale, &of->gate}) *row = Tensor<double, 3>(given[at++]);
        results.push_back(block(Tensor<double, 3>(given[0]), n).any());
      };
      const auto result = gradcheck_list(context, f, inputs, naive::parameters_of(block));
      EXPECT_TRUE(result) << to_string(result);
    }
  }
}

}  // namespace
