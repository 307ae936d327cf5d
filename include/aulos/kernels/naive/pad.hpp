// The readable twin of pad.hpp: the source of every element by itself, walking from the border step by step.
#pragma once

#include "aulos/kernels/pad.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

// The index of the argument for index i of the result, or -1.
inline Index pad_source(const PadAxis& axis, Index i) {
  if (axis.flip) return axis.in - 1 - i;
  Index at = i - axis.before;
  while (at < 0 || at >= axis.in) {
    switch (axis.mode) {
      case PadMode::constant:
        return -1;
      case PadMode::replicate:
        at = at < 0 ? 0 : axis.in - 1;
        break;
      case PadMode::circular:
        at += at < 0 ? axis.in : -axis.in;
        break;
      case PadMode::reflect:
        at = axis.in == 1 ? 0 : at < 0 ? -at : 2 * (axis.in - 1) - at;
        break;
    }
  }
  return at;
}

// Calls f(place in the result, place in the argument or -1) for all elements of the result in order.
template <class F>
void for_pad_places(const PadShape& s, F&& f) {
  for (Index o = 0; o < s.out(); ++o) {
    Index rest = o, source = 0, stride = 1;
    for (int i = s.rank - 1; i >= 0; --i) {
      const Index at = pad_source(s.axis[i], rest % s.axis[i].out);
      source = source < 0 || at < 0 ? -1 : source + at * stride;
      stride *= s.axis[i].in;
      rest /= s.axis[i].out;
    }
    f(o, source);
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
