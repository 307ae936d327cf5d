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
inline Index scan_blocks(const SelectiveScanShape& s) {  // of a group
  return s.groups == 0 ? 0 : (s.channels / s.groups + scan_block - 1) / scan_block;
}
inline Index scan_pieces(const SelectiveScanShape& s) { return s.batch * s.groups * scan_blocks(s); }
inline ScanPiece scan_piece(const SelectiveScanShape& s, Index piece) {
  const Index blocks = scan_blocks(s), width = s.channels / s.groups;
  const Index block = piece % blocks, group = piece / blocks % s.groups;
  return {piece / (blocks * s.groups), group, block, group * width + block * scan_block,
          (std::min)(scan_block, width - block * scan_block)};
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

// One batch of channels c, c + 1, ... of one sample. `Part` is WholeBatch or PartialBatch.
template <class T, class Part>
struct ScanLanes {
  using Batch = simd::Batch<T>;
  static constexpr Index lanes = simd::lanes<T>;

  const SelectiveScanShape& s;
  const SelectiveScanOperands<T>& in;
  Index batch, group, c;
  Part part;
  const T* a;  // [N, lanes]
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
  // Rows are far apart, on a page each: the processor does not foresee them.
  void fetch(const HeadRows<const T>& from, Index t) const {
    __builtin_prefetch(from.at(batch, (std::min)(t + 8, s.tokens - 1), 0) + c);
  }
  Batch raw_step(Index t) const { return load(in.delta, t) + bias; }
  Batch step(Batch raw) const { return s.step == StepSize::softplus ? simd::Softplus{}(raw) : raw; }

  // h of token t from h of the token before; the result is C . h + d u. With `decays`, they are kept.
  Batch advance(Index t, Batch dt, const T* before, T* after, T* decays) const {
    fetch(in.u, t);
    fetch(in.delta, t);
    if (in.z) fetch(in.z, t);
    const Batch u = load(in.u, t), du = dt * u;
    const T *b = in.b.at(batch, t, group), *out = in.c.at(batch, t, group);
    Batch y = d * u;
    for (Index n = 0; n < s.states; ++n) {
      const Batch decay = simd::exp(dt * simd::load(a + n * lanes));
      const Batch h = simd::fma(decay, simd::load(before + n * lanes), du * Batch(b[n]));
      simd::store(after + n * lanes, h);
      if (decays != nullptr) simd::store(decays + n * lanes, decay);
      y = simd::fma(h, Batch(out[n]), y);
    }
    return y;
  }
};

template <class T>
[[gnu::noinline]] void scan_forward(const SelectiveScanShape& s, const SelectiveScanOperands<T>& in,
                                    const ScanPiece& piece, HeadRows<T> out, T* last, Scratch& scratch) {
  constexpr Index lanes = simd::lanes<T>;
  const Index tile = s.states * lanes;  // of one batch of channels
  T *a = scratch.take<T>(scan_block * s.states), *h = scratch.take<T>(scan_block * s.states);
  simd::for_lanes<T>(piece.count, [&](Index offset, auto) {
    const Index c = piece.first + offset, count = (std::min)(lanes, piece.count - offset);
    load_states(a + offset / lanes * tile, in.a + c * s.states, s.states, count);
    const T* from = in.initial == nullptr ? nullptr : in.initial + (piece.batch * s.channels + c) * s.states;
    load_states(h + offset / lanes * tile, from, s.states, count);
  });
  for (Index first = 0; first < s.tokens; first += scan_chunk) {
    const Index end = (std::min)(first + scan_chunk, s.tokens);
    simd::for_lanes<T>(piece.count, [&](Index offset, auto part) {
      T* state = h + offset / lanes * tile;
      const ScanLanes<T, decltype(part)> x(s, in, piece, offset, part, a + offset / lanes * tile);
      for (Index t = first; t < end; ++t) {
        simd::Batch<T> y = x.advance(t, x.step(x.raw_step(t)), state, state, nullptr);
        if (in.z) y *= simd::silu(x.load(in.z, t));
        part.store(out.at(piece.batch, t, 0) + x.c, y);
      }
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
  return 2 * scratch_size<T>(detail::scan_block * s.states);
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
  threads.run(detail::scan_pieces(s), [&](Index piece, Scratch& scratch) {
    detail::scan_forward<T>(s, in, detail::scan_piece(s, piece), out, last, scratch);
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
