// Blocks that published models have as kinds of their own, and that the stream block is without any.
#include <gtest/gtest.h>

#include "aulos/attention/multi_head_attention.hpp"
#include "stream/block_support.hpp"

namespace {

using namespace block_support;

template <std::size_t Sides, class Rule = Gated>
using Block = StreamBlock<float, Sides, LayerNorm<float>, PerHead<RmsNorm<float>>, Mlp<float>, Rule, Joint<>>;

void expect_close(const Tensor<float, 3>& a, const Tensor<float, 3>& b) {
  ASSERT_EQ(a.shape(), b.shape());
  const auto x = naive::values(a), y = naive::values(b);
  for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], 1e-5f) << i;
}

// A sequential single-stream block (AuraFlow, HiDream) is a joint block with one side: its composition by hand, to the
// bit.
TEST(BlockReductions, SingleStreamIsOneSide) {
  Context context({.threads = 1});
  const auto named = make<Block<1>>({6});
  const Inputs<float, 1> in(context, {6});
  const auto& side = named.block.sides[0];
  const aulos::attention::MultiHeadAttention<float> attention{side.qkv, side.to_out, {}};
  const auto& m = in.m[0];
  Tensor<float, 3> x = aulos::dense(in.x[0]);
  const auto h = side.norm1.modulated(x, m.attention.shift, m.attention.scale);
  x = attention.add_to(h, m.attention.gate, std::move(x));
  const auto h2 = side.norm2.modulated(x, m.mlp.shift, m.mlp.scale);
  x = side.ff.add_to(h2, m.mlp.gate, std::move(x));
  EXPECT_EQ(naive::values(named.block(copies(in.x), in.m)[0]), naive::values(x));
}

// CogVideoX: two streams with the same weights and rows of their own are one stream [text, video] with rows per
// segment.
TEST(BlockReductions, SharedWeightsAreOneStreamWithRowsPerSegment) {
  Context context({.threads = 1});
  const auto one = make<Block<1>>({6});
  Named<Block<2>> two;
  two.block.sides = {one.block.sides[0], one.block.sides[0]};
  const Inputs<float, 2> in(context, {6, 6});
  const auto rows = [&](const Tensor<float, 3>& a, const Tensor<float, 3>& b) {
    return aulos::concat(
        std::array{aulos::dense(a.broadcast(Shape<3>{2, 3, 6})), aulos::dense(b.broadcast(Shape<3>{2, 2, 6}))}, 1);
  };
  StreamModulation<float> m;
  for (auto part : {&StreamModulation<float>::attention, &StreamModulation<float>::mlp}) {
    (m.*part).shift = rows((in.m[0].*part).shift, (in.m[1].*part).shift);
    (m.*part).scale = rows((in.m[0].*part).scale, (in.m[1].*part).scale);
    (m.*part).gate = rows((in.m[0].*part).gate, (in.m[1].*part).gate);
  }
  const auto sides = two.block(copies(in.x), in.m);
  const auto whole = one.block({aulos::concat(std::array{in.x[0], in.x[1]}, 1)}, {m})[0];
  expect_close(aulos::dense(whole.slice(1, 0, 3)), sides[0]);
  expect_close(aulos::dense(whole.slice(1, 3, 5)), sides[1]);
}

// A mask over the keys of one side is that side with fewer tokens (Qwen-Image, HunyuanVideo; Mochi then drops the
// results of masked queries, whose values nobody reads).
TEST(BlockReductions, MaskedTokensAreNotThere) {
  Context context({.threads = 1});
  const auto named = make<Block<2>>({6, 10});
  const Inputs<float, 2> in(context, {6, 10}, false, {3, 4, 0});
  auto keep = context.full<std::uint8_t>(Shape<2>{2, 7}, 1);  // over the joint sequence: 3 and 4 tokens
  for (const Index b : {0, 1}) keep.mutable_data()[b * 7 + 5] = keep.mutable_data()[b * 7 + 6] = 0;
  const auto masked = named.block(copies(in.x), in.m, aulos::attention::Unrotated{}, aulos::KeepKeys{keep});
  const auto shorter = named.block({aulos::dense(in.x[0]), aulos::dense(in.x[1].slice(1, 0, 2))}, in.m);
  expect_close(masked[0], shorter[0]);
  expect_close(aulos::dense(masked[1].slice(1, 0, 2)), shorter[1]);
}

}  // namespace
