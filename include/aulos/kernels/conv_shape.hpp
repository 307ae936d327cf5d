// The extents of a convolution, of one or two axes.
#pragma once

#include "aulos/core/config.hpp"
#include "aulos/kernels/window.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// x [batch, groups * in, rows.in, columns.in], weight [groups * out, in, rows.kernel, columns.kernel],
// y [batch, groups * out, rows.out, columns.out], all dense. One axis: `rows` as it is by default.
struct ConvShape {
  Index batch = 1, groups = 1;
  Index in = 1, out = 1;  // channels of one group
  WindowAxis rows{}, columns{};

  constexpr Index taps() const noexcept { return rows.kernel * columns.kernel; }
  // Weights of one output channel: the inner extent of the product.
  constexpr Index depth() const noexcept { return in * taps(); }
  // Elements of one channel of x and of y.
  constexpr Index plane() const noexcept { return rows.in * columns.in; }
  constexpr Index positions() const noexcept { return rows.out * columns.out; }
  constexpr double flops() const noexcept {
    return 2.0 * static_cast<double>(batch * groups * out) * static_cast<double>(depth()) *
           static_cast<double>(positions());
  }
  // Groups too thin for a matrix product: each channel by itself.
  constexpr bool depthwise() const noexcept { return in == 1 && out <= 4; }
};

}  // namespace aulos::inline AULOS_ISA::kernels
