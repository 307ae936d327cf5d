// The readable twin of group_norm.hpp: the formulas in double, group by group.
#pragma once

#include <cmath>
#include <vector>

#include "aulos/kernels/group_norm.hpp"
#include "aulos/kernels/naive/norm.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

struct GroupNormValues {
  std::vector<double> y, gx, gweight, gbias;
};

// The result and, for the cotangent gy, the gradients.
template <class T>
GroupNormValues group_norm(const GroupNormShape& shape, const T* x, const T* weight, const T* bias, const T* gy) {
  const Index length = shape.group_elements(), members = shape.channels / shape.groups;
  const auto all = static_cast<std::size_t>(shape.rows() * shape.positions);
  const auto channels = static_cast<std::size_t>(shape.channels);
  GroupNormValues out{std::vector<double>(all), std::vector<double>(all), std::vector<double>(channels),
                      std::vector<double>(channels)};
  for (Index group = 0; length > 0 && group < shape.batch * shape.groups; ++group) {
    double rstd;
    const Index begin = group * length;
    const std::vector<double> xhat = normalized(Norm::layer, x + begin, length, shape.eps, rstd);
    const auto channel = [&](Index i) { return group % shape.groups * members + i / shape.positions; };
    double mean_h = 0, mean_h_xhat = 0;
    for (Index i = 0; i < length; ++i) {
      const auto k = static_cast<std::size_t>(i), c = static_cast<std::size_t>(channel(i));
      const double g = static_cast<double>(gy[begin + i]), w = or_else(weight, channel(i), 1);
      out.y[static_cast<std::size_t>(begin) + k] = xhat[k] * w + or_else(bias, channel(i), 0);
      out.gweight[c] += g * xhat[k];
      out.gbias[c] += g;
      mean_h += g * w / static_cast<double>(length);
      mean_h_xhat += g * w * xhat[k] / static_cast<double>(length);
    }
    for (Index i = 0; i < length; ++i) {
      const double h = static_cast<double>(gy[begin + i]) * or_else(weight, channel(i), 1);
      out.gx[static_cast<std::size_t>(begin + i)] =
          rstd * (h - mean_h - xhat[static_cast<std::size_t>(i)] * mean_h_xhat);
    }
  }
  return out;
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
