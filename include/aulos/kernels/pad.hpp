// Padding, rolling and flipping: every element of the result is one of the argument, found axis by axis, or a constant.
#pragma once

#include <algorithm>
#include <cstddef>

#include "aulos/core/config.hpp"
#include "aulos/core/shape.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/kernels/rows.hpp"
#include "aulos/simd/for_lanes.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// What lies outside of the argument: a constant, its mirror image (the border itself once), its border, itself again.
enum class PadMode { constant, reflect, replicate, circular };

// Index i of the result, 0 <= i < out, is index i - before of the argument, continued by the mode. `flip` runs the
// whole axis backwards. A roll by n is circular with before = n and out = in.
struct PadAxis {
  Index in = 1, out = 1, before = 0;
  PadMode mode = PadMode::constant;
  bool flip = false;

  // From result index i on: `count` elements come from `source`, source + step, ...; the constant where source is -1.
  struct Run {
    Index source, step, count;
  };
  constexpr Run run(Index i) const noexcept {
    const Index rest = out - i, at = i - before;
    if (flip) return {in - 1 - i, -1, rest};
    if (at >= 0 && at < in) return {at, 1, (std::min)(rest, in - at)};
    switch (mode) {
      case PadMode::constant:
        return {-1, 0, at < 0 ? (std::min)(rest, -at) : rest};
      case PadMode::replicate:
        return {at < 0 ? 0 : in - 1, 0, at < 0 ? (std::min)(rest, -at) : rest};
      case PadMode::circular: {
        const Index source = modulo(at, in);
        return {source, 1, (std::min)(rest, in - source)};
      }
      case PadMode::reflect: {
        if (in == 1) return {0, 0, rest};
        const Index turn = in - 1, source = modulo(at, 2 * turn);
        if (source < turn) return {source, 1, (std::min)(rest, turn - source)};
        return {2 * turn - source, -1, (std::min)(rest, 2 * turn - source)};
      }
    }
    return {-1, 0, rest};
  }

  // Whether it changes nothing.
  constexpr bool identity() const noexcept { return before == 0 && in == out && !flip; }

 private:
  static constexpr Index modulo(Index a, Index b) noexcept { return (a % b + b) % b; }
};

// Up to eight axes, the outermost first; argument and result are dense.
struct PadShape {
  int rank = 0;
  PadAxis axis[max_rank];

  constexpr Index in() const noexcept { return count(0, rank, &PadAxis::in); }
  constexpr Index out() const noexcept { return count(0, rank, &PadAxis::out); }
  constexpr Index count(int begin, int end, Index PadAxis::*extent) const noexcept {
    Index n = 1;
    for (int i = begin; i < end; ++i) n *= axis[i].*extent;
    return n;
  }
};

namespace detail {

// The row of the argument that row `row` of the result comes from, counted over axes [first, rank - 1); -1: none.
constexpr Index pad_row(const PadShape& s, int first, Index row) noexcept {
  Index source = 0, stride = 1;
  for (int i = s.rank - 2; i >= first; --i) {
    const PadAxis& axis = s.axis[i];
    const Index at = axis.run(row % axis.out).source;
    if (at < 0) return -1;
    source += at * stride;
    stride *= axis.in;
    row /= axis.out;
  }
  return source;
}

}  // namespace detail

// y = x padded, rolled or flipped along its axes; `value` is the constant. torch.nn.functional.pad, roll, flip.
// Reflection and repetition go on beyond one length of x, where PyTorch's refuse.
template <class T>
[[gnu::noinline]] void pad(Threads threads, const PadShape& s, T value, const T* x, T* y) {
  if (s.out() <= 0) return;
  const PadAxis& last = s.axis[s.rank - 1];
  detail::for_rows(threads, s.out() / last.out, last.out, [&](Index row) {
    T* to = y + row * last.out;
    const Index source = detail::pad_row(s, 0, row);
    if (source < 0) {
      std::fill_n(to, last.out, value);
      return;
    }
    const T* from = x + source * last.in;
    for (Index i = 0; i < last.out;) {
      const auto run = last.run(i);
      if (run.source < 0) {
        std::fill_n(to + i, run.count, value);
      } else if (run.step == 1) {
        std::copy_n(from + run.source, run.count, to + i);
      } else {
        for (Index k = 0; k < run.count; ++k) to[i + k] = from[run.source + k * run.step];
      }
      i += run.count;
    }
  });
}

// The adjoint, from gy to gx, overwritten: every element gets the gradients of all its places, in their order. The
// axes in front of the first one that changes are shared out to threads.
template <class T>
[[gnu::noinline]] void pad_backward(Threads threads, const PadShape& s, const T* gy, T* gx) {
  if (s.in() <= 0) return;
  int first = 0;
  while (first < s.rank - 1 && s.axis[first].identity()) ++first;
  const Index blocks = s.count(0, first, &PadAxis::in);
  const Index in = s.count(first, s.rank, &PadAxis::in), out = s.count(first, s.rank, &PadAxis::out);
  const PadAxis& last = s.axis[s.rank - 1];
  detail::for_rows(threads, blocks, (std::max)(in, out), [&](Index block) {
    T* to = gx + block * in;
    std::fill_n(to, in, T(0));
    for (Index row = 0; row * last.out < out; ++row) {
      const Index target = detail::pad_row(s, first, row);
      if (target < 0) continue;
      const T* from = gy + block * out + row * last.out;
      T* sum = to + target * last.in;
      for (Index i = 0; i < last.out;) {
        const auto run = last.run(i);
        if (run.step == 1) {
          T* at = sum + run.source;
          simd::for_lanes<T>(
              run.count, [&](Index k, auto part) { part.store(at + k, part.load(at + k) + part.load(from + i + k)); });
        } else if (run.source >= 0) {
          for (Index k = 0; k < run.count; ++k) sum[run.source + k * run.step] += from[i + k];
        }
        i += run.count;
      }
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
