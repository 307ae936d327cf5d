// Gradients of the selective scan, backwards through time. States are computed again from those at chunk borders.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "aulos/kernels/selective_scan.hpp"
#include "aulos/simd/reduce.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// What is wanted of them; all are overwritten.
template <class T>
struct SelectiveScanGradients {
  HeadRows<const T> dout{};           // absent: 0
  const T* dlast = nullptr;           // the same
  HeadRows<T> du{}, ddelta{}, dz{};   // [B, L, C]
  T* da = nullptr;                    // [C, N]
  HeadRows<T> db{}, dc{};             // [B, L, G, N]
  T *dd = nullptr, *dbias = nullptr;  // [C]
  T* dinitial = nullptr;              // [B, C, N]
};

// Elements of the workspace of selective_scan_backward: what pieces leave to be summed.
inline Index selective_scan_backward_workspace(const SelectiveScanShape& s) {
  return s.batch * (s.channels * (s.states + 2) + 2 * detail::scan_blocks(s) * s.groups * s.tokens * s.states);
}

namespace detail {

template <class T>
struct ScanWorkspace {
  T *a, *d, *bias;  // [B, C, N], [B, C], [B, C]
  T *b, *c;         // [pieces, L, N]

  ScanWorkspace(const SelectiveScanShape& s, T* data)
      : a(data),
        d(a + s.batch * s.channels * s.states),
        bias(d + s.batch * s.channels),
        b(bias + s.batch * s.channels),
        c(b + scan_pieces(s) * s.tokens * s.states) {}
};

// The arrays of one piece: of each of its batches of channels a tile [N, lanes], and of the batch at hand the states
// of one chunk.
template <class T>
struct ScanBackwardScratch {
  T *a, *adjoint, *ga;  // A, the gradient of the state behind the token, and that of A
  T *gd, *gbias;        // [lanes] each
  T* borders;           // states before each chunk
  T *h, *decays;        // [chunk + 1, N, lanes], [chunk, N, lanes]
  T *dt, *y;            // [chunk, lanes]
  T *gb, *gc;           // [chunk, N, lanes], summed over the batches
  T* ga_chunk;          // [N, lanes]

  static std::size_t bytes(const SelectiveScanShape& s) {
    constexpr Index lanes = simd::lanes<T>;
    const Index tile = s.states * lanes;
    return 3 * scratch_size<T>(scan_block * s.states) + 2 * scratch_size<T>(scan_block) +
           scratch_size<T>(chunks(s) * scan_block * s.states) + scratch_size<T>((scan_chunk + 1) * tile) +
           3 * scratch_size<T>(scan_chunk * tile) + 2 * scratch_size<T>(scan_chunk * lanes) + scratch_size<T>(tile);
  }
  static Index chunks(const SelectiveScanShape& s) { return (s.tokens + scan_chunk - 1) / scan_chunk; }

  ScanBackwardScratch(const SelectiveScanShape& s, Scratch& scratch) {
    constexpr Index lanes = simd::lanes<T>;
    const Index tile = s.states * lanes;
    a = scratch.take<T>(scan_block * s.states);
    adjoint = scratch.take<T>(scan_block * s.states);
    ga = scratch.take<T>(scan_block * s.states);
    gd = scratch.take<T>(scan_block);
    gbias = scratch.take<T>(scan_block);
    borders = scratch.take<T>(chunks(s) * scan_block * s.states);
    h = scratch.take<T>((scan_chunk + 1) * tile);
    decays = scratch.take<T>(scan_chunk * tile);
    gb = scratch.take<T>(scan_chunk * tile);
    gc = scratch.take<T>(scan_chunk * tile);
    dt = scratch.take<T>(scan_chunk * lanes);
    y = scratch.take<T>(scan_chunk * lanes);
    ga_chunk = scratch.take<T>(tile);
    std::fill_n(ga, scan_block * s.states, T(0));
    std::fill_n(gd, scan_block, T(0));
    std::fill_n(gbias, scan_block, T(0));
  }
};

// One chunk of one batch of channels; `offset` is its first channel in the piece.
template <class T, class Part>
[[gnu::noinline]] void scan_chunk_backward(const ScanLanes<T, Part>& x, const SelectiveScanGradients<T>& g,
                                           Index offset, Index first, Index end, const ScanBackwardScratch<T>& w) {
  using Batch = simd::Batch<T>;
  constexpr Index lanes = simd::lanes<T>;
  const SelectiveScanShape& s = x.s;
  const Index tile = s.states * lanes;
  for (Index t = first; t < end; ++t) {
    const Index i = t - first;
    const Batch dt = x.step(x.raw_step(t));
    simd::store(w.dt + i * lanes, dt);
    simd::store(w.y + i * lanes, x.advance(t, dt, w.h + i * tile, w.h + (i + 1) * tile, w.decays + i * tile));
  }
  const auto write = [&](const HeadRows<T>& to, Index t, Batch value) {
    if (to) x.part.store(to.at(x.batch, t, 0) + x.c, value);
  };
  T* adjoint = w.adjoint + offset / lanes * tile;
  std::fill_n(w.ga_chunk, tile, T(0));
  Batch gd(T(0)), gbias(T(0));
  for (Index t = end - 1; t >= first; --t) {
    const Index i = t - first;
    Batch gy = g.dout ? x.load(g.dout, t) : Batch(T(0));
    if (x.in.z) {
      const Batch z = x.load(x.in.z, t);
      write(g.dz, t, gy * simd::load(w.y + i * lanes) * simd::Silu{}.derivative(z));
      gy *= simd::silu(z);
    }
    const Batch u = x.load(x.in.u, t), dt = simd::load(w.dt + i * lanes), du = dt * u;
    const T *b = x.in.b.at(x.batch, t, x.group), *c = x.in.c.at(x.batch, t, x.group);
    const T *before = w.h + i * tile, *after = before + tile, *decays = w.decays + i * tile;
    T *gb = w.gb + i * tile, *gc = w.gc + i * tile;
    Batch gdu(T(0)), gdt(T(0));
    for (Index n = 0; n < tile; n += lanes, ++b, ++c) {
      const Batch decay = simd::load(decays + n);
      const Batch p = simd::fma(gy, Batch(*c), simd::load(adjoint + n));
      const Batch p_decay = p * decay, exponent = p_decay * simd::load(before + n);  // the gradient of dt A
      simd::store(gc + n, simd::fma(gy, simd::load(after + n), simd::load(gc + n)));
      simd::store(gb + n, simd::fma(p, du, simd::load(gb + n)));
      simd::store(w.ga_chunk + n, simd::fma(exponent, dt, simd::load(w.ga_chunk + n)));
      simd::store(adjoint + n, p_decay);
      gdu = simd::fma(p, Batch(*b), gdu);
      gdt = simd::fma(exponent, simd::load(x.a + n), gdt);
    }
    write(g.du, t, simd::fma(gdu, dt, gy * x.d));
    if constexpr (scan_in_base_two) gdt *= Batch(ScanPower<T>::unit);
    gdt = simd::fma(gdu, u, gdt);
    if (s.step == StepSize::softplus) gdt *= simd::Softplus{}.derivative(x.raw_step(t));
    write(g.ddelta, t, gdt);
    gd = simd::fma(gy, u, gd);
    gbias += gdt;
  }
  simd::store(w.gd + offset, simd::load(w.gd + offset) + gd);
  simd::store(w.gbias + offset, simd::load(w.gbias + offset) + gbias);
  T* ga = w.ga + offset / lanes * tile;
  for (Index n = 0; n < tile; n += lanes) simd::store(ga + n, simd::load(ga + n) + simd::load(w.ga_chunk + n));
}

template <class T>
[[gnu::noinline]] void scan_backward(const SelectiveScanShape& s, const SelectiveScanOperands<T>& in,
                                     const SelectiveScanGradients<T>& g, Index index, const ScanWorkspace<T>& sums,
                                     Scratch& scratch) {
  constexpr Index lanes = simd::lanes<T>;
  const ScanPiece piece = scan_piece(s, index);
  const ScanBackwardScratch<T> w(s, scratch);
  const Index tile = s.states * lanes, border = scan_block * s.states, chunks = ScanBackwardScratch<T>::chunks(s);
  const auto each = [&](auto body) {  // body(offset, part, tile of this batch of channels, count, first channel of all)
    simd::for_lanes<T>(piece.count, [&](Index offset, auto part) {
      const Index channel = piece.batch * s.channels + piece.first + offset;
      body(offset, part, offset / lanes * tile, (std::min)(lanes, piece.count - offset), channel);
    });
  };
  each([&](Index offset, auto part, Index at, Index count, Index channel) {
    load_rates(w.a + at, in.a + (piece.first + offset) * s.states, s.states, count);
    load_states(w.adjoint + at, g.dlast == nullptr ? nullptr : g.dlast + channel * s.states, s.states, count);
    if (chunks == 0) return;
    load_states(w.borders + at, in.initial == nullptr ? nullptr : in.initial + channel * s.states, s.states, count);
    const ScanLanes<T, decltype(part)> x(s, in, piece, offset, part, w.a + at);
    for (Index t = 0; t < (chunks - 1) * scan_chunk; ++t) {
      T* to = w.borders + (t / scan_chunk + 1) * border + at;
      const T* from = t % scan_chunk == 0 ? to - border : to;
      x.advance(t, x.step(x.raw_step(t)), from, to, nullptr);
    }
  });
  for (Index chunk = chunks - 1; chunk >= 0; --chunk) {
    const Index first = chunk * scan_chunk, end = (std::min)(first + scan_chunk, s.tokens);
    std::fill_n(w.gb, (end - first) * tile, T(0));
    std::fill_n(w.gc, (end - first) * tile, T(0));
    each([&](Index offset, auto part, Index at, Index, Index) {
      std::copy_n(w.borders + chunk * border + at, tile, w.h);
      const ScanLanes<T, decltype(part)> x(s, in, piece, offset, part, w.a + at);
      scan_chunk_backward(x, g, offset, first, end, w);
    });
    T *b = sums.b + (index * s.tokens + first) * s.states, *c = sums.c + (index * s.tokens + first) * s.states;
    for (Index i = 0; i < (end - first) * s.states; ++i) {
      b[i] = simd::reduce_add(simd::load(w.gb + i * lanes));
      c[i] = simd::reduce_add(simd::load(w.gc + i * lanes));
    }
  }
  each([&](Index offset, auto, Index at, Index count, Index channel) {
    if (g.dinitial != nullptr) store_states(g.dinitial + channel * s.states, w.adjoint + at, s.states, count);
    store_states(sums.a + channel * s.states, w.ga + at, s.states, count);
    std::copy_n(w.gd + offset, count, sums.d + channel);
    std::copy_n(w.gbias + offset, count, sums.bias + channel);
  });
}

// to[i] = sum over `parts` of from[part * stride + i], in order, in double.
template <class T>
void sum_parts(T* to, const T* from, Index parts, Index stride, Index count) {
  for (Index i = 0; i < count; ++i) {
    double sum = 0;
    for (Index part = 0; part < parts; ++part) sum += static_cast<double>(from[part * stride + i]);
    to[i] = static_cast<T>(sum);
  }
}

}  // namespace detail

// Bytes of scratch that a running piece of selective_scan_backward needs: a state for every 32 tokens, and more.
template <class T>
std::size_t selective_scan_backward_scratch(const SelectiveScanShape& s) {
  return detail::ScanBackwardScratch<T>::bytes(s);
}

// The gradients of selective_scan. With p_t the gradient of h_t, p_t = exp(dt_{t+1} A) p_{t+1} + C_t gy_t, gy = dout
// silu(z), and x_t = p_t exp(dt_t A) h_{t-1}: dC = sum_channels h gy, dB = sum_channels p dt u, du = dt p . B + D gy,
// d dt = x . A + (p . B) u, dA = sum x dt, dD = sum gy u. `workspace` has selective_scan_backward_workspace(s) elements
// of the caller's. Gradients may not overlap operands. Sums over channels: 64 in T, then in double; over tokens: 32 in
// T at a time; over samples in double, all in a fixed order. About 2.5 times the cost of the forward.
template <class T>
void selective_scan_backward(Threads threads, const SelectiveScanShape& s,
                             const std::type_identity_t<SelectiveScanOperands<T>>& in,
                             const SelectiveScanGradients<T>& g, T* workspace) {
  const detail::ScanWorkspace<T> sums(s, workspace);
  threads.run(detail::scan_pieces(s),
              [&](Index piece, Scratch& scratch) { detail::scan_backward<T>(s, in, g, piece, sums, scratch); });
  const Index blocks = detail::scan_blocks(s), row = s.tokens * s.states;
  constexpr Index together = 64;  // tokens
  const Index runs = (s.tokens + together - 1) / together;
  threads.run(s.batch * runs, [&](Index index, Scratch&) {
    const Index batch = index / runs, first = index % runs * together, end = (std::min)(first + together, s.tokens);
    for (Index i = first * s.groups; i < end * s.groups; ++i) {
      const Index t = i / s.groups, group = i % s.groups;
      const Index from = (batch * s.groups + group) * blocks * row + t * s.states;
      if (g.db) detail::sum_parts(g.db.at(batch, t, group), sums.b + from, blocks, row, s.states);
      if (g.dc) detail::sum_parts(g.dc.at(batch, t, group), sums.c + from, blocks, row, s.states);
    }
  });
  if (g.da != nullptr) detail::sum_parts(g.da, sums.a, s.batch, s.channels * s.states, s.channels * s.states);
  if (g.dd != nullptr) detail::sum_parts(g.dd, sums.d, s.batch, s.channels, s.channels);
  if (g.dbias != nullptr) detail::sum_parts(g.dbias, sums.bias, s.batch, s.channels, s.channels);
}

}  // namespace aulos::inline AULOS_ISA::kernels
