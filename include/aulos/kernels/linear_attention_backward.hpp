// Gradients of linear attention. States at the borders of chunks are computed again, not kept.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "aulos/kernels/linear_attention.hpp"

namespace aulos::inline AULOS_ISA::kernels {

template <class T>
struct LinearAttentionGradients {
  HeadRows<const T> out{};       // the result; read with a normaliser only
  HeadRows<const T> dout{};      // absent: 0
  LinearState<const T> dlast{};  // absent: 0
  HeadRows<T> dq{}, dk{}, dv{};  // overwritten; absent: not wanted
  LinearState<T> dinitial{};     // the same
  T* ddecay = nullptr;           // [B, H]: each sample's part of the gradient of the decay
};

namespace detail {

// With (v, 1) for v, and (dout, -dout . out) / sums for the gradient of its product with the weights, the normaliser
// needs no formula of its own. R is the gradient of the state behind a chunk, transposed as the state is.
template <class T>
struct LinearHeadBackward : LinearHead<T> {
  using Head = LinearHead<T>;
  using Head::b, Head::chunk, Head::columns, Head::h, Head::in, Head::k, Head::k_decayed, Head::q, Head::q_decayed,
      Head::rest, Head::rising, Head::s, Head::scores, Head::state, Head::sums, Head::v;

  const LinearAttentionGradients<T>& g;
  T *adjoint, *go, *dscores, *part, *other;  // R; of a chunk: [m, columns], [m, m], and two times [m, D or E]
  T *rising_slope, *falling_slope;           // d g^t / dg, as `rising` and `falling`
  T* borders;                                // states before each chunk
  double ddecay = 0;

  static Index chunks(const LinearAttentionShape& s) {
    return s.form == LinearForm::causal ? (s.nk + s.chunk() - 1) / s.chunk() : 0;
  }
  static std::size_t bytes(const LinearAttentionShape& s) {
    const Index chunk = s.chunk(), columns = s.columns(), widest = (std::max)(s.width, s.value_width);
    const bool causal = s.form == LinearForm::causal;
    return Head::bytes(s) + scratch_size<T>(columns * s.width) + scratch_size<T>(chunk * columns) +
           2 * scratch_size<T>(chunk * widest) + (causal ? scratch_size<T>(chunk * chunk) : 0) +
           2 * scratch_size<T>(chunk + 1) + scratch_size<T>(chunks(s) * columns * s.width) +
           chunk::product_scratch<T>({{chunk, s.value_width, s.width}});
  }

  LinearHeadBackward(const LinearAttentionShape& shape, const LinearAttentionOperands<T>& operands,
                     const LinearAttentionGradients<T>& gradients, Index item, Scratch scratch)
      : Head(shape, operands, item, scratch),
        g(gradients),
        adjoint(rest.template take<T>(columns * s.width)),
        go(rest.template take<T>(chunk * columns)),
        dscores(nullptr),
        part(rest.template take<T>(chunk * (std::max)(s.width, s.value_width))),
        other(rest.template take<T>(chunk * (std::max)(s.width, s.value_width))),
        rising_slope(nullptr),
        falling_slope(nullptr),
        borders(rest.template take<T>(chunks(s) * columns * s.width)) {
    if (s.form == LinearForm::causal) dscores = rest.template take<T>(chunk * chunk);
    if (rising == nullptr) return;
    rising_slope = rest.template take<T>(chunk + 1);
    falling_slope = rest.template take<T>(chunk + 1);
    double power = 1;
    rising_slope[0] = falling_slope[chunk] = T(0);
    for (Index t = 1; t <= chunk; ++t, power *= static_cast<double>(in.decay[h])) {
      rising_slope[t] = falling_slope[chunk - t] = static_cast<T>(static_cast<double>(t) * power);
    }
  }

  MatrixView<const T> go_rows(Index m) const { return chunk::matrix<T>(go, m, columns, columns); }
  MatrixView<const T> dscore_rows(Index m) const { return chunk::matrix<T>(dscores, m, m, chunk); }

  // The gradient of the products with (v, 1).
  void load_output_gradient(Index first, Index m) {
    const Index e = s.value_width;
    for (Index i = 0; i < m; ++i) {
      T* row = go + i * columns;
      if (!g.dout) {
        std::fill_n(row, columns, T(0));
        continue;
      }
      const T* from = g.dout.at(b, first + i, h);
      const T inverse = Head::normalised() ? T(1) / sums[i] : T(1);
      chunk::copy_rows(row, 0, from, 0, 1, e, inverse);
      if (Head::normalised()) row[e] = -inverse * static_cast<T>(chunk::dot(from, g.out.at(b, first + i, h), e));
    }
  }

  // Turns scores and their gradients into weighted scores and the gradients of the products q k^T.
  void weigh_both(Index m) {
    for (Index i = 0; i < m && rising != nullptr; ++i) {
      const T *slope = falling_slope + chunk - i, *p = scores + i * chunk, *dp = dscores + i * chunk;
      ddecay += simd::sum_row<T, 1>(i + 1, [&](Index j, auto lanes, auto& sum) {
        sum[0] = simd::fma(lanes.load(dp + j) * lanes.load(p + j), lanes.load(slope + j), sum[0]);
      })[0];
    }
    Head::weigh(scores, m);
    Head::weigh(dscores, m);
  }

  // to_r = factor (from_r + weight_r more_r), and the part of the decay's gradient: its slope times x_r . more_r.
  void write_rows(const HeadRows<T>& to, Index first, Index m, const T* from, const T* more, const T* weight,
                  const T* slope, const T* x, Index width, T factor) {
    for (Index r = 0; r < m; ++r) {
      const T* plus = more + r * width;
      if (slope != nullptr) ddecay += static_cast<double>(slope[r]) * chunk::dot(x + r * width, plus, width);
      if (!to) continue;
      T* row = to.at(b, first + r, h);
      const simd::Batch<T> w(weight == nullptr ? T(1) : weight[r]), f(factor);
      simd::for_lanes<T>(width, [&](Index c, auto lanes) {
        const auto own = from == nullptr ? simd::Batch<T>(T(0)) : lanes.load(from + r * width + c);
        lanes.store(row + c, f * simd::fma(w, lanes.load(plus + c), own));
      });
    }
  }
  // A dropped key and its value have no gradient.
  void clear_dropped(Index first, Index m) const {
    for (Index j = 0; j < m; ++j) {
      if (Head::kept(first + j)) continue;
      if (g.dk) std::fill_n(g.dk.at(b, first + j, h), s.width, T(0));
      if (g.dv) std::fill_n(g.dv.at(b, first + j, h), s.value_width, T(0));
    }
  }

  void add_to_adjoint(Index m) {
    const MatrixView<const T> queries = chunk::matrix<T>(q_decayed, m, s.width, s.width);
    chunk::product(go_rows(m).transposed(), queries, adjoint, s.width, Update::add, rest);
  }

  // One chunk of the causal form, the state before it in `state`.
  void causal_chunk(Index first, Index m) {
    const Index d = s.width, e = s.value_width;
    Head::load_queries(first, m);
    Head::load_keys(first, m);
    Head::score(m);
    if (Head::normalised()) {
      std::swap(scores, dscores);  // the weighted scores, for their sums
      std::copy_n(dscores, chunk * (m - 1) + m, scores);
      Head::weigh(scores, m);
      Head::sum_scores(m);
      std::swap(scores, dscores);
    }
    load_output_gradient(first, m);
    chunk::product(go_rows(m), Head::v_rows(m).transposed(), dscores, chunk, Update::assign, rest);
    weigh_both(m);
    if (g.dq || rising != nullptr) {
      chunk::triangle_product(chunk::Triangle::lower, dscore_rows(m), k, d, d, part, d, Update::assign);
      chunk::product(go_rows(m), Head::state_rows(state, columns), other, d, Update::assign, rest);
      const T *weight = rising == nullptr ? nullptr : rising + 1,
              *slope = rising == nullptr ? nullptr : rising_slope + 1;
      write_rows(g.dq, first, m, part, other, weight, slope, q, d, static_cast<T>(s.scale));
    }
    if (g.dk || rising != nullptr) {
      chunk::triangle_product(chunk::Triangle::upper, dscore_rows(m).transposed(), q, d, d, part, d, Update::assign);
      chunk::product(Head::v_rows(m), Head::state_rows(adjoint, columns), other, d, Update::assign, rest);
      const T* slope = rising == nullptr ? nullptr : falling_slope + chunk - m + 1;
      write_rows(g.dk, first, m, part, other, Head::key_weights(m), slope, k, d, T(1));
    }
    if (g.dv) {
      const MatrixView<const T> keys = chunk::matrix<T>(k_decayed, m, d, d);
      chunk::triangle_product(chunk::Triangle::upper, Head::score_rows(m).transposed(), go, columns, e, part, e,
                              Update::assign);
      chunk::product(keys, Head::state_rows(adjoint, e).transposed(), other, e, Update::assign, rest);
      write_rows(g.dv, first, m, part, other, nullptr, nullptr, nullptr, e, T(1));
    }
    clear_dropped(first, m);
    if (rising != nullptr) {
      ddecay += static_cast<double>(rising_slope[m]) * chunk::dot(adjoint, state, columns * d);
      chunk::copy_rows(adjoint, d, adjoint, d, columns, d, rising[m]);
    }
    add_to_adjoint(m);
  }

  void causal() {
    const Index count = chunks(s), size = columns * s.width;
    if (count > 0) Head::read_state(borders, in.initial);
    for (Index c = 0; c + 1 < count; ++c) {
      state = borders + (c + 1) * size;
      std::copy_n(borders + c * size, size, state);
      Head::load_keys(c * chunk, chunk);
      Head::absorb(chunk);
    }
    Head::read_state(adjoint, {g.dlast.kv, g.dlast.sum});
    for (Index c = count - 1; c >= 0; --c) {
      state = borders + c * size;
      causal_chunk(c * chunk, (std::min)(chunk, s.nk - c * chunk));
    }
  }

  void full() {
    const Index d = s.width, e = s.value_width;
    Head::read_state(state, in.initial);
    for (Index first = 0; first < s.nk; first += chunk) {
      const Index m = (std::min)(chunk, s.nk - first);
      Head::load_keys(first, m);
      Head::absorb(m);
    }
    Head::read_state(adjoint, {g.dlast.kv, g.dlast.sum});
    for (Index first = 0; first < s.nq; first += chunk) {
      const Index m = (std::min)(chunk, s.nq - first);
      Head::load_queries(first, m);
      if (Head::normalised()) Head::sum_scores(m);
      load_output_gradient(first, m);
      if (g.dq) {
        chunk::product(go_rows(m), Head::state_rows(state, columns), other, d, Update::assign, rest);
        write_rows(g.dq, first, m, nullptr, other, nullptr, nullptr, nullptr, d, static_cast<T>(s.scale));
      }
      add_to_adjoint(m);
    }
    for (Index first = 0; first < s.nk && (g.dk || g.dv); first += chunk) {
      const Index m = (std::min)(chunk, s.nk - first);
      Head::load_keys(first, m);
      if (g.dk) {
        chunk::product(Head::v_rows(m), Head::state_rows(adjoint, columns), other, d, Update::assign, rest);
        write_rows(g.dk, first, m, nullptr, other, nullptr, nullptr, nullptr, d, T(1));
      }
      if (g.dv) {
        chunk::product(Head::k_rows(m), Head::state_rows(adjoint, e).transposed(), other, e, Update::assign, rest);
        write_rows(g.dv, first, m, nullptr, other, nullptr, nullptr, nullptr, e, T(1));
      }
      clear_dropped(first, m);
    }
  }

  void run() {
    if (s.form == LinearForm::causal) {
      causal();
    } else {
      full();
    }
    Head::write_state(g.dinitial, adjoint);
    if (g.ddecay != nullptr) g.ddecay[Head::item()] = static_cast<T>(ddecay);
  }
};

}  // namespace detail

// Bytes of scratch that a running piece of linear_attention_backward needs.
template <class T>
std::size_t linear_attention_backward_scratch(const LinearAttentionShape& s) {
  return detail::LinearHeadBackward<T>::bytes(s);
}

// The gradients of linear_attention. With R the gradient of the state S behind a chunk, W its weighted scores, P the
// plain ones, O = dout and G the powers of the decay g:
//   dW = O v^T, dP = dW * G;  dq = dP k + g^(i+1) O S^T;  dk = dP^T q + g^(m-1-j) v R^T;  dv = W^T O + g^(m-1-j) k R;
//   R before the chunk = g^m R + sum_i g^(i+1) q_i O_i^T;  dg = what each of these powers was multiplied by.
// About 2.5 times the cost of the forward. Sums over tokens in T within a chunk and from chunk to chunk, the decay's in
// double. The gradient of the decay is per sample: [B, H], to be summed over B.
template <class T>
void linear_attention_backward(Threads threads, const LinearAttentionShape& s,
                               const std::type_identity_t<LinearAttentionOperands<T>>& in,
                               const LinearAttentionGradients<T>& gradients) {
  threads.run(s.batch * s.heads, [&](Index item, Scratch& scratch) {
    detail::LinearHeadBackward<T>(s, in, gradients, item, scratch).run();
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
