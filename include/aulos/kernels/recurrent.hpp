// LSTM and GRU: the recurrent part of a layer, forward and through time. What the tokens bring, x W_ih^T + b_ih, is one
// product for all steps, made before.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "aulos/core/threads.hpp"
#include "aulos/kernels/gemm_pack.hpp"
#include "aulos/kernels/gemm_split.hpp"
#include "aulos/kernels/gemm_tile.hpp"
#include "aulos/simd/activations.hpp"
#include "aulos/simd/for_lanes.hpp"

namespace aulos::inline AULOS_ISA::kernels {

enum class RecurrentCell { lstm, gru };

// LSTM: i, f, g, o. GRU: r, z, n.
constexpr Index gates_of(RecurrentCell cell) noexcept { return cell == RecurrentCell::lstm ? 4 : 3; }

struct RecurrentShape {
  Index batch, steps, hidden;
};

// One direction of a layer; G = gates_of(cell). Token (b, t) is row b * steps + t. Dense but for y.
template <class T>
struct RecurrentForward {
  const T* panels;  // W_hh [G H, H] by pack_recurrent
  const T* bias;    // b_hh [G H], or null
  T* gates;         // [B, N, G H]: x W_ih^T + b_ih; with `memory` overwritten by the gates' values
  T* memory;        // [B, N, H]: the cell after each step, or W_hn h + b_hn; null: nothing is kept for a backward pass
  const T* h0;      // [B, H], or null for zeros
  const T* c0;
  T* y;  // [B, N, H], rows ldy apart
  Index ldy;
  T* h_last;  // [B, H]
  T* c_last;  // LSTM
  bool reverse;
};

// What the backward pass of a direction reads and writes. Absent gradients are null.
template <class T>
struct RecurrentBackward {
  const T* panels;  // W_hh by pack_recurrent_transposed
  T* gates;         // the gates' values; overwritten by the gradient of x W_ih^T + b_ih
  const T* memory;  // as the forward pass left it
  const T* y;
  Index ldy;
  const T* h0;
  const T* c0;
  const T* gy;  // [B, N, H], rows ldgy apart
  Index ldgy;
  const T* gh_last;  // [B, H]
  const T* gc_last;
  T* hidden_gates;  // GRU: the gradient of W_hh h + b_hh [B, N, G H]. LSTM: null, it is that of x W_ih^T + b_ih
  T* previous;      // [B, N, H]: h before each step, for the gradient of W_hh; zero in the padding
  T* gh0;           // [B, H]
  T* gc0;
  bool reverse;
};

namespace detail {

// Sequences that a piece walks together, at most: each weight that is read serves them all.
inline constexpr Index recurrent_rows = 4 * gemm_rows;

struct RecurrentPieces {
  Index rows, per_direction;
};
// Small enough that all threads have some; results do not depend on it.
inline RecurrentPieces recurrent_pieces(Index batch, Index directions, Index threads) noexcept {
  const Index share = (batch * directions + threads - 1) / threads;
  const Index rows = std::clamp<Index>((share + gemm_rows - 1) / gemm_rows * gemm_rows, gemm_rows, recurrent_rows);
  return {rows, (batch + rows - 1) / rows};
}

// Where a sequence is at a step: which token, and which one came before (-1: the initial state).
struct RecurrentToken {
  Index now, before;
};
constexpr RecurrentToken token_at(Index step, Index length, bool reverse) noexcept {
  const Index now = reverse ? length - 1 - step : step;
  return {now, step == 0 ? -1 : reverse ? now + 1 : now - 1};
}

inline Index length_of(const std::int64_t* lengths, Index b, Index steps) noexcept {
  return lengths == nullptr ? steps : static_cast<Index>(lengths[b]);
}

template <class T>
void copy_or_zero(T* to, const T* from, Index count) noexcept {
  if (from == nullptr)
    std::fill_n(to, count, T(0));
  else
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(T));
}

// Some hidden units of one sequence at one step. Gates lie `hidden` apart in `gates` and `bias`.
template <class T>
struct ForwardUnits {
  const T* product[4];  // W_hh h, gate by gate; readable in whole batches
  const T* bias;
  T* gates;
  T* memory;  // or null
  T* h;
  T* c;
  T* y;
  Index hidden, count;

  template <class Part>
  [[gnu::always_inline]] simd::Batch<T> recurrent(Index gate, Index i, Part part) const noexcept {
    const simd::Batch<T> sum = simd::load(product[gate] + i);
    return bias == nullptr ? sum : sum + part.load(bias + gate * hidden + i);
  }
  template <class Part>
  [[gnu::always_inline]] simd::Batch<T> from_token(Index gate, Index i, Part part) const noexcept {
    return part.load(gates + gate * hidden + i);
  }
  template <class Part>
  [[gnu::always_inline]] void keep(Index gate, Index i, Part part, simd::Batch<T> value) const noexcept {
    if (memory != nullptr) part.store(gates + gate * hidden + i, value);
  }
};

template <class T>
struct BackwardUnits {
  T* gates;
  T* hidden_gates;   // or null
  T* packed_source;  // the gradient of W_hh h + b_hh, for the product of this step
  const T* memory;
  const T* before_h;  // null: zeros
  const T* before_c;
  const T* gy;  // or null
  T* dh;
  T* dc;
  Index hidden;
};

struct LstmUnits {
  static constexpr Index gates = 4;
  static constexpr bool has_cell = true;

  template <class T>
  [[gnu::noinline]] static void forward(const ForwardUnits<T>& u) noexcept {
    simd::for_lanes<T>(u.count, [&](Index i, auto part) {
      const auto gate = [&](Index g) { return u.from_token(g, i, part) + u.recurrent(g, i, part); };
      const simd::Batch<T> in = simd::sigmoid(gate(0)), forget = simd::sigmoid(gate(1)), value = simd::tanh(gate(2)),
                           out = simd::sigmoid(gate(3));
      const simd::Batch<T> cell = simd::fma(forget, part.load(u.c + i), in * value);
      const simd::Batch<T> h = out * simd::tanh(cell);
      u.keep(0, i, part, in);
      u.keep(1, i, part, forget);
      u.keep(2, i, part, value);
      u.keep(3, i, part, out);
      if (u.memory != nullptr) part.store(u.memory + i, cell);
      part.store(u.c + i, cell);
      part.store(u.h + i, h);
      part.store(u.y + i, h);
    });
  }

  template <class T>
  [[gnu::noinline]] static void backward(const BackwardUnits<T>& u) noexcept {
    using Batch = simd::Batch<T>;
    const Batch one(T(1));
    simd::for_lanes<T>(u.hidden, [&](Index i, auto part) {
      const auto at = [&](Index g) { return part.load(u.gates + g * u.hidden + i); };
      const Batch in = at(0), forget = at(1), value = at(2), out = at(3);
      const Batch before = u.before_c == nullptr ? Batch(T(0)) : part.load(u.before_c + i);
      Batch dh = part.load(u.dh + i);
      if (u.gy != nullptr) dh = dh + part.load(u.gy + i);
      const Batch bounded = simd::tanh(part.load(u.memory + i));
      const Batch dc = simd::fma(dh * out, simd::fnma(bounded, bounded, one), part.load(u.dc + i));
      const auto put = [&](Index g, Batch d) {
        part.store(u.gates + g * u.hidden + i, d);
        part.store(u.packed_source + g * u.hidden + i, d);
      };
      put(0, dc * value * in * (one - in));
      put(1, dc * before * forget * (one - forget));
      put(2, dc * in * simd::fnma(value, value, one));
      put(3, dh * bounded * out * (one - out));
      part.store(u.dc + i, dc * forget);
      part.store(u.dh + i, Batch(T(0)));
    });
  }
};

struct GruUnits {
  static constexpr Index gates = 3;
  static constexpr bool has_cell = false;

  template <class T>
  [[gnu::noinline]] static void forward(const ForwardUnits<T>& u) noexcept {
    simd::for_lanes<T>(u.count, [&](Index i, auto part) {
      const auto gate = [&](Index g) { return u.from_token(g, i, part) + u.recurrent(g, i, part); };
      const simd::Batch<T> reset = simd::sigmoid(gate(0)), update = simd::sigmoid(gate(1));
      const simd::Batch<T> inner = u.recurrent(2, i, part);
      const simd::Batch<T> value = simd::tanh(simd::fma(reset, inner, u.from_token(2, i, part)));
      const simd::Batch<T> h = simd::fma(update, part.load(u.h + i) - value, value);
      u.keep(0, i, part, reset);
      u.keep(1, i, part, update);
      u.keep(2, i, part, value);
      if (u.memory != nullptr) part.store(u.memory + i, inner);
      part.store(u.h + i, h);
      part.store(u.y + i, h);
    });
  }

  template <class T>
  [[gnu::noinline]] static void backward(const BackwardUnits<T>& u) noexcept {
    using Batch = simd::Batch<T>;
    const Batch one(T(1));
    simd::for_lanes<T>(u.hidden, [&](Index i, auto part) {
      const auto at = [&](Index g) { return part.load(u.gates + g * u.hidden + i); };
      const Batch reset = at(0), update = at(1), value = at(2), inner = part.load(u.memory + i);
      const Batch before = u.before_h == nullptr ? Batch(T(0)) : part.load(u.before_h + i);
      Batch dh = part.load(u.dh + i);
      if (u.gy != nullptr) dh = dh + part.load(u.gy + i);
      const Batch dvalue = dh * (one - update) * simd::fnma(value, value, one);
      const auto put = [&](Index g, Batch from_token, Batch recurrent) {
        part.store(u.gates + g * u.hidden + i, from_token);
        part.store(u.packed_source + g * u.hidden + i, recurrent);
        if (u.hidden_gates != nullptr) part.store(u.hidden_gates + g * u.hidden + i, recurrent);
      };
      const Batch dreset = dvalue * inner * reset * (one - reset);
      const Batch dupdate = dh * (before - value) * update * (one - update);
      put(0, dreset, dreset);
      put(1, dupdate, dupdate);
      put(2, dvalue, dvalue * reset);
      part.store(u.dh + i, dh * update);
    });
  }
};

// Sequences `first` .. `first` + `rows` - 1, which a piece walks together.
struct RecurrentPiece {
  RecurrentShape s;
  const std::int64_t* lengths;
  Index first, rows;

  Index length(Index row) const noexcept { return length_of(lengths, first + row, s.steps); }
  Index longest() const noexcept {
    Index longest = 0;
    for (Index row = 0; row < rows; ++row) longest = (std::max)(longest, length(row));
    return longest;
  }
  // The piece's part of a state [B, H], or of none.
  template <class T>
  T* of(T* state) const noexcept {
    return state == nullptr ? nullptr : state + first * s.hidden;
  }
};

// The product of a step, x [rows, width] times all panels: f(row, column, product) for each sequence that has this
// step and each tile of hidden units from `column` on, where product(gate) points at the row's part of the tile.
template <Index gates, class T, class F>
[[gnu::always_inline]] inline void for_each_product(const RecurrentPiece& p, Index step, const T* x, Index width,
                                                    const T* panels, T* strips, const F& f) {
  constexpr Index cols = gemm_cols<T>;
  const Index blocks = panel_count<T>(p.s.hidden);
  alignas(64) T tile[static_cast<std::size_t>(gates)][static_cast<std::size_t>(gemm_rows * cols)];
  for (Index i = 0; i < p.rows; i += gemm_rows)
    pack_strip<gemm_rows>(x + i * width, width, 1, std::min<Index>(gemm_rows, p.rows - i), width, strips + i * width);
  for (Index block = 0; block < blocks; ++block) {
    for (Index i = 0; i < p.rows; i += gemm_rows) {
      const Index valid = std::min<Index>(gemm_rows, p.rows - i);
      for (Index g = 0; g < gates; ++g)
        multiply_strip<T, Numeric::exact>(valid, width, strips + i * width,
                                          panels + (g * blocks + block) * cols * width, tile[g]);
      for (Index row = i; row < i + valid; ++row)
        if (step < p.length(row)) f(row, block * cols, [&](Index g) { return tile[g] + (row - i) * cols; });
    }
  }
}

template <class T, class Units>
[[gnu::noinline]] void recurrent_forward_piece(const RecurrentForward<T>& d, const RecurrentPiece& p,
                                               Scratch& scratch) {
  const Index hidden = p.s.hidden, steps = p.s.steps, width = Units::gates * hidden;
  T* h = scratch.take<T>(p.rows * hidden);
  T* c = Units::has_cell ? scratch.take<T>(p.rows * hidden) : nullptr;
  T* strips = scratch.take<T>(packed_count<gemm_rows, T>(p.rows, hidden));
  copy_or_zero(h, p.of(d.h0), p.rows * hidden);
  if (Units::has_cell) copy_or_zero(c, p.of(d.c0), p.rows * hidden);
  for (Index step = 0, longest = p.longest(); step < longest; ++step) {
    for_each_product<Units::gates>(p, step, h, hidden, d.panels, strips, [&](Index row, Index column, auto product) {
      const Index token = (p.first + row) * steps + token_at(step, p.length(row), d.reverse).now;
      ForwardUnits<T> units{};
      for (Index g = 0; g < Units::gates; ++g) units.product[g] = product(g);
      units.bias = d.bias == nullptr ? nullptr : d.bias + column;
      units.gates = d.gates + token * width + column;
      units.memory = d.memory == nullptr ? nullptr : d.memory + token * hidden + column;
      units.h = h + row * hidden + column;
      units.c = Units::has_cell ? c + row * hidden + column : nullptr;
      units.y = d.y + token * d.ldy + column;
      units.hidden = hidden;
      units.count = std::min<Index>(gemm_cols<T>, hidden - column);
      Units::forward(units);
    });
  }
  copy_or_zero(p.of(d.h_last), h, p.rows * hidden);
  if (Units::has_cell) copy_or_zero(p.of(d.c_last), c, p.rows * hidden);
  for (Index row = 0; row < p.rows; ++row) {
    for (Index t = p.length(row); t < steps; ++t)
      std::fill_n(d.y + ((p.first + row) * steps + t) * d.ldy, hidden, T(0));
  }
}

template <class T, class Units>
[[gnu::noinline]] void recurrent_backward_piece(const RecurrentBackward<T>& d, const RecurrentPiece& p,
                                                Scratch& scratch) {
  const Index hidden = p.s.hidden, steps = p.s.steps, width = Units::gates * hidden;
  T* dh = scratch.take<T>(p.rows * hidden);
  T* dc = Units::has_cell ? scratch.take<T>(p.rows * hidden) : nullptr;
  T* source = scratch.take<T>(p.rows * width);
  T* strips = scratch.take<T>(packed_count<gemm_rows, T>(p.rows, width));
  copy_or_zero(dh, p.of(d.gh_last), p.rows * hidden);
  if (Units::has_cell) copy_or_zero(dc, p.of(d.gc_last), p.rows * hidden);
  std::fill_n(source, p.rows * width, T(0));
  for (Index step = p.longest() - 1; step >= 0; --step) {
    for (Index r = 0; r < p.rows; ++r) {
      const Index b = p.first + r;
      if (step >= p.length(r)) continue;
      const RecurrentToken token = token_at(step, p.length(r), d.reverse);
      const Index row = b * steps + token.now, before = b * steps + token.before;
      const bool initial = token.before < 0;
      const auto state0 = [&](const T* state) { return state == nullptr ? nullptr : state + b * hidden; };
      BackwardUnits<T> units{};
      units.gates = d.gates + row * width;
      units.hidden_gates = d.hidden_gates == nullptr ? nullptr : d.hidden_gates + row * width;
      units.packed_source = source + r * width;
      units.memory = d.memory + row * hidden;
      units.before_h = initial ? state0(d.h0) : d.y + before * d.ldy;
      units.before_c = !Units::has_cell ? nullptr : initial ? state0(d.c0) : d.memory + before * hidden;
      units.gy = d.gy == nullptr ? nullptr : d.gy + row * d.ldgy;
      units.dh = dh + r * hidden;
      units.dc = Units::has_cell ? dc + r * hidden : nullptr;
      units.hidden = hidden;
      Units::backward(units);
      if (d.previous != nullptr) copy_or_zero(d.previous + row * hidden, units.before_h, hidden);
    }
    if (step == 0 && d.gh0 == nullptr) break;
    for_each_product<1>(p, step, source, width, d.panels, strips, [&](Index row, Index column, auto product) {
      T* to = dh + row * hidden + column;
      const T* from = product(0);
      simd::for_lanes<T>(std::min<Index>(gemm_cols<T>, hidden - column),
                         [&](Index j, auto part) { part.store(to + j, part.load(to + j) + simd::load(from + j)); });
    });
  }
  if (d.gh0 != nullptr) copy_or_zero(p.of(d.gh0), dh, p.rows * hidden);
  if (Units::has_cell && d.gc0 != nullptr) copy_or_zero(p.of(d.gc0), dc, p.rows * hidden);
  for (Index row = 0; row < p.rows; ++row) {
    for (Index t = p.length(row); t < steps; ++t) {
      const Index token = (p.first + row) * steps + t;
      std::fill_n(d.gates + token * width, width, T(0));
      if (d.hidden_gates != nullptr) std::fill_n(d.hidden_gates + token * width, width, T(0));
      if (d.previous != nullptr) std::fill_n(d.previous + token * hidden, hidden, T(0));
    }
  }
}

// Runs f(direction, piece, scratch).
template <class F>
void for_recurrent_pieces(Threads threads, RecurrentShape s, const std::int64_t* lengths, Index directions,
                          const F& f) {
  if (s.batch <= 0) return;
  const RecurrentPieces pieces = recurrent_pieces(s.batch, directions, threads.count());
  threads.run(directions * pieces.per_direction, [&](Index i, Scratch& scratch) {
    const Index first = i % pieces.per_direction * pieces.rows;
    f(i / pieces.per_direction, RecurrentPiece{s, lengths, first, (std::min)(pieces.rows, s.batch - first)}, scratch);
  });
}

}  // namespace detail

// Elements of the packed panels of W_hh [G H, H], and of its transpose.
template <class T>
constexpr Index packed_recurrent(RecurrentCell cell, Index hidden) noexcept {
  return gates_of(cell) * detail::panel_count<T>(hidden) * detail::gemm_cols<T> * hidden;
}

// W_hh in panels that begin anew with every gate, so that a tile of each gate holds the same hidden units.
template <class T>
void pack_recurrent(Threads threads, RecurrentCell cell, const T* w, Index ldw, Index hidden, T* panels) {
  constexpr Index cols = detail::gemm_cols<T>;
  const Index blocks = detail::panel_count<T>(hidden);
  threads.run(gates_of(cell), [&](Index gate, Scratch&) {
    for (Index block = 0; block < blocks; ++block) {
      detail::pack_strip<detail::gemm_cols<T>>(w + (gate * hidden + block * cols) * ldw, ldw, 1,
                                               (std::min)(cols, hidden - block * cols), hidden,
                                               panels + (gate * blocks + block) * cols * hidden);
    }
  });
}

// The transpose of W_hh in panels, for the backward pass.
template <class T>
void pack_recurrent_transposed(Threads threads, RecurrentCell cell, const T* w, Index ldw, Index hidden, T* panels) {
  constexpr Index cols = detail::gemm_cols<T>;
  const Index width = gates_of(cell) * hidden;
  threads.run(detail::panel_count<T>(hidden), [&](Index block, Scratch&) {
    detail::pack_strip<detail::gemm_cols<T>>(w + block * cols, 1, ldw, (std::min)(cols, hidden - block * cols), width,
                                             panels + block * cols * width);
  });
}

// Bytes of scratch that a running piece needs, forward and backward.
template <class T>
constexpr std::size_t recurrent_scratch(RecurrentCell cell, Index batch, Index hidden) noexcept {
  const Index rows = (std::min)(detail::recurrent_rows, batch), width = gates_of(cell) * hidden;
  return 2 * scratch_size<T>(rows * hidden) + scratch_size<T>(rows * width) +
         scratch_size<T>(detail::packed_count<detail::gemm_rows, T>(rows, width));
}

// h_t and, for the LSTM, c_t for t = 0 .. N - 1, backwards with `reverse`. LSTM: i, f, o = sigmoid, g = tanh of
// (x W_ih^T + b_ih) + (h W_hh^T + b_hh); c' = f c + i g; h' = o tanh(c'). GRU: r, z = sigmoid likewise,
// n = tanh(x W_in^T + b_in + r (h W_hn^T + b_hn)); h' = (1 - z) n + z h. A sequence b with lengths[b] < N ends there:
// its backward direction begins there, its last state is the one there, y behind is 0. lengths [B], or null for N. Sums
// in T; a sequence's result depends neither on the others nor on the threads. 2 B N G H^2 operations a direction.
// torch.nn.LSTM, torch.nn.GRU with batch_first.
template <class T>
void recurrent_forward(Threads threads, RecurrentCell cell, RecurrentShape s, const std::int64_t* lengths,
                       const RecurrentForward<T>* directions, Index count) {
  detail::for_recurrent_pieces(threads, s, lengths, count, [&](Index d, const auto& piece, Scratch& scratch) {
    if (cell == RecurrentCell::lstm)
      detail::recurrent_forward_piece<T, detail::LstmUnits>(directions[d], piece, scratch);
    else
      detail::recurrent_forward_piece<T, detail::GruUnits>(directions[d], piece, scratch);
  });
}

// Backpropagation through time. The gradient of W_hh is hidden_gates^T previous, that of b_hh the sum of hidden_gates
// over all tokens (of gates, for the LSTM).
template <class T>
void recurrent_backward(Threads threads, RecurrentCell cell, RecurrentShape s, const std::int64_t* lengths,
                        const RecurrentBackward<T>* directions, Index count) {
  detail::for_recurrent_pieces(threads, s, lengths, count, [&](Index d, const auto& piece, Scratch& scratch) {
    if (cell == RecurrentCell::lstm)
      detail::recurrent_backward_piece<T, detail::LstmUnits>(directions[d], piece, scratch);
    else
      detail::recurrent_backward_piece<T, detail::GruUnits>(directions[d], piece, scratch);
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
