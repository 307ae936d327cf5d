// The readable twin of recurrent.hpp: one sequence, one direction, in double.
#pragma once

#include <cmath>
#include <vector>

#include "aulos/kernels/naive/activation.hpp"
#include "aulos/kernels/recurrent.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

using Vector = std::vector<double>;

// What a sequence leaves at each of its steps, in the order in which they are walked.
struct RecurrentTrace {
  std::vector<Vector> h, c;   // [steps + 1]: h[0] and c[0] are the initial state
  std::vector<Vector> gate;   // [steps], G H values
  std::vector<Vector> inner;  // [steps]: W_hh h + b_hh
};

// token(step) gives the G H values x W_ih^T + b_ih of the step; w [G H, H], bias [G H].
template <class Token>
RecurrentTrace recurrent(RecurrentCell cell, Index steps, Index hidden, const Token& token, const Vector& w,
                         const Vector& bias, const Vector& h0, const Vector& c0) {
  const auto at = [hidden](Index gate, Index j) { return static_cast<std::size_t>(gate * hidden + j); };
  RecurrentTrace trace;
  trace.h.push_back(h0);
  trace.c.push_back(c0);
  for (Index step = 0; step < steps; ++step) {
    const Vector x = token(step);
    const Vector& h = trace.h.back();
    const Vector& c = trace.c.back();
    Vector inner = bias, gate(x.size()), next_h(h.size()), next_c(c.size());
    for (Index n = 0; n < static_cast<Index>(x.size()); ++n) {
      for (Index j = 0; j < hidden; ++j) inner[at(0, n)] += w[static_cast<std::size_t>(n * hidden + j)] * h[at(0, j)];
    }
    for (Index j = 0; j < hidden; ++j) {
      const auto sum = [&](Index g) { return x[at(g, j)] + inner[at(g, j)]; };
      if (cell == RecurrentCell::lstm) {
        gate[at(0, j)] = sigmoid(sum(0));
        gate[at(1, j)] = sigmoid(sum(1));
        gate[at(2, j)] = std::tanh(sum(2));
        gate[at(3, j)] = sigmoid(sum(3));
        next_c[at(0, j)] = gate[at(1, j)] * c[at(0, j)] + gate[at(0, j)] * gate[at(2, j)];
        next_h[at(0, j)] = gate[at(3, j)] * std::tanh(next_c[at(0, j)]);
      } else {
        gate[at(0, j)] = sigmoid(sum(0));
        gate[at(1, j)] = sigmoid(sum(1));
        gate[at(2, j)] = std::tanh(x[at(2, j)] + gate[at(0, j)] * inner[at(2, j)]);
        next_h[at(0, j)] = (1 - gate[at(1, j)]) * gate[at(2, j)] + gate[at(1, j)] * h[at(0, j)];
      }
    }
    trace.h.push_back(next_h);
    trace.c.push_back(next_c);
    trace.gate.push_back(gate);
    trace.inner.push_back(inner);
  }
  return trace;
}

// Gradients of sum_t <gy_t, h_t> + <gh, h_last> + <gc, c_last>.
struct RecurrentGradients {
  std::vector<Vector> x;  // of the tokens' part, step by step
  Vector w, bias, h0, c0;
};

inline RecurrentGradients recurrent_backward(RecurrentCell cell, Index hidden, const RecurrentTrace& trace,
                                             const Vector& w, const std::vector<Vector>& gy, const Vector& gh,
                                             const Vector& gc) {
  const auto at = [hidden](Index gate, Index j) { return static_cast<std::size_t>(gate * hidden + j); };
  const Index steps = static_cast<Index>(gy.size()), width = gates_of(cell) * hidden;
  RecurrentGradients to;
  to.x.resize(gy.size());
  to.w.assign(w.size(), 0);
  to.bias.assign(static_cast<std::size_t>(width), 0);
  Vector dh = gh, dc = gc;
  for (Index step = steps - 1; step >= 0; --step) {
    const auto s = static_cast<std::size_t>(step);
    const Vector& gate = trace.gate[s];
    Vector of_token(static_cast<std::size_t>(width)), of_inner(static_cast<std::size_t>(width));
    Vector next_dh(static_cast<std::size_t>(hidden), 0);
    for (Index j = 0; j < hidden; ++j) {
      const auto put = [&](Index g, double token, double inner) {
        of_token[at(g, j)] = token;
        of_inner[at(g, j)] = inner;
      };
      const double d = dh[at(0, j)] + gy[s][at(0, j)];
      if (cell == RecurrentCell::lstm) {
        const double i = gate[at(0, j)], f = gate[at(1, j)], g = gate[at(2, j)], o = gate[at(3, j)];
        const double bounded = std::tanh(trace.c[s + 1][at(0, j)]);
        const double cell_gradient = dc[at(0, j)] + d * o * (1 - bounded * bounded);
        const auto both = [&](Index which, double value) { put(which, value, value); };
        both(0, cell_gradient * g * i * (1 - i));
        both(1, cell_gradient * trace.c[s][at(0, j)] * f * (1 - f));
        both(2, cell_gradient * i * (1 - g * g));
        both(3, d * bounded * o * (1 - o));
        dc[at(0, j)] = cell_gradient * f;
      } else {
        const double r = gate[at(0, j)], z = gate[at(1, j)], n = gate[at(2, j)];
        const double dn = d * (1 - z) * (1 - n * n);
        const double dr = dn * trace.inner[s][at(2, j)] * r * (1 - r);
        const double dz = d * (trace.h[s][at(0, j)] - n) * z * (1 - z);
        put(0, dr, dr);
        put(1, dz, dz);
        put(2, dn, dn * r);
        next_dh[at(0, j)] = d * z;
      }
    }
    for (Index n = 0; n < width; ++n) {
      to.bias[at(0, n)] += of_inner[at(0, n)];
      for (Index j = 0; j < hidden; ++j) {
        to.w[static_cast<std::size_t>(n * hidden + j)] += of_inner[at(0, n)] * trace.h[s][at(0, j)];
        next_dh[at(0, j)] += of_inner[at(0, n)] * w[static_cast<std::size_t>(n * hidden + j)];
      }
    }
    to.x[s] = of_token;
    dh = next_dh;
  }
  to.h0 = dh;
  to.c0 = dc;
  return to;
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
