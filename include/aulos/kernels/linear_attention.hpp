// Linear attention: the scores are products of features, so that all keys of the past are one state of fixed size.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "aulos/core/threads.hpp"
#include "aulos/kernels/attention_sides.hpp"
#include "aulos/kernels/chunk.hpp"
#include "aulos/simd/reduce.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// Which keys a query sees: all of them, or those up to its own position (what comes later, NaN too, changes nothing).
enum class LinearForm { full, causal };

// By what the result is divided: nothing, or the sum of the scores plus eps.
enum class Normaliser { none, score_sum };

// q [B, Nq, H, D], k [B, Nk, H, D], v [B, Nk, H, E]; Nq = Nk in the causal form.
struct LinearAttentionShape {
  Index batch = 0, heads = 0, nq = 0, nk = 0;
  Index width = 0, value_width = 0;  // D, E
  LinearForm form = LinearForm::full;
  Normaliser normaliser = Normaliser::none;
  double scale = 1.0;
  double eps = 0.0;

  // Tokens that are taken together.
  static constexpr Index chunk() noexcept { return 64; }
  // Columns of the values with the column of ones whose product is the sum of the scores.
  constexpr Index columns() const noexcept { return value_width + (normaliser == Normaliser::score_sum ? 1 : 0); }
};

// S = sum_j k_j v_j^T, dense [B, H, D, E], and z = sum_j k_j, [B, H, D]; z exists only with a normaliser.
template <class T>
struct LinearState {
  T* kv = nullptr;
  T* sum = nullptr;
};

template <class T>
struct LinearAttentionOperands {
  HeadRows<const T> q, k, v;
  const T* decay = nullptr;            // [H], the factor of the state from token to token; absent: 1
  const std::uint8_t* keep = nullptr;  // [B, Nk], 0 drops a key; absent: all are kept
  Index keep_batch = 0;                // its stride
  LinearState<const T> initial{};      // what was seen before the first token; absent: nothing
};

namespace detail {

// One head of one sample: its scratch, and the steps of which forward and backward consist. The state is kept
// transposed, [columns, D], so that the normaliser is one more row of a product and not one more panel.
template <class T>
struct LinearHead {
  const LinearAttentionShape& s;
  const LinearAttentionOperands<T>& in;
  Index b, h, chunk, columns;
  T *state, *q, *k, *v;      // [columns, D], and of a chunk: scale q [m, D], k [m, D], (v, 1) [m, columns]
  T *q_decayed, *k_decayed;  // causal: row i times g^(i + 1), row j times g^(m - 1 - j)
  T* scores;                 // causal: [m, m], rows `chunk` apart
  T* sums;                   // [m], sums of the scores
  T* result;                 // [m, E], before it is divided
  T *rising, *falling;       // g^t at [t] and at [chunk - t]; with decay
  Scratch rest;              // for products

  static std::size_t bytes(const LinearAttentionShape& s) {
    const Index chunk = s.chunk(), columns = s.columns(), d = s.width;
    const bool causal = s.form == LinearForm::causal;
    return scratch_size<T>(columns * d) + (causal ? 4 : 2) * scratch_size<T>(chunk * d) +
           scratch_size<T>(chunk * columns) + (causal ? scratch_size<T>(chunk * chunk) : 0) + scratch_size<T>(chunk) +
           scratch_size<T>(chunk * s.value_width) + 2 * scratch_size<T>(chunk + 1) +
           chunk::product_scratch<T>({{chunk, chunk, d},
                                      {chunk, chunk, columns},
                                      {chunk, columns, d},
                                      {columns, d, chunk},
                                      {chunk, d, columns}});
  }

  LinearHead(const LinearAttentionShape& shape, const LinearAttentionOperands<T>& operands, Index item, Scratch scratch)
      : s(shape),
        in(operands),
        b(item / shape.heads),
        h(item % shape.heads),
        chunk(shape.chunk()),
        columns(shape.columns()),
        state(scratch.take<T>(columns * shape.width)),
        q(scratch.take<T>(chunk * shape.width)),
        k(scratch.take<T>(chunk * shape.width)),
        v(scratch.take<T>(chunk * columns)),
        q_decayed(q),
        k_decayed(k),
        scores(nullptr),
        sums(scratch.take<T>(chunk)),
        result(scratch.take<T>(chunk * shape.value_width)),
        rising(nullptr),
        falling(nullptr),
        rest(scratch) {
    if (s.form == LinearForm::causal) scores = rest.take<T>(chunk * chunk);
    if (in.decay == nullptr) return;
    q_decayed = rest.take<T>(chunk * s.width);
    k_decayed = rest.take<T>(chunk * s.width);
    rising = rest.take<T>(chunk + 1);
    falling = rest.take<T>(chunk + 1);
    double power = 1;
    for (Index t = 0; t <= chunk; ++t, power *= static_cast<double>(in.decay[h])) {
      rising[t] = falling[chunk - t] = static_cast<T>(power);
    }
  }

  bool normalised() const { return columns > s.value_width; }
  bool kept(Index token) const { return in.keep == nullptr || in.keep[b * in.keep_batch + token] != 0; }
  Index item() const { return b * s.heads + h; }
  T chunk_decay(Index m) const { return rising == nullptr ? T(1) : rising[m]; }
  // Weights of the keys at the end of a chunk of m; of key j in row i, from j = 0 on.
  const T* key_weights(Index m) const { return falling == nullptr ? nullptr : falling + chunk - m + 1; }
  const T* row_weights(Index i) const { return falling == nullptr ? nullptr : falling + chunk - i; }

  MatrixView<const T> q_rows(Index m) const { return chunk::matrix<T>(q, m, s.width, s.width); }
  MatrixView<const T> k_rows(Index m) const { return chunk::matrix<T>(k, m, s.width, s.width); }
  MatrixView<const T> v_rows(Index m) const { return chunk::matrix<T>(v, m, columns, columns); }
  MatrixView<const T> score_rows(Index m) const { return chunk::matrix<T>(scores, m, m, chunk); }
  MatrixView<const T> state_rows(const T* of, Index rows) const { return chunk::matrix<T>(of, rows, s.width, s.width); }

  void read_state(T* to, const LinearState<const T>& from) const {
    const Index d = s.width, e = s.value_width;
    chunk::transpose(to, from.kv == nullptr ? nullptr : from.kv + item() * d * e, d, e);
    if (!normalised()) return;
    if (from.sum == nullptr) {
      std::fill_n(to + e * d, d, T(0));
    } else {
      std::copy_n(from.sum + item() * d, d, to + e * d);
    }
  }
  void write_state(const LinearState<T>& to, const T* from) const {
    const Index d = s.width, e = s.value_width;
    if (to.kv != nullptr) chunk::transpose(to.kv + item() * d * e, from, e, d);
    if (to.sum != nullptr && normalised()) std::copy_n(from + e * d, d, to.sum + item() * d);
  }

  void load_queries(Index first, Index m) {
    chunk::copy_rows(q, s.width, in.q.at(b, first, h), in.q.token, m, s.width, static_cast<T>(s.scale));
    if (rising != nullptr) chunk::copy_rows(q_decayed, s.width, q, s.width, m, s.width, T(1), rising + 1);
  }
  void load_keys(Index first, Index m) {
    if (in.keep == nullptr) {
      chunk::copy_rows(k, s.width, in.k.at(b, first, h), in.k.token, m, s.width, T(1));
      chunk::copy_rows(v, columns, in.v.at(b, first, h), in.v.token, m, s.value_width, T(1));
    }
    for (Index j = 0; j < m; ++j) {
      if (in.keep != nullptr && kept(first + j)) {
        std::copy_n(in.k.at(b, first + j, h), s.width, k + j * s.width);
        std::copy_n(in.v.at(b, first + j, h), s.value_width, v + j * columns);
      } else if (in.keep != nullptr) {
        std::fill_n(k + j * s.width, s.width, T(0));
        std::fill_n(v + j * columns, s.value_width, T(0));
      }
      if (normalised()) v[j * columns + s.value_width] = T(1);
    }
    if (rising != nullptr) chunk::copy_rows(k_decayed, s.width, k, s.width, m, s.width, T(1), key_weights(m));
  }

  // The state behind the chunk.
  void absorb(Index m, chunk::RowsAhead<T>* ahead = nullptr) {
    const Index d = s.width, e = s.value_width;
    if (rising != nullptr) chunk::copy_rows(state, d, state, d, columns, d, rising[m]);
    const MatrixView<const T> values = chunk::matrix<T>(v, m, e, columns);
    chunk::product(values.transposed(), chunk::matrix<T>(k_decayed, m, d, d), state, d, Update::add, rest,
                   chunk::Cover::all, ahead);
    if (!normalised()) return;
    simd::for_lanes<T>(d, [&](Index c, auto part) {
      simd::Batch<T> sum(T(0));
      for (Index j = 0; j < m; ++j) sum += part.load(k_decayed + j * d + c);
      part.store(state + e * d + c, part.load(state + e * d + c) + sum);
    });
  }

  // q k^T, not yet weighted: above the diagonal it is meaningless.
  void score(Index m, chunk::RowsAhead<T>* ahead = nullptr) {
    chunk::product(q_rows(m), k_rows(m).transposed(), scores, chunk, Update::assign, rest, chunk::Cover::lower, ahead);
  }
  // Row i of `of` times g^(i - j), up to the diagonal.
  void weigh(T* of, Index m) const {
    if (rising == nullptr) return;
    for (Index i = 0; i < m; ++i) {
      T* row = of + i * chunk;
      const T* w = row_weights(i);
      simd::for_lanes<T>(i + 1,
                         [&](Index j, auto part) { part.store(row + j, part.load(row + j) * part.load(w + j)); });
    }
  }

  // sums_i = sum_j of weighted scores + q_i . z + eps
  void sum_scores(Index m) {
    const T* z = state + s.value_width * s.width;
    for (Index i = 0; i < m; ++i) {
      const T* query = q_decayed + i * s.width;
      simd::Batch<T> sum(T(0));
      simd::for_lanes<T>(s.width,
                         [&](Index c, auto part) { sum = simd::fma(part.load(query + c), part.load(z + c), sum); });
      if (scores != nullptr) {
        simd::for_lanes<T>(i + 1, [&](Index j, auto part) { sum += part.load(scores + i * chunk + j); });
      }
      sums[i] = static_cast<T>(static_cast<double>(simd::reduce_add(sum)) + s.eps);
    }
  }

  void attend(HeadRows<T> out, Index first, Index m, chunk::RowsAhead<T>* ahead) {
    const Index e = s.value_width;
    if (scores != nullptr) {
      score(m, ahead);
      weigh(scores, m);
      chunk::triangle_product(chunk::Triangle::lower, score_rows(m), v, columns, e, result, e, Update::assign);
    }
    const MatrixView<const T> queries = chunk::matrix<T>(q_decayed, m, s.width, s.width);
    chunk::product(queries, state_rows(state, e).transposed(), result, e,
                   scores != nullptr ? Update::add : Update::assign, rest, chunk::Cover::all, ahead);
    if (normalised()) {
      sum_scores(m);
      for (Index i = 0; i < m; ++i) sums[i] = T(1) / sums[i];
    }
    chunk::copy_rows(out.at(b, first, h), out.token, result, e, m, e, T(1), normalised() ? sums : nullptr);
  }

  // Of the next chunk.
  chunk::RowsAhead<T> rows_ahead(Index first, bool queries, bool keys) const {
    chunk::RowsAhead<T> ahead;
    const Index m = (std::min)(chunk, (queries ? s.nq : s.nk) - first);
    if (m <= 0) return ahead;
    if (queries) ahead.add(in.q.at(b, first, h), in.q.token, m, s.width);
    if (keys) ahead.add(in.k.at(b, first, h), in.k.token, m, s.width);
    if (keys) ahead.add(in.v.at(b, first, h), in.v.token, m, s.value_width);
    return ahead;
  }

  void forward(HeadRows<T> out, const LinearState<T>& last) {
    const bool causal = s.form == LinearForm::causal;
    read_state(state, in.initial);
    for (Index first = 0; !causal && first < s.nk; first += chunk) {
      const Index m = (std::min)(chunk, s.nk - first);
      chunk::RowsAhead<T> ahead = rows_ahead(first + m, false, true);
      load_keys(first, m);
      absorb(m, &ahead);
    }
    for (Index first = 0; first < s.nq; first += chunk) {
      const Index m = (std::min)(chunk, s.nq - first);
      chunk::RowsAhead<T> ahead = rows_ahead(first + m, true, causal);
      load_queries(first, m);
      if (causal) load_keys(first, m);
      attend(out, first, m, &ahead);
      const bool needed = last.kv != nullptr || last.sum != nullptr || first + m < s.nq;
      if (causal && needed) absorb(m, &ahead);
    }
    write_state(last, state);
  }
};

}  // namespace detail

// Bytes of scratch that a running piece of linear_attention needs.
template <class T>
std::size_t linear_attention_scratch(const LinearAttentionShape& s) {
  return detail::LinearHead<T>::bytes(s);
}

// One token of the causal form: S = g S + k v^T, z = g z + k, out = scale q^T S / (scale q . z + eps). `last` may be
// the initial state itself. Costs one pass over the state, and needs no scratch.
template <class T>
void linear_attention_step(Threads threads, const LinearAttentionShape& s,
                           const std::type_identity_t<LinearAttentionOperands<T>>& in, HeadRows<T> out,
                           const std::type_identity_t<LinearState<T>>& last) {
  using Batch = simd::Batch<T>;
  threads.run(s.batch * s.heads, [&](Index item, Scratch&) {
    const Index b = item / s.heads, h = item % s.heads, d = s.width, e = s.value_width;
    const T *q = in.q.at(b, 0, h), *k = in.k.at(b, 0, h), *v = in.v.at(b, 0, h);
    const T g = in.decay == nullptr ? T(1) : in.decay[h], scale = static_cast<T>(s.scale);
    const bool kept = in.keep == nullptr || in.keep[b * in.keep_batch] != 0;
    T divisor = T(1);
    if (s.normaliser == Normaliser::score_sum) {
      double sum = s.eps;
      for (Index x = 0; x < d; ++x) {
        const T old = in.initial.sum == nullptr ? T(0) : in.initial.sum[item * d + x];
        const T z = g * old + (kept ? k[x] : T(0));
        last.sum[item * d + x] = z;
        sum += static_cast<double>(scale * q[x]) * static_cast<double>(z);
      }
      divisor = static_cast<T>(sum);
    }
    simd::for_lanes<T>(e, [&](Index c, auto part) {
      const Batch value = kept ? part.load(v + c) : Batch(T(0));
      Batch sum(T(0));
      for (Index x = 0; x < d; ++x) {
        const Index at = (item * d + x) * e + c;
        const Batch old = in.initial.kv == nullptr ? Batch(T(0)) : part.load(in.initial.kv + at);
        const Batch now = simd::fma(Batch(kept ? k[x] : T(0)), value, Batch(g) * old);
        part.store(last.kv + at, now);
        sum = simd::fma(Batch(scale * q[x]), now, sum);
      }
      part.store(out.at(b, 0, h) + c, sum / Batch(divisor));
    });
  });
}

// out_i = sum_j w_ij v_j, w_ij = scale q_i . k_j (causal: times g^(i - j), j <= i only), the initial state standing for
// the keys before the first; with a normaliser divided by sum_j w_ij + eps. out [B, Nq, H, E] must not overlap the
// operands. `last` (may be absent) is the state behind the last key and may be the initial state itself. A dropped key
// adds nothing, but the state decays past it. In chunks of 64, causal: the products of a chunk and the state before
// it. 2 N (D + E) (chunk + D E / (D + E)) operations a head; sums in T. No PyTorch function; the equal of
// fast_transformers' LinearAttention and CausalLinearAttention, and of retention.
template <class T>
void linear_attention(Threads threads, const LinearAttentionShape& s,
                      const std::type_identity_t<LinearAttentionOperands<T>>& in, HeadRows<T> out,
                      const std::type_identity_t<LinearState<T>>& last = {}) {
  if (s.form == LinearForm::causal && s.nk == 1 && last.kv != nullptr) {
    return linear_attention_step<T>(threads, s, in, out, last);
  }
  threads.run(s.batch * s.heads,
              [&](Index item, Scratch& scratch) { detail::LinearHead<T>(s, in, item, scratch).forward(out, last); });
}

}  // namespace aulos::inline AULOS_ISA::kernels
