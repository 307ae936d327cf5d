// What the separators of SpeechBrain put into their dual-path blocks: transformers, recurrent models, norms.
#pragma once

#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/scope.hpp"
#include "aulos/models/sepformer_config.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/nn/norm.hpp"
#include "aulos/nn/recurrent.hpp"
#include "aulos/ops/channel_affine.hpp"
#include "aulos/stream/stream_block.hpp"

namespace aulos::inline AULOS_ISA::models {

// A vector over channels as a checkpoint stores it: [C], [C, 1] or [C, 1, 1].
template <Real T>
struct ChannelVector {
  Parameter<T, 1> flat;
  Parameter<T, 2> column;
  Parameter<T, 3> plane;

  ChannelVector() = default;
  ChannelVector(Index channels, int trailing_ones) {
    if (trailing_ones == 0) flat = Parameter<T, 1>(Shape<1>{channels});
    if (trailing_ones == 1) column = Parameter<T, 2>(Shape<2>{channels, 1});
    if (trailing_ones == 2) plane = Parameter<T, 3>(Shape<3>{channels, 1, 1});
  }

  Tensor<T, 1> tensor() const {
    if (!flat.empty()) return flat;
    if (!column.empty()) return column.tensor().reshape(Shape<1>{column.count()});
    return plane.tensor().reshape(Shape<1>{plane.count()});
  }
  void visit_as(auto&& v, const char* name) {
    v(name, flat);
    v(name, column);
    v(name, plane);
  }
  bool operator==(const ChannelVector&) const = default;
};

// The norms of a separator, eps 1e-8; tokens [B, N, C] or a grid of them.
template <Real T>
struct SeparatorNormLayer {
  using value_type = T;
  static constexpr double eps = 1e-8;

  SeparatorNorm kind = SeparatorNorm::ln;
  ChannelVector<T> weight, bias;

  SeparatorNormLayer() = default;
  // `rank`: that of what is normed, which gln's parameters follow.
  SeparatorNormLayer(SeparatorNorm of, Index channels, int rank)
      : kind(of), weight(channels, of == SeparatorNorm::gln ? rank - 2 : 0), bias(weight) {}

  template <int Rank>
  Tensor<T, Rank> operator()(const Tensor<T, Rank>& x) const {
    return kind == SeparatorNorm::cln ? layer_norm(x, weight.tensor(), bias.tensor(), eps)
                                      : global_layer_norm(x, weight.tensor(), bias.tensor(), eps);
  }
  void visit(auto&& v) {
    weight.visit_as(v, "weight");
    bias.visit_as(v, "bias");
  }
  bool operator==(const SeparatorNormLayer&) const = default;
};

// A norm that only some models have: in front of a sublayer, or behind its residual.
template <Real T>
struct OptionalLayerNorm {
  using value_type = T;

  std::optional<nn::LayerNorm<T>> norm;

  Tensor<T, 3> operator()(const Tensor<T, 3>& x) const { return norm ? (*norm)(x) : x; }
  Tensor<T, 3> modulated(const Tensor<T, 3>& x, const Tensor<T, 3>&, const Tensor<T, 3>&) const { return (*this)(x); }
  void visit(auto&& v) { v("norm", norm); }
  bool operator==(const OptionalLayerNorm&) const = default;
};

// norm(x + f(h)), or x + f(h) without a norm: what a post-norm transformer does.
template <Real T>
struct PostNorm {
  static constexpr bool reads_input = false;

  OptionalLayerNorm<T> norm;

  template <class F>
  Tensor<T, 3> operator()(const F& f, const Tensor<T, 3>& h, const Tensor<T, 3>& gate, Tensor<T, 3>&& x,
                          const Tensor<T, 3>&) const {
    return norm(f.add_to(h, gate, std::move(x)));
  }
  bool operator==(const PostNorm&) const = default;
};

// One layer, norms in front or behind. Names of SpeechBrain's TransformerEncoderLayer.
template <Real T, class Coupling = stream::Joint<>>
struct SeparatorLayer {
  using value_type = T;
  using Block = stream::StreamBlock<T, 1, OptionalLayerNorm<T>, nn::NoQkNorm<T>, nn::Mlp<T, Activation::relu>,
                                    PostNorm<T>, Coupling, attention::FusedQkv<T, nn::NoQkNorm<T>>>;
  static constexpr double eps = 1e-6;

  Block block;

  SeparatorLayer() = default;
  SeparatorLayer(Index channels, const TransformerPathConfig& config) {
    auto& side = block.sides[0];
    const nn::LayerNorm<T> norm(channels, eps);
    if (config.norm_before)
      side.norm1.norm = side.norm2.norm = norm;
    else
      side.after_attention.norm.norm = side.after_mlp.norm.norm = norm;
    side.qkv = attention::FusedQkv<T, nn::NoQkNorm<T>>(channels, {config.heads, channels / config.heads});
    side.to_out = nn::Linear<T>(channels, channels);
    side.ff = nn::Mlp<T, Activation::relu>(channels, config.hidden);
  }

  Tensor<T, 3> operator()(Tensor<T, 3> x) const { return std::move(block({std::move(x)}, {})[0]); }

  void visit(auto&& v) {
    auto& side = block.sides[0];
    v("self_att.att.in_proj_weight", side.qkv.qkv.weight);
    v("self_att.att.in_proj_bias", side.qkv.qkv.bias);
    v("self_att.att.out_proj", side.to_out);
    v("self_att.att", block.coupling);
    v("pos_ffn.ffn.0", side.ff.fc1);
    v("pos_ffn.ffn.3", side.ff.fc2);
    v("norm1", side.norm1);
    v("norm1", side.after_attention.norm);
    v("norm2", side.norm2);
    v("norm2", side.after_mlp.norm);
  }
};

// A stack of layers behind a table of positions, with a norm at the end. SBTransformerBlock.
template <Real T, class Coupling = stream::Joint<>>
struct TransformerPath {
  using value_type = T;
  using Config = TransformerPathConfig;
  static constexpr Index positions = 2500;

  Parameter<T, 3> pe;  // [1, 2500, C]; a buffer: derived where a checkpoint lacks it
  std::vector<SeparatorLayer<T, Coupling>> layers;
  nn::LayerNorm<T> norm;

  TransformerPath() = default;
  TransformerPath(Index channels, const Config& config) : norm(channels, SeparatorLayer<T>::eps) {
    for (Index i = 0; i < config.layers; ++i) layers.emplace_back(channels, config);
    if (!config.positional) return;
    pe = Parameter<T, 3>(Shape<3>{1, positions, channels});
    pe.set_trainable(false);
  }
  static Index width(Index channels, const Config&) { return channels; }

  // [B, N, C] -> [B, N, C].
  Tensor<T, 3> operator()(const Tensor<T, 3>& x) const {
    Tensor<T, 3> u = x;
    if (!pe.empty()) {
      if (x.extent(1) > positions)
        throw ShapeError("pos_enc: " + std::to_string(x.extent(1)) + " tokens, expected at most " +
                         std::to_string(positions));
      u = add(x, pe.tensor().slice(1, 0, x.extent(1)));
    }
    for (const auto& layer : layers) u = layer(std::move(u));
    return norm(u);
  }

  // pe[p, 2i] = sin(p 10000^(-2i / C)), pe[p, 2i + 1] = cos of the same.
  void derive_buffers() {
    if (pe.empty() || pe.ready()) return;
    const Index channels = pe.extent(2);
    T* out = pe.data();
    for (Index p = 0; p < positions; ++p) {
      for (Index c = 0; c < channels; ++c) {
        const Index even = c - c % 2;
        const double power = -static_cast<double>(even) / static_cast<double>(channels);
        const double angle = static_cast<double>(p) * std::pow(10000.0, power);
        out[p * channels + c] = static_cast<T>(c % 2 == 0 ? std::sin(angle) : std::cos(angle));
      }
    }
  }

  void visit(auto&& v) {
    v("pos_enc.pe", pe, nn::Role::derived_buffer);
    v("mdl.layers", layers);
    v("mdl.norm.norm", norm);
  }
};

// Recurrent layers in both directions: [B, N, C] -> [B, N, 2 hidden]. SBRNNBlock.
template <Real T, RecurrentCell cell = RecurrentCell::lstm>
struct RecurrentPath {
  using value_type = T;
  using Config = RecurrentPathConfig;

  nn::Recurrent<T, cell> rnn;

  RecurrentPath() = default;
  RecurrentPath(Index channels, const Config& config)
      : rnn(channels, config.hidden, {.layers = config.layers, .directions = nn::Directions::both}) {}
  static Index width(Index, const Config& config) { return 2 * config.hidden; }

  Tensor<T, 3> operator()(const Tensor<T, 3>& x) const { return rnn(x); }
  void derive_buffers() {}
  void visit(auto&& v) { v("mdl.rnn", rnn); }
};

}  // namespace aulos::inline AULOS_ISA::models
