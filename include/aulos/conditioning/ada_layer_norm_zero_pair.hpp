// adaLN-Zero of two streams from one linear.
#pragma once

#include <array>

#include "aulos/conditioning/modulation.hpp"
#include "aulos/core/config.hpp"
#include "aulos/nn/linear.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// How the twelve vectors of an image and a text stream lie.
enum class PairOrder {
  image_then_text,  // six of the image (shift, scale, gate twice), then six of the text: CogView3+, MMFace-DiT
  interleaved,      // image and text by turns in each of the six: CogView4
};

// Shift, scale, gate of attention and feed-forward for both streams. Takes the conditioning vector after its SiLU, but
// CogView4's as it is: that model has none here. CogView3PlusAdaLayerNormZeroTextImage, CogView4AdaLayerNormZero of
// diffusers.
template <Real T>
struct AdaLayerNormZeroPair {
  nn::Linear<T> linear;  // [12 C, C']
  PairOrder order = PairOrder::image_then_text;

  AdaLayerNormZeroPair() = default;
  AdaLayerNormZeroPair(Index conditioning, Index channels, PairOrder rows = PairOrder::image_then_text)
      : linear(conditioning, 12 * channels), order(rows) {}

  // Of the image, of the text.
  template <int Rank>
  std::array<StreamModulation<T>, 2> operator()(const Tensor<T, Rank>& c) const {
    const auto row = modulation_rows<12>(linear, c);
    const auto stream = [&](std::size_t s) {
      const bool turns = order == PairOrder::interleaved;
      const std::size_t first = turns ? s : 6 * s;
      const std::size_t step = turns ? 2 : 1;
      const auto part = [&](std::size_t i) { return row[first + step * i]; };
      return stream_modulation<T>({part(0), part(1), part(2), part(3), part(4), part(5)});
    };
    return {stream(0), stream(1)};
  }
  void visit(auto&& v) { v("linear", linear); }
  bool operator==(const AdaLayerNormZeroPair&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::conditioning
