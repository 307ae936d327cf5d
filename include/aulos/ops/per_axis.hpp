// Numbers per spatial axis, as the options of convolutions, poolings, paddings and interpolations have them.
#pragma once

#include <type_traits>

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA {

// Elements added in front of an axis and behind it.
struct Sides {
  Index before = 0, after = 0;

  constexpr Sides() = default;
  constexpr Sides(Index both) noexcept : before(both), after(both) {}  // NOLINT(google-explicit-constructor)
  constexpr Sides(Index in_front, Index behind) noexcept : before(in_front), after(behind) {}
  constexpr bool operator==(const Sides&) const = default;
};

// A window of `kernel` elements sees the present and the past alone.
constexpr Sides causal_padding(Index kernel, Index dilation = 1) noexcept { return {(kernel - 1) * dilation, 0}; }
// With stride 1 the result is as long as the input: PyTorch's padding="same".
constexpr Sides same_padding(Index kernel, Index dilation = 1) noexcept {
  const Index all = (kernel - 1) * dilation;
  return {all / 2, all - all / 2};
}

// One value for all axes, or one for each, the outermost first: PerAxis<Index, 2>{3}, {3, 5}.
template <class V, int Axes>
struct PerAxis {
  static_assert(Axes == 1 || Axes == 2, "one or two spatial axes");
  V axis[static_cast<std::size_t>(Axes)];

  template <class U>
  requires std::is_convertible_v<U, V>
  constexpr PerAxis(U all) noexcept {  // NOLINT(google-explicit-constructor)
    for (V& each : axis) each = static_cast<V>(all);
  }
  constexpr PerAxis(V rows, V columns) noexcept requires(Axes == 2) : axis{rows, columns} {}

  constexpr const V& operator[](int i) const noexcept { return axis[i]; }
  constexpr bool operator==(const PerAxis&) const = default;
};

}  // namespace aulos::inline AULOS_ISA
