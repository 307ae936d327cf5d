// Gradients of the delta rule. States at the borders of chunks are computed again, not kept.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "aulos/kernels/delta_rule.hpp"

namespace aulos::inline AULOS_ISA::kernels {

template <class T>
struct DeltaRuleGradients {
  HeadRows<const T> dout{};      // absent: 0
  const T* dlast = nullptr;      // the same
  HeadRows<T> dq{}, dk{}, dv{};  // overwritten; absent: not wanted
  HeadRows<T> dbeta{};           // the same, by its strides
  T* dinitial = nullptr;         // the same
};

namespace detail {

// R is the gradient of the state behind a chunk, x that of e before beta, y = beta x that of v.
template <class T>
struct DeltaHeadBackward : DeltaHead<T> {
  using Head = DeltaHead<T>;
  using Head::b, Head::beta, Head::chunk, Head::e, Head::h, Head::in, Head::k, Head::keys, Head::mixing, Head::q,
      Head::rest, Head::s, Head::scores, Head::square, Head::state, Head::state_of, Head::u, Head::values;

  const DeltaRuleGradients<T>& g;
  T *adjoint, *go, *x, *y, *negative_y;  // R [D, E]; [m, E]
  T *dscores, *rows;                     // [m, m]; [m, D]
  T* borders;                            // states before each chunk

  static Index chunks(const DeltaRuleShape& s) { return (s.tokens + chunk - 1) / chunk; }
  static std::size_t bytes(const DeltaRuleShape& s) {
    const Index size = s.width * s.value_width;
    return Head::bytes(s) + scratch_size<T>(size) + 4 * scratch_size<T>(chunk * s.value_width) +
           scratch_size<T>(chunk * chunk) + scratch_size<T>(chunk * s.width) + scratch_size<T>(chunks(s) * size);
  }

  DeltaHeadBackward(const DeltaRuleShape& shape, const DeltaRuleOperands<T>& operands,
                    const DeltaRuleGradients<T>& gradients, Index item, Scratch scratch)
      : Head(shape, operands, item, scratch),
        g(gradients),
        adjoint(rest.template take<T>(Head::state_size())),
        go(rest.template take<T>(chunk * s.value_width)),
        x(rest.template take<T>(chunk * s.value_width)),
        y(rest.template take<T>(chunk * s.value_width)),
        negative_y(rest.template take<T>(chunk * s.value_width)),
        dscores(rest.template take<T>(chunk * chunk)),
        rows(rest.template take<T>(chunk * s.width)),
        borders(rest.template take<T>(chunks(s) * Head::state_size())) {}

  void load_output_gradient(Index first, Index m) {
    const Index width = s.value_width;
    if (g.dout) {
      chunk::copy_rows(go, width, g.dout.at(b, first, h), g.dout.token, m, width, T(1));
    } else {
      std::fill_n(go, m * width, T(0));
    }
  }

  // x: the transposed triangular system, last rows first.
  void solve_transposed(Index m) {
    const Index width = s.value_width;
    chunk::triangle_product(chunk::Triangle::upper, square(scores, m).transposed(), go, width, width, x, width,
                            Update::assign);
    chunk::product(keys(k, m), state_of(adjoint), x, width, Update::add, rest);
    for (Index from = (m - 1) / delta_block * delta_block; from >= 0; from -= delta_block) {
      const Index end = (std::min)(from + delta_block, m);
      const MatrixView<const T> below = chunk::matrix<T>(mixing + end * chunk + from, m - end, end - from, chunk);
      chunk::product(below.transposed(), values(y + end * width, m - end), x + from * width, width, Update::add, rest);
      for (Index t = end - 1; t >= from; --t) {
        for (Index i = t + 1; i < end; ++i) chunk::add_row(x + t * width, y + i * width, width, mixing[i * chunk + t]);
        chunk::copy_rows(y + t * width, width, x + t * width, width, 1, width, beta[t]);
      }
    }
    chunk::copy_rows(negative_y, width, y, width, m, width, T(-1));
  }

  // One chunk, the state before it in `state`.
  void chunk_backward(Index first, Index m) {
    const Index d = s.width, width = s.value_width;
    Head::correct(first, m);
    Head::score(first, m);
    load_output_gradient(first, m);
    solve_transposed(m);
    for (Index t = 0; t < m && g.dbeta; ++t) {
      *g.dbeta.at(b, first + t, h) = static_cast<T>(chunk::dot(x + t * width, e + t * width, width));
    }
    if (g.dv) chunk::copy_rows(g.dv.at(b, first, h), g.dv.token, y, width, m, width, T(1));
    chunk::product(values(go, m), values(u, m).transposed(), dscores, chunk, Update::assign, rest);
    if (g.dq) {
      chunk::triangle_product(chunk::Triangle::lower, square(dscores, m), k, d, d, rows, d, Update::assign);
      chunk::product(values(go, m), state_of(state).transposed(), rows, d, Update::add, rest);
      chunk::copy_rows(g.dq.at(b, first, h), g.dq.token, rows, d, m, d, static_cast<T>(s.scale));
    }
    if (g.dk) {
      T* dk = g.dk.at(b, first, h);
      const Index stride = g.dk.token;
      // Below its diagonal, the gradient of beta k k^T.
      chunk::product(values(negative_y, m), values(u, m).transposed(), mixing, chunk, Update::assign, rest);
      const MatrixView<const T> of_keys = square(mixing, m);
      chunk::triangle_product(chunk::Triangle::upper, square(dscores, m).transposed(), q, d, d, dk, stride,
                              Update::assign);
      chunk::triangle_product(chunk::Triangle::strictly_lower, of_keys, k, d, d, dk, stride, Update::add);
      chunk::triangle_product(chunk::Triangle::strictly_upper, of_keys.transposed(), k, d, d, dk, stride, Update::add);
      chunk::product(values(u, m), state_of(adjoint).transposed(), dk, stride, Update::add, rest);
      chunk::product(values(negative_y, m), state_of(state).transposed(), dk, stride, Update::add, rest);
    }
    chunk::product(keys(q, m).transposed(), values(go, m), adjoint, width, Update::add, rest);
    chunk::product(keys(k, m).transposed(), values(negative_y, m), adjoint, width, Update::add, rest);
  }

  void run() {
    const Index count = chunks(s), size = Head::state_size();
    if (count > 0) Head::read_state(borders, in.initial);
    for (Index c = 0; c + 1 < count; ++c) {
      state = borders + (c + 1) * size;
      std::copy_n(borders + c * size, size, state);
      Head::correct(c * chunk, chunk);
      Head::absorb(chunk);
    }
    Head::read_state(adjoint, g.dlast);
    for (Index c = count - 1; c >= 0; --c) {
      state = borders + c * size;
      chunk_backward(c * chunk, (std::min)(chunk, s.tokens - c * chunk));
    }
    if (g.dinitial != nullptr) std::copy_n(adjoint, size, g.dinitial + Head::item() * size);
  }
};

}  // namespace detail

// Bytes of scratch that a running piece of delta_rule_backward needs.
template <class T>
std::size_t delta_rule_backward_scratch(const DeltaRuleShape& s) {
  return detail::DeltaHeadBackward<T>::bytes(s);
}

// The gradients of delta_rule. With R the gradient of the state S behind a chunk, O = dout, scale q for q, and
// e, u of delta_rule.hpp: du = tril(q k^T)^T O + k R; x solves the transposed system of e, y = beta x;
//   dv = y, dbeta_t = x_t . e_t, dq = scale (tril(O u^T) k + O S^T),
//   dk = tril(O u^T)^T q + u R^T - y S^T + (M + M^T) k with M = -stril(y u^T);  R before the chunk = R + q^T O - k^T y.
// About 2.5 times the cost of the forward. Every chunk border's state is kept in scratch: N / 64 of them a head.
template <class T>
void delta_rule_backward(Threads threads, const DeltaRuleShape& s, const std::type_identity_t<DeltaRuleOperands<T>>& in,
                         const DeltaRuleGradients<T>& gradients) {
  threads.run(s.batch * s.heads, [&](Index item, Scratch& scratch) {
    detail::DeltaHeadBackward<T>(s, in, gradients, item, scratch).run();
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
