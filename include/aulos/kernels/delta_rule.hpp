// The delta rule: a state that each token corrects towards its value, in chunks of the WY form.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "aulos/core/threads.hpp"
#include "aulos/kernels/attention_sides.hpp"
#include "aulos/kernels/chunk.hpp"

namespace aulos::inline AULOS_ISA::kernels {

struct DeltaRuleShape {
  Index batch = 0, heads = 0, tokens = 0;
  Index width = 0, value_width = 0;  // D, E
  double scale = 1.0;                // of q
};

template <class T>
struct DeltaRuleOperands {
  HeadRows<const T> q, k, v;   // [B, N, H, D], [B, N, H, D], [B, N, H, E]
  HeadRows<const T> beta;      // [B, N, H] by its strides
  const T* initial = nullptr;  // [B, H, D, E], dense; absent: 0
};

namespace detail {

inline constexpr Index delta_chunk = 64;
inline constexpr Index delta_block = 16;  // rows of a triangular solve that are not a product

// One head of one sample. S is the state before a chunk of m tokens; inside it, with u_t = beta_t e_t,
//   e_t = v_t - S^T k_t - sum_{j<t} (k_t . k_j) u_j,   o = scale (q S + tril(q k^T) u),   S' = S + k^T u.
template <class T>
struct DeltaHead {
  static constexpr Index chunk = delta_chunk;

  const DeltaRuleShape& s;
  const DeltaRuleOperands<T>& in;
  Index b, h;
  T *state, *q, *k, *negative_k, *e, *u;  // [D, E]; scale q, k, -k [m, D]; [m, E]
  T *scores, *mixing;                     // q k^T, -k k^T; [m, m], rows `chunk` apart; below the diagonal
  T* beta;                                // [m]
  Scratch rest;

  static std::size_t bytes(const DeltaRuleShape& s) {
    const Index d = s.width, v = s.value_width;
    return scratch_size<T>(d * v) + 3 * scratch_size<T>(chunk * d) + 2 * scratch_size<T>(chunk * v) +
           2 * scratch_size<T>(chunk * chunk) + scratch_size<T>(chunk) +
           chunk::product_scratch<T>(
               {{chunk, chunk, d}, {chunk, chunk, v}, {chunk, v, chunk}, {chunk, v, d}, {chunk, d, v}, {d, v, chunk}});
  }

  DeltaHead(const DeltaRuleShape& shape, const DeltaRuleOperands<T>& operands, Index item, Scratch scratch)
      : s(shape),
        in(operands),
        b(item / shape.heads),
        h(item % shape.heads),
        state(scratch.take<T>(shape.width * shape.value_width)),
        q(scratch.take<T>(chunk * shape.width)),
        k(scratch.take<T>(chunk * shape.width)),
        negative_k(scratch.take<T>(chunk * shape.width)),
        e(scratch.take<T>(chunk * shape.value_width)),
        u(scratch.take<T>(chunk * shape.value_width)),
        scores(scratch.take<T>(chunk * chunk)),
        mixing(scratch.take<T>(chunk * chunk)),
        beta(scratch.take<T>(chunk)),
        rest(scratch) {}

  Index item() const { return b * s.heads + h; }
  Index state_size() const { return s.width * s.value_width; }

  MatrixView<const T> keys(const T* of, Index m) const { return chunk::matrix<T>(of, m, s.width, s.width); }
  MatrixView<const T> values(const T* of, Index m) const {
    return chunk::matrix<T>(of, m, s.value_width, s.value_width);
  }
  MatrixView<const T> square(const T* of, Index m) const { return chunk::matrix<T>(of, m, m, chunk); }
  MatrixView<const T> state_of(const T* of) const {
    return chunk::matrix<T>(of, s.width, s.value_width, s.value_width);
  }

  void read_state(T* to, const T* from) const {
    if (from == nullptr) {
      std::fill_n(to, state_size(), T(0));
    } else {
      std::copy_n(from + item() * state_size(), state_size(), to);
    }
  }

  // k, -k, beta, e, u and, below its diagonal, -k k^T of a chunk.
  void correct(Index first, Index m) {
    const Index d = s.width, width = s.value_width;
    chunk::copy_rows(k, d, in.k.at(b, first, h), in.k.token, m, d, T(1));
    chunk::copy_rows(negative_k, d, k, d, m, d, T(-1));
    chunk::copy_rows(e, width, in.v.at(b, first, h), in.v.token, m, width, T(1));
    for (Index t = 0; t < m; ++t) beta[t] = *in.beta.at(b, first + t, h);
    chunk::product(keys(negative_k, m), state_of(state), e, width, Update::add, rest);
    chunk::product(keys(negative_k, m), keys(k, m).transposed(), mixing, chunk, Update::assign, rest);
    for (Index from = 0; from < m; from += delta_block) {
      const Index rows = (std::min)(delta_block, m - from);
      chunk::product(chunk::matrix<T>(mixing + from * chunk, rows, from, chunk), values(u, from), e + from * width,
                     width, Update::add, rest);
      for (Index t = from; t < from + rows; ++t) {
        for (Index j = from; j < t; ++j) chunk::add_row(e + t * width, u + j * width, width, mixing[t * chunk + j]);
        chunk::copy_rows(u + t * width, width, e + t * width, width, 1, width, beta[t]);
      }
    }
  }

  // scale q and, up to its diagonal, q k^T.
  void score(Index first, Index m) {
    chunk::copy_rows(q, s.width, in.q.at(b, first, h), in.q.token, m, s.width, static_cast<T>(s.scale));
    chunk::product(keys(q, m), keys(k, m).transposed(), scores, chunk, Update::assign, rest);
  }

  void absorb(Index m) {
    chunk::product(keys(k, m).transposed(), values(u, m), state, s.value_width, Update::add, rest);
  }

  void forward(HeadRows<T> out, T* last) {
    read_state(state, in.initial);
    for (Index first = 0; first < s.tokens; first += chunk) {
      const Index m = (std::min)(chunk, s.tokens - first);
      correct(first, m);
      score(first, m);
      T* rows = out.at(b, first, h);
      chunk::triangle_product(chunk::Triangle::lower, square(scores, m), u, s.value_width, s.value_width, rows,
                              out.token, Update::assign);
      chunk::product(keys(q, m), state_of(state), rows, out.token, Update::add, rest);
      if (last != nullptr || first + m < s.tokens) absorb(m);
    }
    if (last != nullptr) std::copy_n(state, state_size(), last + item() * state_size());
  }
};

}  // namespace detail

// Bytes of scratch that a running piece of delta_rule needs.
template <class T>
std::size_t delta_rule_scratch(const DeltaRuleShape& s) {
  return detail::DeltaHead<T>::bytes(s);
}

// One token: S = S + beta k (v - S^T k)^T, out = scale q^T S. `last` may be the initial state itself. Two passes over
// the state, no scratch.
template <class T>
void delta_rule_step(Threads threads, const DeltaRuleShape& s, const std::type_identity_t<DeltaRuleOperands<T>>& in,
                     HeadRows<T> out, std::type_identity_t<T*> last) {
  using Batch = simd::Batch<T>;
  threads.run(s.batch * s.heads, [&](Index item, Scratch&) {
    const Index b = item / s.heads, h = item % s.heads, d = s.width, e = s.value_width;
    const T *q = in.q.at(b, 0, h), *k = in.k.at(b, 0, h), *v = in.v.at(b, 0, h);
    const T beta = *in.beta.at(b, 0, h), scale = static_cast<T>(s.scale);
    simd::for_lanes<T>(e, [&](Index c, auto part) {
      const auto old = [&](Index x) {
        return in.initial == nullptr ? Batch(T(0)) : part.load(in.initial + (item * d + x) * e + c);
      };
      Batch error = part.load(v + c), sum(T(0));
      for (Index x = 0; x < d; ++x) error = simd::fnma(Batch(k[x]), old(x), error);
      const Batch update = Batch(beta) * error;
      for (Index x = 0; x < d; ++x) {
        const Batch now = simd::fma(Batch(k[x]), update, old(x));
        part.store(last + (item * d + x) * e + c, now);
        sum = simd::fma(Batch(scale * q[x]), now, sum);
      }
      part.store(out.at(b, 0, h) + c, sum);
    });
  });
}

// out_t = scale q_t^T S_t, S_t = S_{t-1} + beta_t k_t (v_t - S_{t-1}^T k_t)^T: DeltaNet. k is taken as it is (usually
// of norm 1; then 0 <= beta <= 2 keeps the state bounded). out [B, N, H, E] must not overlap the operands. `last` (may
// be absent) is the state behind the last token and may be the initial state itself. In chunks of 64: products, and a
// triangular solve in blocks of 16. About 2 N (3 D E + 64 (2 D + 2 E)) operations a head; sums in T. No PyTorch
// function; the equal of flash-linear-attention's delta_rule.
template <class T>
void delta_rule(Threads threads, const DeltaRuleShape& s, const std::type_identity_t<DeltaRuleOperands<T>>& in,
                HeadRows<T> out, std::type_identity_t<T*> last = nullptr) {
  if (s.tokens == 1 && last != nullptr) return delta_rule_step<T>(threads, s, in, out, last);
  threads.run(s.batch * s.heads,
              [&](Index item, Scratch& scratch) { detail::DeltaHead<T>(s, in, item, scratch).forward(out, last); });
}

}  // namespace aulos::inline AULOS_ISA::kernels
