// The readable twin of conv.hpp and conv_depthwise.hpp: one loop over everything, in double.
#pragma once

#include <vector>

#include "aulos/kernels/conv_shape.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

// Calls f(index of y, index of x, index of the weight) for every product of a convolution.
template <class F>
void for_conv_products(const ConvShape& s, F&& f) {
  const auto inside = [](Index i, Index extent) { return i >= 0 && i < extent; };
  for (Index b = 0; b < s.batch; ++b)
    for (Index g = 0; g < s.groups; ++g)
      for (Index o = 0; o < s.out; ++o)
        for (Index r = 0; r < s.rows.out; ++r)
          for (Index c = 0; c < s.columns.out; ++c)
            for (Index i = 0; i < s.in; ++i)
              for (Index p = 0; p < s.rows.kernel; ++p)
                for (Index q = 0; q < s.columns.kernel; ++q) {
                  const Index row = r * s.rows.stride - s.rows.padding + p * s.rows.dilation;
                  const Index column = c * s.columns.stride - s.columns.padding + q * s.columns.dilation;
                  if (!inside(row, s.rows.in) || !inside(column, s.columns.in)) continue;
                  const Index channel = g * s.out + o;
                  f(((b * s.groups * s.out + channel) * s.rows.out + r) * s.columns.out + c,
                    ((b * s.groups * s.in + g * s.in + i) * s.rows.in + row) * s.columns.in + column,
                    ((channel * s.in + i) * s.rows.kernel + p) * s.columns.kernel + q);
                }
}

template <class T>
std::vector<double> per_channel(const T* bias, Index batch, Index channels, Index plane) {
  std::vector<double> y(static_cast<std::size_t>(batch * channels * plane));
  if (bias == nullptr) return y;
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = static_cast<double>(bias[static_cast<Index>(i) / plane % channels]);
  return y;
}

template <class T>
std::vector<double> conv(const ConvShape& s, const T* x, const T* w, const T* bias) {
  std::vector<double> y = per_channel(bias, s.batch, s.groups * s.out, s.positions());
  for_conv_products(s, [&](Index at, Index from, Index weight) {
    y[static_cast<std::size_t>(at)] += static_cast<double>(x[from]) * static_cast<double>(w[weight]);
  });
  return y;
}

template <class T>
std::vector<double> conv_transpose(const ConvShape& s, const T* gy, const T* w, const T* bias) {
  std::vector<double> gx = per_channel(bias, s.batch, s.groups * s.in, s.plane());
  for_conv_products(s, [&](Index from, Index at, Index weight) {
    gx[static_cast<std::size_t>(at)] += static_cast<double>(gy[from]) * static_cast<double>(w[weight]);
  });
  return gx;
}

template <class T>
std::vector<double> conv_weight_gradient(const ConvShape& s, const T* x, const T* gy) {
  std::vector<double> gw(static_cast<std::size_t>(s.groups * s.out * s.depth()));
  for_conv_products(s, [&](Index at, Index from, Index weight) {
    gw[static_cast<std::size_t>(weight)] += static_cast<double>(gy[at]) * static_cast<double>(x[from]);
  });
  return gw;
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
