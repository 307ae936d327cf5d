// Modulation rows: what a conditioning vector does to the tokens of a sublayer.
#pragma once

#include <array>
#include <cstddef>

#include "aulos/core/config.hpp"
#include "aulos/core/tensor.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/ops/layout.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// Of one sublayer f: x + gate * f(norm(x) * (1 + scale) + shift). Each is a view [B, 1, C] (a row per sample) or
// [B, N, C] (a row per token); an absent part is empty.
template <Real T>
struct Modulation {
  Tensor<T, 3> shift, scale, gate;
};

// Of a stream in a block: its attention and its feed-forward.
template <Real T>
struct StreamModulation {
  Modulation<T> attention, mlp;
};

// Shift, scale, gate of attention, then of the feed-forward: the order of nearly all systems.
template <Real T>
StreamModulation<T> stream_modulation(const std::array<Tensor<T, 3>, 6>& row) {
  return {{row[0], row[1], row[2]}, {row[3], row[4], row[5]}};
}

// The rows of a modulation linear, cut into `Parts`: c [B, C'] -> Parts views [B, 1, C].
template <std::size_t Parts, Real T>
std::array<Tensor<T, 3>, Parts> modulation_rows(const nn::Linear<T>& linear, const Tensor<T, 2>& c) {
  return chunk<Parts>(linear(c).unsqueeze(1), 2);
}
// A conditioning vector per token: c [B, N, C'] -> Parts views [B, N, C].
template <std::size_t Parts, Real T>
std::array<Tensor<T, 3>, Parts> modulation_rows(const nn::Linear<T>& linear, const Tensor<T, 3>& c) {
  return chunk<Parts>(linear(c), 2);
}

}  // namespace aulos::inline AULOS_ISA::conditioning
