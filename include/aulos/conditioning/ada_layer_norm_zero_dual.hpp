// adaLN-Zero of a block that attends twice.
#pragma once

#include <array>

#include "aulos/conditioning/modulation.hpp"
#include "aulos/core/config.hpp"
#include "aulos/nn/linear.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

template <Real T>
struct DualModulation {
  StreamModulation<T> stream;  // as in adaLN-Zero
  Modulation<T> attention2;    // of the second attention, which reads the same norm of the block's input
};

// From the rows shift, scale, gate of attention, of the feed-forward, then of the second attention.
template <Real T>
DualModulation<T> dual_modulation(const std::array<Tensor<T, 3>, 9>& row) {
  return {{{row[0], row[1], row[2]}, {row[3], row[4], row[5]}}, {row[6], row[7], row[8]}};
}

// Those rows (SD3.5-medium). Takes the conditioning vector after its SiLU. SD35AdaLayerNormZeroX of diffusers.
template <Real T>
struct AdaLayerNormZeroDual {
  nn::Linear<T> linear;  // [9 C, C']

  AdaLayerNormZeroDual() = default;
  AdaLayerNormZeroDual(Index conditioning, Index channels) : linear(conditioning, 9 * channels) {}

  template <int Rank>
  DualModulation<T> operator()(const Tensor<T, Rank>& c) const {
    return dual_modulation(modulation_rows<9>(linear, c));
  }
  void visit(auto&& v) { v("linear", linear); }
  bool operator==(const AdaLayerNormZeroDual&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::conditioning
