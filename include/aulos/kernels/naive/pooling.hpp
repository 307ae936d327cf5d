// The readable twin of pooling.hpp: windows one by one, in double.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "aulos/kernels/pooling.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

// Calls window(output, elements of the window inside, elements of the whole window), the elements as places in x.
template <class Window>
void for_windows(const PoolShape& s, Window&& window) {
  for (Index plane = 0; plane < s.planes; ++plane)
    for (Index r = 0; r < s.rows.out; ++r)
      for (Index c = 0; c < s.columns.out; ++c) {
        std::vector<Index> inside;
        for (Index p = 0; p < s.rows.kernel; ++p)
          for (Index q = 0; q < s.columns.kernel; ++q) {
            const Index row = r * s.rows.stride - s.rows.padding + p * s.rows.dilation;
            const Index column = c * s.columns.stride - s.columns.padding + q * s.columns.dilation;
            if (row >= 0 && row < s.rows.in && column >= 0 && column < s.columns.in)
              inside.push_back((plane * s.rows.in + row) * s.columns.in + column);
          }
        window((plane * s.rows.out + r) * s.columns.out + c, inside, s.rows.kernel * s.columns.kernel);
      }
}

// The same for adaptive pooling: from floor(o in / out) to ceil((o + 1) in / out).
template <class Window>
void for_parts(const PoolShape& s, Window&& window) {
  const auto edge = [](Index o, Index in, Index out) {
    return static_cast<double>(o) * static_cast<double>(in) / static_cast<double>(out);
  };
  for (Index plane = 0; plane < s.planes; ++plane)
    for (Index r = 0; r < s.rows.out; ++r)
      for (Index c = 0; c < s.columns.out; ++c) {
        std::vector<Index> inside;
        for (auto row = static_cast<Index>(std::floor(edge(r, s.rows.in, s.rows.out)));
             row < static_cast<Index>(std::ceil(edge(r + 1, s.rows.in, s.rows.out))); ++row)
          for (auto column = static_cast<Index>(std::floor(edge(c, s.columns.in, s.columns.out)));
               column < static_cast<Index>(std::ceil(edge(c + 1, s.columns.in, s.columns.out))); ++column)
            inside.push_back((plane * s.rows.in + row) * s.columns.in + column);
        window((plane * s.rows.out + r) * s.columns.out + c, inside, static_cast<Index>(inside.size()));
      }
}

// Means over windows that `visit` (for_windows or for_parts) walks; and their gradient.
template <class T, class Visit>
std::vector<double> mean_pool(const PoolShape& s, PoolDivisor divisor, const T* x, Visit visit) {
  std::vector<double> y(static_cast<std::size_t>(s.planes * s.positions()));
  visit(s, [&](Index o, const std::vector<Index>& inside, Index all) {
    double sum = 0;
    for (const Index i : inside) sum += static_cast<double>(x[i]);
    const auto by = divisor == PoolDivisor::window ? static_cast<double>(all) : static_cast<double>(inside.size());
    y[static_cast<std::size_t>(o)] = sum / by;
  });
  return y;
}
template <class T, class Visit>
std::vector<double> mean_pool_backward(const PoolShape& s, PoolDivisor divisor, const T* gy, Visit visit) {
  std::vector<double> gx(static_cast<std::size_t>(s.planes * s.plane()));
  visit(s, [&](Index o, const std::vector<Index>& inside, Index all) {
    const auto by = divisor == PoolDivisor::window ? static_cast<double>(all) : static_cast<double>(inside.size());
    for (const Index i : inside) gx[static_cast<std::size_t>(i)] += static_cast<double>(gy[o]) / by;
  });
  return gx;
}

// Maxima, and where they stand in x; -1 in a window of padding alone.
struct MaxPoolValues {
  std::vector<double> y;
  std::vector<Index> at;
};
template <class T>
MaxPoolValues max_pool(const PoolShape& s, const T* x) {
  MaxPoolValues v;
  for_windows(s, [&](Index, const std::vector<Index>& inside, Index) {
    double largest = -std::numeric_limits<double>::infinity();
    Index at = -1;
    for (const Index i : inside) {
      const double value = static_cast<double>(x[i]);
      if (std::isnan(largest) || (at >= 0 && !(value > largest) && !std::isnan(value))) continue;
      largest = value;
      at = i;
    }
    v.y.push_back(largest);
    v.at.push_back(at);
  });
  return v;
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
