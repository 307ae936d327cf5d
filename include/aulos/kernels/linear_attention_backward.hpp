// Gradients of linear attention. States at the borders of chunks are computed again, not kept.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "aulos/kernels/linear_attention.hpp"
#include "aulos/simd/reduce.hpp"

namespace aulos::inline AULOS_ISA::kernels {

template <class T>
struct LinearAttentionGradients {
  HeadRows<const T> out{};       // the result; read with a normaliser only
  HeadRows<const T> dout{};      // absent: 0
  LinearState<const T> dlast{};  // absent: 0
  HeadRows<T> dq{}, dk{}, dv{};  // overwritten; absent: not wanted. With a feature map of what it is given
  LinearState<T> dinitial{};     // the same
  T* ddecay = nullptr;           // [B, H]: each sample's part of the gradient of the decay
};

namespace detail {

// With (v, 1) for v, and (dout, -dout . out) / sums for the gradient of its product with the weights, the normaliser
// needs no formula of its own. The state is [columns, D], transposed, so that the normaliser is one more row of a
// product and not one more panel; R, the gradient of the state behind a chunk, likewise.
template <class T>
struct LinearHeadBackward : LinearHead<T> {
  using Head = LinearHead<T>;
  using Head::b, Head::chunk, Head::h, Head::in, Head::rising, Head::s;

  // A chunk costs twice its own products here, a state kept for it as much memory as in the forward: fewer of them.
  static constexpr Index tokens = 64;

  const LinearAttentionGradients<T>& g;
  Index columns;
  T *state, *q, *k, *v;      // [columns, D], and of a chunk: scale phi(q) [m, D], phi(k) [m, D], (v, 1) [m, columns]
  T *q_decayed, *k_decayed;  // causal: row i times g^(i + 1), row j times g^(m - 1 - j)
  T *scores, *dscores;       // causal: [m, m], rows `chunk` apart
  T* sums;                   // [m], sums of the scores
  T *adjoint, *go;           // R [columns, D]; of a chunk: [m, columns]
  T *part, *other;           // of a chunk: [m, D or E]
  T *rising_slope, *falling_slope;  // d g^t / dg, as `rising` and `falling`
  T* borders;                       // states before each chunk
  double ddecay = 0;
  Scratch rest;  // for products

  static Index chunks(const LinearAttentionShape& s) {
    return s.form == LinearForm::causal ? (s.nk + tokens - 1) / tokens : 0;
  }
  static std::size_t bytes(const LinearAttentionShape& s) {
    constexpr Index chunk = tokens;
    const Index columns = s.columns(), d = s.width, widest = (std::max)(d, s.value_width);
    const bool causal = s.form == LinearForm::causal;
    return Head::bytes(chunk, 1) + (2 + static_cast<std::size_t>(chunks(s))) * scratch_size<T>(columns * d) +
           (causal ? 4 : 2) * scratch_size<T>(chunk * d) + 2 * scratch_size<T>(chunk * columns) +
           (causal ? 2 * scratch_size<T>(chunk * chunk) : 0) + scratch_size<T>(chunk) +
           2 * scratch_size<T>(chunk * widest) + 2 * scratch_size<T>(chunk + 1) +
           chunk::product_scratch<T>({{chunk, chunk, d},
                                      {chunk, chunk, columns},
                                      {chunk, s.value_width, d},
                                      {chunk, d, columns},
                                      {columns, d, chunk}});
  }

  LinearHeadBackward(const LinearAttentionShape& shape, const LinearAttentionOperands<T>& operands,
                     const LinearAttentionGradients<T>& gradients, Index item, Scratch scratch)
      : Head(shape, operands, {item / shape.heads, item % shape.heads, 1}, tokens, scratch),
        g(gradients),
        columns(s.columns()),
        state(scratch.take<T>(columns * s.width)),
        q(scratch.take<T>(chunk * s.width)),
        k(scratch.take<T>(chunk * s.width)),
        v(scratch.take<T>(chunk * columns)),
        q_decayed(q),
        k_decayed(k),
        scores(nullptr),
        dscores(nullptr),
        sums(scratch.take<T>(chunk)),
        adjoint(scratch.take<T>(columns * s.width)),
        go(scratch.take<T>(chunk * columns)),
        part(scratch.take<T>(chunk * (std::max)(s.width, s.value_width))),
        other(scratch.take<T>(chunk * (std::max)(s.width, s.value_width))),
        rising_slope(nullptr),
        falling_slope(nullptr),
        borders(scratch.take<T>(chunks(s) * columns * s.width)),
        rest(scratch) {
    if (s.form == LinearForm::causal) {
      scores = rest.take<T>(chunk * chunk);
      dscores = rest.take<T>(chunk * chunk);
    }
    if (rising == nullptr) return;
    q_decayed = rest.take<T>(chunk * s.width);
    k_decayed = rest.take<T>(chunk * s.width);
    rising_slope = rest.take<T>(chunk + 1);
    falling_slope = rest.take<T>(chunk + 1);
    double power = 1;
    rising_slope[0] = falling_slope[chunk] = T(0);
    for (Index t = 1; t <= chunk; ++t, power *= static_cast<double>(in.decay[h])) {
      rising_slope[t] = falling_slope[chunk - t] = static_cast<T>(static_cast<double>(t) * power);
    }
  }

  MatrixView<const T> k_rows(Index m) const { return chunk::matrix<T>(k, m, s.width, s.width); }
  MatrixView<const T> v_rows(Index m) const { return chunk::matrix<T>(v, m, columns, columns); }
  MatrixView<const T> score_rows(Index m) const { return chunk::matrix<T>(scores, m, m, chunk); }
  MatrixView<const T> state_rows(const T* of, Index rows) const { return chunk::matrix<T>(of, rows, s.width, s.width); }

  void read_state(T* to, const LinearState<const T>& from) const {
    const Index d = s.width, e = s.value_width;
    chunk::transpose(to, from.kv == nullptr ? nullptr : from.kv + Head::item() * d * e, d, e);
    if (!Head::normalised()) return;
    if (from.sum == nullptr) {
      std::fill_n(to + e * d, d, T(0));
    } else {
      std::copy_n(from.sum + Head::item() * d, d, to + e * d);
    }
  }
  void write_state(const LinearState<T>& to, const T* from) const {
    const Index d = s.width, e = s.value_width;
    if (to.kv != nullptr) chunk::transpose(to.kv + Head::item() * d * e, from, e, d);
    if (to.sum != nullptr && Head::normalised()) std::copy_n(from + e * d, d, to.sum + Head::item() * d);
  }

  void load_queries(Index first, Index m) {
    Head::features(q, in.q, first, m, static_cast<T>(s.scale));
    if (rising != nullptr) chunk::copy_rows(q_decayed, s.width, q, s.width, m, s.width, T(1), rising + 1);
  }
  void load_keys(Index first, Index m) {
    Head::key_features(k, first, m);
    Head::load_values(v, columns, first, m);
    for (Index j = 0; j < m && Head::normalised(); ++j) v[j * columns + s.value_width] = T(1);
    if (rising != nullptr) chunk::copy_rows(k_decayed, s.width, k, s.width, m, s.width, T(1), Head::key_weights(m));
  }

  // The state behind the chunk.
  void absorb(Index m) {
    const Index d = s.width, e = s.value_width;
    if (rising != nullptr) chunk::copy_rows(state, d, state, d, columns, d, rising[m]);
    const MatrixView<const T> values = chunk::matrix<T>(v, m, e, columns);
    chunk::product(values.transposed(), chunk::matrix<T>(k_decayed, m, d, d), state, d, Update::add, rest);
    if (!Head::normalised()) return;
    simd::for_lanes<T>(d, [&](Index c, auto lanes) {
      simd::Batch<T> sum(T(0));
      for (Index j = 0; j < m; ++j) sum += lanes.load(k_decayed + j * d + c);
      lanes.store(state + e * d + c, lanes.load(state + e * d + c) + sum);
    });
  }

  // q k^T, not yet weighted: above the diagonal it is meaningless.
  void score(Index m) {
    chunk::product(chunk::matrix<T>(q, m, s.width, s.width), k_rows(m).transposed(), scores, chunk, Update::assign,
                   rest, chunk::Cover::lower);
  }

  // sums_i = sum_j of weighted scores + q_i . z + eps
  void sum_scores(Index m) {
    const T* z = state + s.value_width * s.width;
    for (Index i = 0; i < m; ++i) {
      const T* query = q_decayed + i * s.width;
      simd::Batch<T> sum(T(0));
      simd::for_lanes<T>(s.width,
                         [&](Index c, auto lanes) { sum = simd::fma(lanes.load(query + c), lanes.load(z + c), sum); });
      if (scores != nullptr) {
        simd::for_lanes<T>(i + 1, [&](Index j, auto lanes) { sum += lanes.load(scores + i * chunk + j); });
      }
      sums[i] = static_cast<T>(static_cast<double>(simd::reduce_add(sum)) + s.eps);
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
  // Gradients of phi(x) become those of x.
  void through_feature(const HeadRows<T>& to, const HeadRows<const T>& x, Index first, Index m) const {
    if (!to || in.feature.gradient == nullptr) return;
    in.feature.gradient(to.at(b, first, h), to.token, x.at(b, first, h), x.token, m, s.width);
  }
  // A dropped key and its value have no gradient.
  void finish_keys(Index first, Index m) const {
    through_feature(g.dk, in.k, first, m);
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
    load_queries(first, m);
    load_keys(first, m);
    score(m);
    if (Head::normalised()) {
      std::swap(scores, dscores);  // the weighted scores, for their sums
      std::copy_n(dscores, chunk * (m - 1) + m, scores);
      Head::weigh(scores, m);
      sum_scores(m);
      std::swap(scores, dscores);
    }
    load_output_gradient(first, m);
    chunk::product(go_rows(m), v_rows(m).transposed(), dscores, chunk, Update::assign, rest);
    weigh_both(m);
    if (g.dq || rising != nullptr) {
      chunk::triangle_product(chunk::Triangle::lower, dscore_rows(m), k, d, d, part, d, Update::assign);
      chunk::product(go_rows(m), state_rows(state, columns), other, d, Update::assign, rest);
      const T *weight = rising == nullptr ? nullptr : rising + 1,
              *slope = rising == nullptr ? nullptr : rising_slope + 1;
      write_rows(g.dq, first, m, part, other, weight, slope, q, d, static_cast<T>(s.scale));
      through_feature(g.dq, in.q, first, m);
    }
    if (g.dk || rising != nullptr) {
      chunk::triangle_product(chunk::Triangle::upper, dscore_rows(m).transposed(), q, d, d, part, d, Update::assign);
      chunk::product(v_rows(m), state_rows(adjoint, columns), other, d, Update::assign, rest);
      const T* slope = rising == nullptr ? nullptr : falling_slope + chunk - m + 1;
      write_rows(g.dk, first, m, part, other, Head::key_weights(m), slope, k, d, T(1));
    }
    if (g.dv) {
      const MatrixView<const T> keys = chunk::matrix<T>(k_decayed, m, d, d);
      chunk::triangle_product(chunk::Triangle::upper, score_rows(m).transposed(), go, columns, e, part, e,
                              Update::assign);
      chunk::product(keys, state_rows(adjoint, e).transposed(), other, e, Update::assign, rest);
      write_rows(g.dv, first, m, part, other, nullptr, nullptr, nullptr, e, T(1));
    }
    finish_keys(first, m);
    if (rising != nullptr) {
      ddecay += static_cast<double>(rising_slope[m]) * chunk::dot(adjoint, state, columns * d);
      chunk::copy_rows(adjoint, d, adjoint, d, columns, d, rising[m]);
    }
    add_to_adjoint(m);
  }

  void causal() {
    const Index count = chunks(s), size = columns * s.width;
    if (count > 0) read_state(borders, in.initial);
    for (Index c = 0; c + 1 < count; ++c) {
      state = borders + (c + 1) * size;
      std::copy_n(borders + c * size, size, state);
      load_keys(c * chunk, chunk);
      absorb(chunk);
    }
    read_state(adjoint, {g.dlast.kv, g.dlast.sum});
    for (Index c = count - 1; c >= 0; --c) {
      state = borders + c * size;
      causal_chunk(c * chunk, (std::min)(chunk, s.nk - c * chunk));
    }
  }

  void full() {
    const Index d = s.width, e = s.value_width;
    read_state(state, in.initial);
    for (Index first = 0; first < s.nk; first += chunk) {
      const Index m = (std::min)(chunk, s.nk - first);
      load_keys(first, m);
      absorb(m);
    }
    read_state(adjoint, {g.dlast.kv, g.dlast.sum});
    for (Index first = 0; first < s.nq; first += chunk) {
      const Index m = (std::min)(chunk, s.nq - first);
      load_queries(first, m);
      if (Head::normalised()) sum_scores(m);
      load_output_gradient(first, m);
      if (g.dq) {
        chunk::product(go_rows(m), state_rows(state, columns), other, d, Update::assign, rest);
        write_rows(g.dq, first, m, nullptr, other, nullptr, nullptr, nullptr, d, static_cast<T>(s.scale));
        through_feature(g.dq, in.q, first, m);
      }
      add_to_adjoint(m);
    }
    for (Index first = 0; first < s.nk && (g.dk || g.dv); first += chunk) {
      const Index m = (std::min)(chunk, s.nk - first);
      load_keys(first, m);
      if (g.dk) {
        chunk::product(v_rows(m), state_rows(adjoint, columns), other, d, Update::assign, rest);
        write_rows(g.dk, first, m, nullptr, other, nullptr, nullptr, nullptr, d, T(1));
      }
      if (g.dv) {
        chunk::product(k_rows(m), state_rows(adjoint, e).transposed(), other, e, Update::assign, rest);
        write_rows(g.dv, first, m, nullptr, other, nullptr, nullptr, nullptr, e, T(1));
      }
      finish_keys(first, m);
    }
  }

  void run() {
    if (s.form == LinearForm::causal) {
      causal();
    } else {
      full();
    }
    write_state(g.dinitial, adjoint);
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
