// The readable twin of rope.hpp: one rotation, in double.
#pragma once

#include <cmath>

#include "aulos/kernels/rope.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

// The first or second channel of pair j.
inline Index channel(const RopeShape& shape, Index j, Index which) {
  return shape.layout == RopePairs::interleaved ? 2 * j + which : j + which * shape.pairs;
}

template <class T>
void rope(const RopeShape& shape, Rotation rotation, HeadRows<const T> x, const RopeRows<T>& table, HeadRows<T> y) {
  for (Index b = 0; b < shape.batch; ++b) {
    for (Index n = 0; n < shape.tokens; ++n) {
      for (Index h = 0; h < shape.heads; ++h) {
        const T* from = x.at(b, n, h);
        T* to = y.at(b, n, h);
        for (Index c = 2 * shape.pairs; c < shape.width; ++c) to[c] = from[c];
        for (Index j = 0; j < shape.pairs; ++j) {
          const double cos = static_cast<double>(table.cos.at(b, n, h)[j]);
          const double sin = static_cast<double>(table.sin.at(b, n, h)[j]) * (rotation == Rotation::forward ? 1 : -1);
          const double x0 = static_cast<double>(from[channel(shape, j, 0)]);
          const double x1 = static_cast<double>(from[channel(shape, j, 1)]);
          to[channel(shape, j, 0)] = static_cast<T>(x0 * cos - x1 * sin);
          to[channel(shape, j, 1)] = static_cast<T>(x1 * cos + x0 * sin);
        }
      }
    }
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
