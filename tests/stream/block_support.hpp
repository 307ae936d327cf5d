// Stream blocks of any parts at d = 8, their walk, and what they compute, written out in double.
#pragma once

#include <array>
#include <cmath>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

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
template <class T, std::size_t Sides>
struct Inputs {
  std::array<Tensor<T, 3>, Sides> x;
  std::array<StreamModulation<T>, Sides> m;

  Inputs(Context& context, const std::array<Index, Sides>& channels, bool per_token = false,
         const std::array<Index, 3>& tokens = {3, 2, 4}) {
    std::uint64_t seed = 40;
    for (std::size_t s = 0; s < Sides; ++s) {
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

// ---- written out: every part as a function of tokens, compiled once for all blocks that have it

using Map = std::function<naive::Tokens(const naive::Tokens&)>;

template <class T>
Map map_of(const aulos::nn::Linear<T>& l) {
  return [&l](const naive::Tokens& x) { return naive::linear(x, l); };
}
template <class T>
Map map_of(const LayerNorm<T>& n) {
  return [&n](const naive::Tokens& x) { return naive::norm(x, n, x.channels); };
}
template <class T>
Map map_of(const RmsNorm<T>& n) {
  return [&n](const naive::Tokens& x) { return naive::norm(x, n, x.channels); };
}
template <class T>
Map map_of(const NoQkNorm<T>&) {
  return [](const naive::Tokens& x) { return x; };
}
template <class Norm>
Map map_of(const PerHead<Norm>& n) {
  return [&n](const naive::Tokens& x) { return naive::norm(x, *n.norm, width); };
}
template <class Norm>
Map map_of(const AcrossHeads<Norm>& n) {
  return map_of(n.norm);
}
template <class T>
Map map_of(const Mlp<T>& ff) {
  return [&ff](const naive::Tokens& x) {
    return naive::linear(naive::linear(x, ff.fc1).map([](double v) {  // GELU, tanh form
      return 0.5 * v * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (v + 0.044715 * v * v * v)));
    }),
                         ff.fc2);
  };
}
template <class T>
Map map_of(const SwiGlu<T>& ff) {
  return [&ff](const naive::Tokens& x) {
    naive::Tokens gate = naive::linear(x, ff.gate).map([](double v) { return v / (1 + std::exp(-v)); });
    const naive::Tokens up = naive::linear(x, ff.up);
    for (std::size_t i = 0; i < gate.x.size(); ++i) gate.x[i] *= up.x[i];
    return naive::linear(gate, ff.fc2);
  };
}

// (x, gate, f, input) -> the stream after the sublayer.
using Rule = std::function<naive::Tokens(const naive::Tokens&, const naive::Tokens&, const naive::Tokens&,
                                         const naive::Tokens&)>;

inline Rule rule_of(const Gated&) {
  return [](const auto& x, const auto& gate, const auto& f, const auto&) { return naive::gated(x, gate, f); };
}
inline Rule rule_of(const FromInput&) {
  return [](const auto&, const auto& gate, const auto& f, const auto& input) { return naive::gated(input, gate, f); };
}
template <class Norm>
Rule rule_of(const SandwichTanh<Norm>& rule) {
  return [norm = map_of(rule.norm)](const auto& x, const auto& gate, const auto& f, const auto&) {
    return naive::gated(x, gate.map([](double g) { return std::tanh(g); }), norm(f));
  };
}

// Which sides' keys side s reads.
using Reads = bool (*)(std::size_t s, std::size_t other);
template <class M>
Reads reads(const Joint<M>&) {
  return [](std::size_t, std::size_t) { return true; };
}
template <class M>
Reads reads(const SelfOnly<M>&) {
  return [](std::size_t s, std::size_t other) { return s == other; };
}
template <class M>
Reads reads(const CrossBothWays<M>&) {
  return [](std::size_t s, std::size_t other) { return s != other; };
}

struct WrittenSide {
  Map norm1, norm2, q, k, v, norm_q, norm_k, to_out, ff;
  Rule after_attention, after_mlp;
  bool updated = false;
};

struct WrittenRows {
  naive::Tokens shift, scale, gate;
};

inline std::vector<naive::Tokens> run(const std::vector<WrittenSide>& sides, Reads reads_keys,
                                      const std::vector<naive::Tokens>& input,
                                      const std::vector<std::array<WrittenRows, 2>>& m) {
  std::vector<naive::Tokens> x = input, q, k, v;
  for (std::size_t s = 0; s < sides.size(); ++s) {
    const WrittenSide& side = sides[s];
    const naive::Tokens h = naive::modulate(side.norm1(x[s]), m[s][0].shift, m[s][0].scale);
    q.push_back(side.norm_q(side.q(h)));
    k.push_back(side.norm_k(side.k(h)));
    v.push_back(side.v(h));
  }
  for (std::size_t s = 0; s < sides.size(); ++s) {
    const WrittenSide& side = sides[s];
    if (!side.updated) continue;
    naive::Tokens keys, values;
    for (std::size_t other = 0; other < sides.size(); ++other) {
      if (!reads_keys(s, other)) continue;
      keys = naive::joined(keys, k[other]);
      values = naive::joined(values, v[other]);
    }
    const naive::Tokens f = side.to_out(naive::attention(q[s], keys, values, heads, heads));
    x[s] = side.after_attention(x[s], m[s][0].gate, f, input[s]);
    const naive::Tokens h = naive::modulate(side.norm2(x[s]), m[s][1].shift, m[s][1].scale);
    x[s] = side.after_mlp(x[s], m[s][1].gate, side.ff(h), input[s]);
  }
  return x;
}

template <class T>
WrittenRows rows_of(const aulos::conditioning::Modulation<T>& m) {
  return {naive::Tokens(m.shift), naive::Tokens(m.scale), naive::Tokens(m.gate)};
}

template <class Block, class T, std::size_t Sides>
std::vector<naive::Tokens> written_out(const Block& block, const Inputs<T, Sides>& in) {
  std::vector<WrittenSide> sides;
  std::vector<naive::Tokens> x;
  std::vector<std::array<WrittenRows, 2>> m;
  for (std::size_t s = 0; s < Sides; ++s) {
    const auto& side = block.sides[s];
    sides.push_back({map_of(side.norm1), map_of(side.norm2), map_of(side.qkv.to_q), map_of(side.qkv.to_k),
                     map_of(side.qkv.to_v), map_of(side.qkv.norm_q), map_of(side.qkv.norm_k), map_of(side.to_out),
                     map_of(side.ff), rule_of(side.after_attention), rule_of(side.after_mlp), side.updated()});
    x.emplace_back(in.x[s]);
    m.push_back({rows_of(in.m[s].attention), rows_of(in.m[s].mlp)});
  }
  return run(sides, reads(block.coupling), x, m);
}

// ---- the product of all parts

template <class Block>
void expect_written_out(const char* name) {
  SCOPED_TRACE(name);
  Context context({.threads = 1});
  const std::array<Index, 2> channels{6, 10};
  const Named<Block> named = make<Block>(channels);
  for (const bool per_token : {false, true}) {
    const Inputs<typename Block::value_type, 2> in(context, channels, per_token);
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
