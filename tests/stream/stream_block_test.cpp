#include "aulos/stream/stream_block.hpp"

#include <gtest/gtest.h>

#include "stream/block_support.hpp"

namespace {

using namespace block_support;

template <std::size_t Sides, class Rule = Gated, class Coupling = Joint<>>
using Block = StreamBlock<float, Sides, LayerNorm<float>, PerHead<RmsNorm<float>>, Mlp<float>, Rule, Coupling>;

template <class A, class B>
void expect_equal(const A& a, const B& b) {  // to the bit
  EXPECT_EQ(a.shape(), b.shape());
  EXPECT_EQ(naive::values(a), naive::values(b));
}

// Three streams of three widths, one of them read only: 3MDiT.
TEST(StreamBlocks, ThreeSides) {
  Context context({.threads = 1});
  const std::array<Index, 3> channels{6, 10, 7};
  for (const Parts text : {Parts::all, Parts::keys_only}) {
    const auto named = make<Block<3>>(channels, {Parts::all, Parts::all, text});
    const Inputs<float, 3> in(context, channels);
    const auto y = named.block(copies(in.x), in.m);
    const auto want = written_out(named.block, in);
    for (std::size_t s = 0; s < 3; ++s) naive::expect_near(y[s], want[s], 1e-5);
    EXPECT_EQ(named.block.sides[2].updated(), text == Parts::all);
    if (text == Parts::keys_only) expect_equal(y[2], in.x[2]);  // comes out as it went in
  }
}

// A pre-only side is a whole one whose results nobody reads: the others get the same bits, whatever its queries.
TEST(StreamBlocks, APreOnlySideChangesNothingElse) {
  Context context({.threads = 1});
  const std::array<Index, 2> channels{6, 10};
  const auto whole = make<Block<2>>(channels);
  auto pre_only = whole;
  pre_only.block.sides[1].to_out = {};
  pre_only.block.sides[1].ff = {};
  const Inputs<float, 2> in(context, channels);
  Inputs<float, 2> short_rows = in;  // shift and scale are all that it needs
  short_rows.m[1].attention.gate = {};
  short_rows.m[1].mlp = {};
  expect_equal(pre_only.block(copies(in.x), short_rows.m)[0], whole.block(copies(in.x), in.m)[0]);
}

// Gates of zero make a block the identity: a new block of a trained model changes nothing.
TEST(StreamBlocks, ZeroGatesAreTheIdentity) {
  Context context({.threads = 1});
  const std::array<Index, 2> channels{6, 10};
  const auto check = [&](const auto& named) {
    Inputs<float, 2> in(context, channels);
    for (std::size_t s = 0; s < 2; ++s)
      in.m[s].attention.gate = in.m[s].mlp.gate = context.zeros<float>(Shape<3>{2, 1, channels[s]});
    const auto y = named.block(copies(in.x), in.m);
    for (std::size_t s = 0; s < 2; ++s) expect_equal(y[s], in.x[s]);
  };
  check(make<Block<2>>(channels));
  check(make<Block<2, FromInput>>(channels));
}

// One mechanism: rows per token that do not differ are rows per sample, to the bit.
TEST(StreamBlocks, ConstantRowsPerTokenAreRowsPerSample) {
  Context context({.threads = 1});
  const std::array<Index, 2> channels{6, 10};
  const auto named = make<Block<2>>(channels);
  const Inputs<float, 2> in(context, channels);
  Inputs<float, 2> by_token = in;
  for (std::size_t s = 0; s < 2; ++s)
    for (auto* of : {&by_token.m[s].attention, &by_token.m[s].mlp})
      for (auto* row : {&of->shift, &of->scale, &of->gate})
        *row = row->broadcast(in.x[s].shape());  // all tokens read the same memory
  const auto a = named.block(copies(in.x), in.m), b = named.block(copies(in.x), by_token.m);
  for (std::size_t s = 0; s < 2; ++s) expect_equal(a[s], b[s]);
}

// Permuting the sides permutes the results.
TEST(StreamBlocks, PermutedSides) {
  Context context({.threads = 1});
  const std::array<Index, 2> channels{6, 10};
  const auto check = [&](const auto& named, float tolerance) {
    auto exchanged = named;
    std::swap(exchanged.block.sides[0], exchanged.block.sides[1]);
    const Inputs<float, 2> in(context, channels);
    const auto a = named.block(copies(in.x), in.m);
    const auto b = exchanged.block({aulos::dense(in.x[1]), aulos::dense(in.x[0])}, {in.m[1], in.m[0]});
    for (std::size_t s = 0; s < 2; ++s) {
      const auto x = naive::values(a[s]), y = naive::values(b[1 - s]);
      ASSERT_EQ(x.size(), y.size());
      for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], tolerance);
    }
  };
  check(make<Block<2>>(channels), 1e-5f);
  check(make<Block<2, Gated, CrossBothWays<>>>(channels), 0);  // no common softmax: to the bit
}

// The block takes its streams; copies that others hold stay.
TEST(StreamBlocks, StreamsOfOthersStay) {
  Context context({.threads = 1});
  const std::array<Index, 2> channels{6, 10};
  const auto named = make<Block<2>>(channels);
  const Inputs<float, 2> in(context, channels);
  const auto before0 = naive::values(in.x[0]), before1 = naive::values(in.x[1]);
  const auto shared = named.block(in.x, in.m);
  EXPECT_EQ(naive::values(in.x[0]), before0);
  EXPECT_EQ(naive::values(in.x[1]), before1);
  const auto alone = named.block(copies(in.x), in.m);
  for (std::size_t s = 0; s < 2; ++s) expect_equal(shared[s], alone[s]);
}

// A sublayer at a time is the block.
TEST(StreamBlocks, SublayersOneByOne) {
  Context context({.threads = 1});
  const std::array<Index, 2> channels{6, 10};
  const auto check = [&](const auto& named) {
    const Inputs<float, 2> in(context, channels);
    const auto whole = named.block(copies(in.x), in.m);
    const auto parts = named.block.feed_forward(named.block.attend(copies(in.x), in.m), in.m, in.x);
    for (std::size_t s = 0; s < 2; ++s) expect_equal(whole[s], parts[s]);
  };
  check(make<Block<2>>(channels));
  check(make<Block<2, FromInput>>(channels));
}

TEST(StreamBlocks, EmptyBatchAndEmptyStream) {
  Context context({.threads = 1});
  const std::array<Index, 2> channels{6, 10};
  const auto named = make<Block<2>>(channels);
  const Inputs<float, 2> in(context, channels, false, {3, 0, 0});
  const auto y = named.block(copies(in.x), in.m);
  EXPECT_EQ(y[1].shape(), (Shape<3>{2, 0, 10}));
  naive::expect_near(y[0], written_out(named.block, in)[0], 1e-5);
}

TEST(StreamBlockErrors, AStreamOfAnotherWidth) {
  Context context({.threads = 1});
  const auto named = make<Block<2>>({6, 10});
  const Inputs<float, 2> in(context, {6, 10});
  const Inputs<float, 2> wrong(context, {6, 9});
  EXPECT_THROW(named.block({in.x[0], wrong.x[1]}, in.m), aulos::ShapeError);
  EXPECT_THROW(named.block(in.x, {in.m[0], wrong.m[1]}), aulos::ShapeError);
}

}  // namespace
