// The selective scan: a diagonal linear recurrence whose step size and input and output vectors depend on the token.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "aulos/core/threads.hpp"
#include "aulos/kernels/attention_sides.hpp"
#include "aulos/simd/activations.hpp"
#include "aulos/simd/for_lanes.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// How delta + bias becomes the step size.
enum class StepSize { given, softplus };

// Channels C, N states for each of them, in G groups of channels that share B and C.
struct SelectiveScanShape {
  Index batch = 0, tokens = 0, channels = 0, states = 0;
  Index groups = 1;
  StepSize step = StepSize::softplus;
};

// Tokens [B, L, C] are head rows of one head; B and C of the groups, [B, L, G, N], are head rows of G heads.
template <class T>
struct SelectiveScanOperands {
  HeadRows<const T> u, delta;  // [B, L, C]
  const T* a = nullptr;        // [C, N], dense; negative for a state that decays
  HeadRows<const T> b, c;      // [B, L, G, N]
  const T* d = nullptr;        // [C]; absent: 0
  HeadRows<const T> z{};       // [B, L, C]; absent: no gate
  const T* bias = nullptr;     // [C], of delta; absent: 0
  const T* initial = nullptr;  // [B, C, N], dense; absent: 0
};

namespace detail {

inline constexpr Index scan_chunk = 32;  // tokens between kept states
inline constexpr Index scan_block = 64;  // channels of a piece

// Which channels a piece computes. They lie in one group.
struct ScanPiece {
  Index batch, group, block, first, count;  // block: within the group
};
inline Index scan_blocks(const SelectiveScanShape& s, Index channels = scan_block) {  // of a group
  return s.groups == 0 ? 0 : (s.channels / s.groups + channels - 1) / channels;
}
inline Index scan_pieces(const SelectiveScanShape& s, Index channels = scan_block) {
  return s.batch * s.groups * scan_blocks(s, channels);
}
inline ScanPiece scan_piece(const SelectiveScanShape& s, Index piece, Index channels = scan_block) {
  const Index blocks = scan_blocks(s, channels), width = s.channels / s.groups;
  const Index block = piece % blocks, group = piece / blocks % s.groups;
  return {piece / (blocks * s.groups), group, block, group * width + block * channels,
          (std::min)(channels, width - block * channels)};
}

// Channels of a piece of the forward: many, so that the pages and the rows of the memory that a token's channels lie in
// are opened once, but so few that no thread has an eighth more than its share. The results are the same for any.
inline constexpr Index scan_widest_block = 8 * scan_block;
inline Index scan_forward_block(const SelectiveScanShape& s, Index threads) {
  const Index all = s.batch * s.channels;
  Index channels = scan_widest_block;
  for (; channels > scan_block && threads > 1; channels /= 2) {
    const Index turns = (scan_pieces(s, channels) + threads - 1) / threads;
    if (turns * channels * threads <= all + all / 8) break;
  }
  return channels;
}

// The rows of `count` <= lanes channels of [.., N] as N batches, 0 in the lanes that don't exist; and back.
template <class T>
void load_states(T* to, const T* from, Index states, Index count) {
  constexpr Index lanes = simd::lanes<T>;
  std::fill_n(to, states * lanes, T(0));
  for (Index i = 0; i < count && from != nullptr; ++i) {
    for (Index n = 0; n < states; ++n) to[n * lanes + i] = from[i * states + n];
  }
}
template <class T>
void store_states(T* to, const T* from, Index states, Index count) {
  for (Index i = 0; i < count; ++i) {
    for (Index n = 0; n < states; ++n) to[i * states + n] = from[n * simd::lanes<T> + i];
  }
}

// e^(dt A) is computed as 2^(dt A'), A' = A / unit, where an instruction scales by any power of two: half the work, and
// an error of two roundings of dt A.
#if defined(__AVX512F__) && defined(__AVX512DQ__)
inline constexpr bool scan_in_base_two = true;
#else
inline constexpr bool scan_in_base_two = false;
#endif

template <class T>
struct ScanPower;
template <>
struct ScanPower<float> {
  static constexpr float unit = 0.693147181f, inverse_unit = 1.44269504f;
  // 2^r for |r| <= 1/2: error 9e-8, next to nothing for small r, where errors add up from token to token.
  static constexpr float c[] = {1.0f, 0.6931470037f, 0.2402224243f, 0.0555073359f, 0.009671513f, 0.0013264727f};
};
template <>
struct ScanPower<double> {
  static constexpr double unit = 0.693147180559945309, inverse_unit = 1.44269504088896341;
  // Error 5.6e-18.
  static constexpr double c[] = {1.0,
                                 0.6931471805599453,
                                 0.24022650695910133,
                                 0.05550410866482226,
                                 0.009618129107593498,
                                 0.0013333558146380658,
                                 0.00015403530457765014,
                                 1.5252733805508415e-05,
                                 1.3215435001110848e-06,
                                 1.0178086773687693e-07,
                                 7.073826046303358e-09,
                                 4.449955477539561e-10};
};

// A' of channels, as load_states.
template <class T>
void load_rates(T* to, const T* a, Index states, Index count) {
  load_states(to, a, states, count);
  if (!scan_in_base_two) return;
  for (Index i = 0; i < states * simd::lanes<T>; ++i) to[i] *= ScanPower<T>::inverse_unit;
}

// One batch of channels c, c + 1, ... of one sample. `Part` is WholeBatch or PartialBatch.
template <class T, class Part>
struct ScanLanes {
  using Batch = simd::Batch<T>;
  static constexpr Index lanes = simd::lanes<T>;

  const SelectiveScanShape& s;
  const SelectiveScanOperands<T>& in;
  Index batch, group, c;
  Part part;
  const T* a;  // [N, lanes]: A'
  Batch d, bias;

  ScanLanes(const SelectiveScanShape& shape, const SelectiveScanOperands<T>& operands, const ScanPiece& piece,
            Index offset, Part lanes_of, const T* a_tile)
      : s(shape),
        in(operands),
        batch(piece.batch),
        group(piece.group),
        c(piece.first + offset),
        part(lanes_of),
        a(a_tile),
        d(in.d == nullptr ? Batch(T(0)) : part.load(in.d + c)),
        bias(in.bias == nullptr ? Batch(T(0)) : part.load(in.bias + c)) {}

  Batch load(const HeadRows<const T>& from, Index t) const { return part.load(from.at(batch, t, 0) + c); }
  // Rows are far apart, on a page each: the processor does not foresee them. A line of one array of the token t.
  void fetch(const HeadRows<const T>& from, Index t) const {
    if (from && t < s.tokens) __builtin_prefetch(from.at(batch, t, 0) + c, 0, 2);
  }
  Batch raw_step(Index t) const { return load(in.delta, t) + bias; }
  Batch step(Batch raw) const { return s.step == StepSize::softplus ? simd::Softplus{}(raw) : raw; }

  // e^(dt A) from dt A'.
  static Batch power(Batch x) {
    if constexpr (scan_in_base_two) {
      return simd::exp2_by(x, ScanPower<T>::c);
    } else {
      return simd::exp(x);
    }
  }

  template <std::size_t count>
  static void powers(Batch (&x)[count]) {
    if constexpr (scan_in_base_two) {
      simd::exp2_all_by(x, ScanPower<T>::c);
    } else {
      AULOS_UNROLL for (std::size_t i = 0; i < count; ++i) x[i] = simd::exp(x[i]);
    }
  }

  // h of token t from h of the token before; the result is C . h + d u. With `decays`, they are kept.
  Batch advance(Index t, Batch dt, const T* before, T* after, T* decays) const {
    for (const HeadRows<const T>* from : {&in.u, &in.delta, &in.z}) fetch(*from, t + 8);
    const Batch u = load(in.u, t), du = dt * u;
    const T *b = in.b.at(batch, t, group), *out = in.c.at(batch, t, group);
    Batch y = d * u;
    for (Index n = 0; n < s.states; ++n) {
      const Batch decay = power(dt * simd::load(a + n * lanes));
      const Batch h = simd::fma(decay, simd::load(before + n * lanes), du * Batch(b[n]));
      simd::store(after + n * lanes, h);
      if (decays != nullptr) simd::store(decays + n * lanes, decay);
      y = simd::fma(h, Batch(out[n]), y);
    }
    return y;
  }
};

// Of one batch of channels in one chunk: dt, dt u, and d u + C . h, [scan_chunk, lanes] each.
template <class T>
struct ScanChunk {
  T *dt, *du, *y;
};

// Rows of one array that will be wanted.
template <class T>
struct ScanAhead {
  const T* row = nullptr;
  Index stride = 0, count = 0;
};

// `count` states from n on, each through all tokens of the chunk, so that it stays in a register. On the way the rows
// of `ahead` in the next chunk are asked for: all at once would wait for each other.
template <class T, int count, class Part>
void advance_states(const ScanLanes<T, Part>& x, const ScanChunk<T>& w, Index first, Index tokens, Index n, T* state,
                    const ScanAhead<T>& ahead) {
  using Batch = simd::Batch<T>;
  constexpr Index lanes = simd::lanes<T>;
  Batch a[static_cast<std::size_t>(count)], h[static_cast<std::size_t>(count)];
  AULOS_UNROLL for (int i = 0; i < count; ++i) {
    a[i] = simd::load(x.a + (n + i) * lanes);
    h[i] = simd::load(state + (n + i) * lanes);
  }
  const T *b = x.in.b.at(x.batch, first, x.group) + n, *c = x.in.c.at(x.batch, first, x.group) + n;
  for (Index t = 0; t < tokens; ++t, b += x.in.b.token, c += x.in.c.token) {
    const Batch dt = simd::load(w.dt + t * lanes), du = simd::load(w.du + t * lanes);
    Batch y = simd::load(w.y + t * lanes);
    if (t < ahead.count) __builtin_prefetch(ahead.row + t * ahead.stride, 0, 2);
    Batch decay[static_cast<std::size_t>(count)];
    AULOS_UNROLL for (int i = 0; i < count; ++i) decay[i] = dt * a[i];
    x.powers(decay);
    AULOS_UNROLL for (int i = 0; i < count; ++i) h[i] = simd::fma(decay[i], h[i], du * Batch(b[i]));
    AULOS_UNROLL for (int i = 0; i < count; ++i) y = simd::fma(h[i], Batch(c[i]), y);
    simd::store(w.y + t * lanes, y);
  }
  AULOS_UNROLL for (int i = 0; i < count; ++i) simd::store(state + (n + i) * lanes, h[i]);
}

template <class T, class Part>
[[gnu::noinline]] void scan_chunk_forward(const ScanLanes<T, Part>& x, const ScanChunk<T>& w, Index first, Index tokens,
                                          T* state, HeadRows<T> out) {
  using Batch = simd::Batch<T>;
  constexpr Index lanes = simd::lanes<T>;
  for (Index t = 0; t < tokens; ++t) {
    const Batch dt = x.step(x.raw_step(first + t)), u = x.load(x.in.u, first + t);
    simd::store(w.dt + t * lanes, dt);
    simd::store(w.du + t * lanes, dt * u);
    simd::store(w.y + t * lanes, x.d * u);
  }
  const Index next = (std::min)(scan_chunk, x.s.tokens - first - tokens);
  const auto rows_ahead = [&](Index turn) -> ScanAhead<T> {
    if (turn == 0) return {out.at(x.batch, first, 0) + x.c, out.token, tokens};
    if (turn == 1) return {x.in.u.at(x.batch, first + tokens, 0) + x.c, x.in.u.token, next};
    if (turn == 2) return {x.in.delta.at(x.batch, first + tokens, 0) + x.c, x.in.delta.token, next};
    if (turn == 3 && x.in.z) return {x.in.z.at(x.batch, first + tokens, 0) + x.c, x.in.z.token, next};
    return {};
  };
  Index n = 0, turn = 0;
  for (; n + 4 <= x.s.states; n += 4) advance_states<T, 4>(x, w, first, tokens, n, state, rows_ahead(turn++));
  for (; n < x.s.states; ++n) advance_states<T, 1>(x, w, first, tokens, n, state, rows_ahead(turn++));
  for (Index t = 0; t < tokens; ++t) {
    Batch y = simd::load(w.y + t * lanes);
    if (x.in.z) y *= simd::silu(x.load(x.in.z, first + t));
    x.part.store(out.at(x.batch, first + t, 0) + x.c, y);
  }
}

template <class T>
[[gnu::noinline]] void scan_forward(const SelectiveScanShape& s, const SelectiveScanOperands<T>& in,
                                    const ScanPiece& piece, HeadRows<T> out, T* last, Scratch& scratch) {
  constexpr Index lanes = simd::lanes<T>;
  const Index tile = s.states * lanes;  // of one batch of channels
  const Index channels = (piece.count + lanes - 1) / lanes * lanes;
  T *a = scratch.take<T>(channels * s.states), *h = scratch.take<T>(channels * s.states);
  const ScanChunk<T> w{scratch.take<T>(scan_chunk * lanes), scratch.take<T>(scan_chunk * lanes),
                       scratch.take<T>(scan_chunk * lanes)};
  simd::for_lanes<T>(piece.count, [&](Index offset, auto) {
    const Index c = piece.first + offset, count = (std::min)(lanes, piece.count - offset);
    load_rates(a + offset / lanes * tile, in.a + c * s.states, s.states, count);
    const T* from = in.initial == nullptr ? nullptr : in.initial + (piece.batch * s.channels + c) * s.states;
    load_states(h + offset / lanes * tile, from, s.states, count);
  });
  for (Index first = 0; first < s.tokens; first += scan_chunk) {
    const Index tokens = (std::min)(scan_chunk, s.tokens - first);
    simd::for_lanes<T>(piece.count, [&](Index offset, auto part) {
      const ScanLanes<T, decltype(part)> x(s, in, piece, offset, part, a + offset / lanes * tile);
      scan_chunk_forward(x, w, first, tokens, h + offset / lanes * tile, out);
    });
  }
  if (last == nullptr) return;
  simd::for_lanes<T>(piece.count, [&](Index offset, auto) {
    store_states(last + (piece.batch * s.channels + piece.first + offset) * s.states, h + offset / lanes * tile,
                 s.states, (std::min)(lanes, piece.count - offset));
  });
}

}  // namespace detail

// Bytes of scratch that a running piece of selective_scan needs.
template <class T>
std::size_t selective_scan_scratch(const SelectiveScanShape& s) {
  constexpr Index lanes = simd::lanes<T>;
  const Index channels = (std::min)(detail::scan_widest_block, (s.channels + lanes - 1) / lanes * lanes);
  return 2 * scratch_size<T>(channels * s.states) + 3 * scratch_size<T>(detail::scan_chunk * simd::lanes<T>);
}

// h_t = exp(dt_t A) h_{t-1} + dt_t B_t u_t, out_t = (C_t . h_t + D u_t) silu(z_t), dt = softplus(delta + bias): out
// [B, L, C], h [B, C, N], of which `last` (may be absent, may be `initial`) is the one behind the last token. `out` may
// be u, delta or z. SIMD over channels, sums over states in order, in T; a channel's result does not depend on the
// others. About 20 B L C N operations, most of them the exponential. mamba_ssm's selective_scan_fn, tokens first; one
// token is its selective_state_update.
template <class T>
void selective_scan(Threads threads, const SelectiveScanShape& s,
                    const std::type_identity_t<SelectiveScanOperands<T>>& in, HeadRows<T> out,
                    std::type_identity_t<T*> last = nullptr) {
  const Index channels = detail::scan_forward_block(s, threads.count());
  threads.run(detail::scan_pieces(s, channels), [&](Index piece, Scratch& scratch) {
    detail::scan_forward<T>(s, in, detail::scan_piece(s, piece, channels), out, last, scratch);
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
