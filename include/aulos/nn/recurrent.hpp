// LSTM and GRU: several layers, one or both directions.
#pragma once

#include <array>
#include <charconv>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/linear.hpp"
#include "aulos/ops/recurrent.hpp"

namespace aulos::inline AULOS_ISA::nn {

enum class Directions { one, both };

struct RecurrentOptions {
  Index layers = 1;
  Directions directions = Directions::one;
  Bias bias = Bias::yes;
};

// One direction of one layer.
template <Real T>
struct RecurrentParameters {
  Weight<T> weight_ih, weight_hh;    // [G H, in], [G H, H]
  Parameter<T, 1> bias_ih, bias_hh;  // [G H], or absent

  RecurrentParameters() = default;
  RecurrentParameters(Index in, Index hidden, Index gates, Bias bias)
      : weight_ih(gates * hidden, in), weight_hh(gates * hidden, hidden) {
    if (bias == Bias::no) return;
    bias_ih = Parameter<T, 1>(Shape<1>{gates * hidden});
    bias_hh = bias_ih;
  }
  bool operator==(const RecurrentParameters&) const = default;
};

// [B, N, in] -> [B, N, D H]; a layer above the first reads all directions of the one below. torch.nn.LSTM and
// torch.nn.GRU with batch_first, without dropout and projections.
template <Real T, RecurrentCell cell>
struct Recurrent {
  using value_type = T;
  using State = RecurrentState<T>;  // [layers D, B, H], layer by layer, the forward direction first

  std::vector<std::vector<RecurrentParameters<T>>> layers;  // of each layer one or two directions

  Recurrent() = default;
  Recurrent(Index in, Index hidden, const RecurrentOptions& options = {}) {
    const Index directions = options.directions == Directions::both ? 2 : 1;
    for (Index layer = 0; layer < options.layers; ++layer) {
      const RecurrentParameters<T> one(layer == 0 ? in : directions * hidden, hidden, kernels::gates_of(cell),
                                       options.bias);
      layers.emplace_back(static_cast<std::size_t>(directions), one);
    }
  }

  bool empty() const noexcept { return layers.empty(); }

  Tensor<T, 3> operator()(const Tensor<T, 3>& x) const {
    Tensor<T, 3> y = x;
    for (std::size_t layer = 0; layer < layers.size(); ++layer) y = run_layer(layer, y, {}, {}).y;
    return y;
  }

  // With the state of before, to go on where another call ended, and with the number of tokens of each sequence.
  RecurrentResult<T> run(const Tensor<T, 3>& x, const State& initial = {},
                         const Tensor<std::int64_t, 1>& lengths = {}) const {
    RecurrentResult<T> result{x, {}};
    State last;
    const auto append = [](Tensor<T, 3>& all, const Tensor<T, 3>& of_layer) {  // two at a time: needs no list
      all = all.empty() || of_layer.empty() ? of_layer : concat(std::array{all, of_layer}, 0);
    };
    for (std::size_t layer = 0; layer < layers.size(); ++layer) {
      result = run_layer(layer, result.y, initial, lengths);
      append(last.h, result.state.h);
      append(last.c, result.state.c);
    }
    result.state = std::move(last);
    return result;
  }

  void visit(auto&& v) {
    for (std::size_t layer = 0; layer < layers.size(); ++layer) {
      for (std::size_t direction = 0; direction < layers[layer].size(); ++direction) {
        RecurrentParameters<T>& p = layers[layer][direction];
        char name[64];
        const auto named = [&](std::string_view what) {
          char* end = name + what.copy(name, what.size());
          end = std::to_chars(end, name + 40, layer).ptr;
          if (direction == 1) end += std::string_view("_reverse").copy(end, 8);
          return std::string_view(name, static_cast<std::size_t>(end - name));
        };
        v(named("weight_ih_l"), p.weight_ih);
        v(named("weight_hh_l"), p.weight_hh);
        v(named("bias_ih_l"), p.bias_ih);
        v(named("bias_hh_l"), p.bias_hh);
      }
    }
  }
  bool operator==(const Recurrent&) const = default;

 private:
  RecurrentResult<T> run_layer(std::size_t layer, const Tensor<T, 3>& x, const State& initial,
                               const Tensor<std::int64_t, 1>& lengths) const {
    const auto& parameters = layers[layer];
    const Index directions = static_cast<Index>(parameters.size());
    std::array<RecurrentDirection<T>, 2> run;
    for (std::size_t d = 0; d < parameters.size(); ++d) {
      const RecurrentParameters<T>& p = parameters[d];
      run[d] = {linear(x, p.weight_ih, p.bias_ih), &p.weight_hh, p.bias_hh};
    }
    const auto of_layer = [&](const Tensor<T, 3>& state) {
      const Index begin = static_cast<Index>(layer) * directions;
      return state.empty() || layers.size() == 1 ? state : state.slice(0, begin, begin + directions);
    };
    return recurrent(cell, std::span(run.data(), parameters.size()), {of_layer(initial.h), of_layer(initial.c)},
                     lengths);
  }
};

// Gates i, f, g, o.
template <Real T>
using Lstm = Recurrent<T, RecurrentCell::lstm>;
// Gates r, z, n.
template <Real T>
using Gru = Recurrent<T, RecurrentCell::gru>;

}  // namespace aulos::inline AULOS_ISA::nn
