// Windows that slide along an axis: the geometry that convolutions and poolings share.
#pragma once

#include <algorithm>

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// Outputs of one axis. The window of output o takes the inputs o * stride - padding + k * dilation, k < kernel; those
// outside of [0, in) are padding, of which there are `padding` in front and as many behind as `out` asks for.
struct WindowAxis {
  Index in = 1, out = 1, kernel = 1, stride = 1, padding = 0, dilation = 1;

  // Inputs from the first to the last element of a window.
  constexpr Index span() const noexcept { return (kernel - 1) * dilation + 1; }

  // The input that element k of window o falls on.
  constexpr Index source(Index o, Index k) const noexcept { return o * stride - padding + k * dilation; }

  // Outputs of [begin, end) whose element k falls on [from, to): first and behind the last, within [begin, end].
  struct Outputs {
    Index begin, end;
  };
  constexpr Outputs hits(Index k, Index from, Index to, Index begin, Index end) const noexcept {
    const Index at = k * dilation - padding;
    const Index first = std::clamp(ceil_div(from - at, stride), begin, end);
    return {first, std::clamp(ceil_div(to - at, stride), first, end)};
  }

  // Outputs whose windows touch [from, to) at all.
  constexpr Outputs touching(Index from, Index to) const noexcept {
    const Index first = std::clamp<Index>(ceil_div(from + padding - span() + 1, stride), 0, out);
    return {first, std::clamp(ceil_div(to + padding, stride), first, out)};
  }

  // How many windows fit, the rest being left out: what PyTorch computes for ceil_mode off. 0 where none does.
  static constexpr Index outputs(Index in, Index before, Index after, Index kernel, Index stride,
                                 Index dilation) noexcept {
    const Index room = in + before + after - (kernel - 1) * dilation - 1;
    return room < 0 ? 0 : room / stride + 1;
  }

 private:
  static constexpr Index ceil_div(Index a, Index b) noexcept { return a >= 0 ? (a + b - 1) / b : -(-a / b); }
};

}  // namespace aulos::inline AULOS_ISA::kernels
