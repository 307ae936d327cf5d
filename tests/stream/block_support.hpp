// Stream blocks of any parts at d = 8, their walk, and what they compute, written out in double.
#pragma once

#include <array>
#include <string>
#include <type_traits>

#include "aulos/stream/stream_block.hpp"
#include "support/naive_tokens.hpp"

namespace block_support {

using namespace aulos::stream;
using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;
using aulos::conditioning::StreamModulation;
using aulos::nn::AcrossHeads;
using aulos::nn::Affine;
using aulos::nn::Bias;
using aulos::nn::LayerNorm;
using aulos::nn::Mlp;
using aulos::nn::NoQkNorm;
using aulos::nn::PerHead;
using aulos::nn::RmsNorm;
using aulos::nn::SwiGlu;

constexpr Index heads = 2, width = 8, inner = heads * width;

// Which sublayers a side has.
enum class Parts { all, keys_only };

// A block with the walk that its model would give it.
template <class Block>
struct Named {
  Block block;

  void visit(auto&& v) {
    for (std::size_t s = 0; s < block.sides.size(); ++s) {
      auto& side = block.sides[s];
      const std::string at = std::to_string(s);
      v(at + ".norm1", side.norm1);
      v(at + ".norm2", side.norm2);
      v(at + ".qkv", side.qkv);
      v(at + ".to_out", side.to_out);
      v(at + ".ff", side.ff);
      v(at + ".after_attention", side.after_attention);
      v(at + ".after_mlp", side.after_mlp);
    }
  }
};

template <class Norm>
void make_norm(Norm& norm, Index channels, Affine affine = Affine::yes) {
  norm = Norm(channels, 1e-5, affine);
}
template <class T>
void make_norm(NoQkNorm<T>&, Index) {}
template <class Norm>
void make_norm(PerHead<Norm>& norm, Index) {
  norm.norm = Norm(width, 1e-6);
}
template <class Norm>
void make_norm(AcrossHeads<Norm>& norm, Index) {
  norm.norm = Norm(inner, 1e-6);
}
inline void make_rule(Gated&, Index) {}
inline void make_rule(FromInput&, Index) {}
template <class Norm>
void make_rule(SandwichTanh<Norm>& rule, Index channels) {
  make_norm(rule.norm, channels);
}

template <class Block>
Named<Block> make(const std::array<Index, std::tuple_size_v<decltype(Block::sides)>>& channels,
                  const std::array<Parts, std::tuple_size_v<decltype(Block::sides)>>& parts = {},
                  std::uint64_t seed = 1) {
  using T = typename Block::value_type;
  Named<Block> named;
  for (std::size_t s = 0; s < channels.size(); ++s) {
    auto& side = named.block.sides[s];
    const Index c = channels[s];
    make_norm(side.norm1, c);
    make_norm(side.norm2, c, Affine::no);
    auto qk_norm = side.qkv.norm_q;
    make_norm(qk_norm, 0);
    side.qkv = {c, c, {heads, width}, Bias::yes, qk_norm};
    make_rule(side.after_attention, c);
    make_rule(side.after_mlp, c);
    if (parts[s] == Parts::keys_only) continue;
    side.to_out = aulos::nn::Linear<T>(inner, c);
    side.ff = std::remove_reference_t<decltype(side.ff)>(c, c + 3, Bias::yes);
  }
  naive::randomise(named, seed);
  return named;
}

// Streams and a full set of modulation rows, per sample or per token.
template <class Block>
struct Inputs {
  typename Block::Streams x;
  typename Block::Modulations m;

  Inputs(Context& context, const std::array<Index, std::tuple_size_v<decltype(Block::sides)>>& channels,
         bool per_token = false, const std::array<Index, 3>& tokens = {3, 2, 4}) {
    using T = typename Block::value_type;
    std::uint64_t seed = 40;
    for (std::size_t s = 0; s < channels.size(); ++s) {
      x[s] = naive::random<T, 3>(context, Shape<3>{2, tokens[s], channels[s]}, ++seed);
      for (auto* of : {&m[s].attention, &m[s].mlp})
        for (Tensor<T, 3>* row : {&of->shift, &of->scale, &of->gate})
          *row = naive::random<T, 3>(context, Shape<3>{2, per_token ? tokens[s] : 1, channels[s]}, ++seed);
    }
  }
};

template <class Streams>
Streams copies(const Streams& x) {
  Streams y;
  for (std::size_t s = 0; s < x.size(); ++s) y[s] = aulos::dense(x[s]);
  return y;
}

// ---- written out

template <class T>
naive::Tokens qk_norm(const naive::Tokens& x, const NoQkNorm<T>&) {
  return x;
}
template <class Norm>
naive::Tokens qk_norm(const naive::Tokens& x, const PerHead<Norm>& norm) {
  return naive::norm(x, *norm.norm, width);
}
template <class Norm>
naive::Tokens qk_norm(const naive::Tokens& x, const AcrossHeads<Norm>& norm) {
  return naive::norm(x, norm.norm, inner);
}

template <class T>
naive::Tokens feed_forward(const naive::Tokens& x, const Mlp<T>& ff) {
  return naive::linear(naive::linear(x, ff.fc1).map([](double v) {  // GELU, tanh form
    return 0.5 * v * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (v + 0.044715 * v * v * v)));
  }),
                       ff.fc2);
}
template <class T>
naive::Tokens feed_forward(const naive::Tokens& x, const SwiGlu<T>& ff) {
  naive::Tokens gate = naive::linear(x, ff.gate).map([](double v) { return v / (1 + std::exp(-v)); });
  const naive::Tokens up = naive::linear(x, ff.up);
  for (std::size_t i = 0; i < gate.x.size(); ++i) gate.x[i] *= up.x[i];
  return naive::linear(gate, ff.fc2);
}

inline naive::Tokens joins(const Gated&, const naive::Tokens& x, const naive::Tokens& gate, const naive::Tokens& f,
                           const naive::Tokens&) {
  return naive::gated(x, gate, f);
}
inline naive::Tokens joins(const FromInput&, const naive::Tokens&, const naive::Tokens& gate, const naive::Tokens& f,
                           const naive::Tokens& input) {
  return naive::gated(input, gate, f);
}
template <class Norm>
naive::Tokens joins(const SandwichTanh<Norm>& rule, const naive::Tokens& x, const naive::Tokens& gate,
                    const naive::Tokens& f, const naive::Tokens&) {
  return naive::gated(x, gate.map([](double g) { return std::tanh(g); }), naive::norm(f, rule.norm, f.channels));
}

// Which sides' keys side s reads.
template <class M>
bool reads(const Joint<M>&, std::size_t, std::size_t) {
  return true;
}
template <class M>
bool reads(const SelfOnly<M>&, std::size_t s, std::size_t other) {
  return s == other;
}
template <class M>
bool reads(const CrossBothWays<M>&, std::size_t s, std::size_t other) {
  return s != other;
}

template <class Block>
auto written_out(const Block& block, const Inputs<Block>& in) {
  constexpr std::size_t sides = std::tuple_size_v<decltype(Block::sides)>;
  std::array<naive::Tokens, sides> input, x, q, k, v;
  const auto rows = [](const auto& t) { return naive::Tokens(t); };
  for (std::size_t s = 0; s < sides; ++s) {
    const auto& side = block.sides[s];
    input[s] = x[s] = naive::Tokens(in.x[s]);
    const naive::Tokens h = naive::modulate(naive::norm(x[s], side.norm1, x[s].channels), rows(in.m[s].attention.shift),
                                            rows(in.m[s].attention.scale));
    q[s] = qk_norm(naive::linear(h, side.qkv.to_q), side.qkv.norm_q);
    k[s] = qk_norm(naive::linear(h, side.qkv.to_k), side.qkv.norm_k);
    v[s] = naive::linear(h, side.qkv.to_v);
  }
  for (std::size_t s = 0; s < sides; ++s) {
    const auto& side = block.sides[s];
    if (side.to_out.empty()) continue;
    naive::Tokens keys, values;
    for (std::size_t other = 0; other < sides; ++other) {
      if (!reads(block.coupling, s, other)) continue;
      keys = naive::joined(keys, k[other]);
      values = naive::joined(values, v[other]);
    }
    const naive::Tokens f = naive::linear(naive::attention(q[s], keys, values, heads, heads), side.to_out);
    x[s] = joins(side.after_attention, x[s], rows(in.m[s].attention.gate), f, input[s]);
    const naive::Tokens h = naive::modulate(naive::norm(x[s], side.norm2, x[s].channels), rows(in.m[s].mlp.shift),
                                            rows(in.m[s].mlp.scale));
    x[s] = joins(side.after_mlp, x[s], rows(in.m[s].mlp.gate), feed_forward(h, side.ff), input[s]);
  }
  return x;
}

// ---- the product of all parts

template <class Block>
void expect_written_out(const char* name) {
  SCOPED_TRACE(name);
  Context context({.threads = 1});
  const std::array<Index, 2> channels{6, 10};
  const Named<Block> named = make<Block>(channels);
  for (const bool per_token : {false, true}) {
    const Inputs<Block> in(context, channels, per_token);
    const auto y = named.block(copies(in.x), in.m);
    const auto want = written_out(named.block, in);
    for (std::size_t s = 0; s < 2; ++s) naive::expect_near(y[s], want[s], 1e-5);
  }
}

// Every residual and coupling with the given norm, query/key norm and feed-forward.
template <class T, class Norm, class QkNorm, class FeedForward, class Coupling>
void expect_every_residual() {
  expect_written_out<StreamBlock<T, 2, Norm, QkNorm, FeedForward, Gated, Coupling>>("Gated");
  expect_written_out<StreamBlock<T, 2, Norm, QkNorm, FeedForward, SandwichTanh<Norm>, Coupling>>("SandwichTanh");
  expect_written_out<StreamBlock<T, 2, Norm, QkNorm, FeedForward, FromInput, Coupling>>("FromInput");
}

template <class Norm, class Coupling>
void expect_every_block() {
  using T = typename Norm::value_type;
  const auto with = [](auto qk_norm) {
    using QkNorm = decltype(qk_norm);
    expect_every_residual<T, Norm, QkNorm, Mlp<T>, Coupling>();
    expect_every_residual<T, Norm, QkNorm, SwiGlu<T>, Coupling>();
  };
  with(NoQkNorm<T>());
  with(PerHead<RmsNorm<T>>());
  with(AcrossHeads<RmsNorm<T>>());
}

}  // namespace block_support
