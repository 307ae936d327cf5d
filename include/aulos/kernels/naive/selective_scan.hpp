// The readable twin of selective_scan.hpp: one channel after the other, token by token, in double.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include "aulos/kernels/selective_scan_backward.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

namespace detail {

// One channel of one sample.
template <class T>
struct ScanChannel {
  const SelectiveScanShape& s;
  const SelectiveScanOperands<T>& in;
  Index batch, c, group;
  std::vector<double> states;  // [L + 1, N]

  ScanChannel(const SelectiveScanShape& shape, const SelectiveScanOperands<T>& operands, Index b, Index channel)
      : s(shape), in(operands), batch(b), c(channel), group(channel / (shape.channels / shape.groups)) {
    for (Index n = 0; n < s.states; ++n) {
      states.push_back(in.initial == nullptr ? 0.0
                                             : static_cast<double>(in.initial[(b * s.channels + c) * s.states + n]));
    }
    for (Index t = 0; t < s.tokens; ++t) {
      for (Index n = 0; n < s.states; ++n) states.push_back(decay(t, n) * h(t, n) + step(t) * b_of(t, n) * at(in.u, t));
    }
  }
  double at(const HeadRows<const T>& x, Index t) const { return static_cast<double>(x.at(batch, t, 0)[c]); }
  double a(Index n) const { return static_cast<double>(in.a[c * s.states + n]); }
  double b_of(Index t, Index n) const { return static_cast<double>(in.b.at(batch, t, group)[n]); }
  double c_of(Index t, Index n) const { return static_cast<double>(in.c.at(batch, t, group)[n]); }
  double d() const { return in.d == nullptr ? 0.0 : static_cast<double>(in.d[c]); }
  double h(Index t, Index n) const { return states[static_cast<std::size_t>(t * s.states + n)]; }  // before token t
  double raw_step(Index t) const {
    return at(in.delta, t) + (in.bias == nullptr ? 0.0 : static_cast<double>(in.bias[c]));
  }
  double step(Index t) const {
    const double x = raw_step(t);
    return s.step == StepSize::given || x > 20 ? x : std::log1p(std::exp(x));
  }
  double step_slope(Index t) const {
    const double x = raw_step(t);
    return s.step == StepSize::given || x > 20 ? 1.0 : 1 / (1 + std::exp(-x));
  }
  double decay(Index t, Index n) const { return std::exp(step(t) * a(n)); }
  double gate(Index t) const { return in.z ? at(in.z, t) / (1 + std::exp(-at(in.z, t))) : 1.0; }
  double ungated(Index t) const {
    double y = d() * at(in.u, t);
    for (Index n = 0; n < s.states; ++n) y += h(t + 1, n) * c_of(t, n);
    return y;
  }
};

}  // namespace detail

template <class T>
void selective_scan(const SelectiveScanShape& s, const SelectiveScanOperands<T>& in, HeadRows<T> out, T* last) {
  for (Index b = 0; b < s.batch; ++b) {
    for (Index c = 0; c < s.channels; ++c) {
      const detail::ScanChannel<T> x(s, in, b, c);
      for (Index t = 0; t < s.tokens; ++t) out.at(b, t, 0)[c] = static_cast<T>(x.ungated(t) * x.gate(t));
      for (Index n = 0; n < s.states; ++n) last[(b * s.channels + c) * s.states + n] = static_cast<T>(x.h(s.tokens, n));
    }
  }
}

// Every gradient; all of the places must be there. Sums over channels and samples are added up in T = double.
template <class T>
void selective_scan_backward(const SelectiveScanShape& s, const SelectiveScanOperands<T>& in,
                             const SelectiveScanGradients<T>& g) {
  for (Index c = 0; c < s.channels; ++c) {
    g.dd[c] = g.dbias[c] = T(0);
    for (Index n = 0; n < s.states; ++n) g.da[c * s.states + n] = T(0);
  }
  for (Index b = 0; b < s.batch; ++b) {
    for (Index t = 0; t < s.tokens; ++t) {
      for (Index n = 0; n < s.groups * s.states; ++n) {
        g.db.at(b, t, n / s.states)[n % s.states] = g.dc.at(b, t, n / s.states)[n % s.states] = T(0);
      }
    }
    for (Index c = 0; c < s.channels; ++c) {
      const detail::ScanChannel<T> x(s, in, b, c);
      std::vector<double> p;
      for (Index n = 0; n < s.states; ++n) {
        p.push_back(g.dlast == nullptr ? 0.0 : static_cast<double>(g.dlast[(b * s.channels + c) * s.states + n]));
      }
      for (Index t = s.tokens - 1; t >= 0; --t) {
        const double dout = g.dout ? x.at(g.dout, t) : 0.0, gy = dout * x.gate(t), u = x.at(in.u, t), dt = x.step(t);
        if (in.z) {
          const double sigmoid = 1 / (1 + std::exp(-x.at(in.z, t)));
          g.dz.at(b, t, 0)[c] = static_cast<T>(dout * x.ungated(t) * sigmoid * (1 + x.at(in.z, t) * (1 - sigmoid)));
        }
        double du = x.d() * gy, ddt = 0;
        for (Index n = 0; n < s.states; ++n) {
          double& pn = p[static_cast<std::size_t>(n)];
          pn += x.c_of(t, n) * gy;
          g.dc.at(b, t, x.group)[n] += static_cast<T>(x.h(t + 1, n) * gy);
          g.db.at(b, t, x.group)[n] += static_cast<T>(pn * dt * u);
          du += pn * dt * x.b_of(t, n);
          ddt += pn * (x.a(n) * x.decay(t, n) * x.h(t, n) + x.b_of(t, n) * u);
          g.da[c * s.states + n] += static_cast<T>(pn * dt * x.decay(t, n) * x.h(t, n));
          pn *= x.decay(t, n);
        }
        g.du.at(b, t, 0)[c] = static_cast<T>(du);
        g.ddelta.at(b, t, 0)[c] = static_cast<T>(ddt * x.step_slope(t));
        g.dbias[c] += static_cast<T>(ddt * x.step_slope(t));
        g.dd[c] += static_cast<T>(gy * u);
      }
      for (Index n = 0; n < s.states; ++n) {
        g.dinitial[(b * s.channels + c) * s.states + n] = static_cast<T>(p[static_cast<std::size_t>(n)]);
      }
    }
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
