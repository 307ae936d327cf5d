// Convolutions whose groups have one input channel: each channel by itself, from a padded copy of the input.
#pragma once

#include <algorithm>
#include <cstddef>

#include "aulos/core/threads.hpp"
#include "aulos/kernels/conv_shape.hpp"
#include "aulos/simd/for_lanes.hpp"
#include "aulos/simd/row_sum.hpp"

namespace aulos::inline AULOS_ISA::kernels {

namespace detail {

// A block of outputs and the inputs that their windows span, padding included, with columns sorted by their remainder
// modulo the stride: what a weight meets along a row of outputs then lies side by side.
template <class T>
class WindowBlock {
 public:
  // Of at most `rows` by `columns` outputs.
  WindowBlock(const ConvShape& s, Index rows, Index columns) noexcept
      : rows_axis_(s.rows),
        columns_axis_(s.columns),
        phase_(columns + (s.columns.span() - 1) / s.columns.stride + 2 + simd::lanes<T>),
        row_(phase_ * s.columns.stride),
        height_((rows - 1) * s.rows.stride + s.rows.span()) {}

  Index size() const noexcept { return row_ * height_; }
  // From a weight's input for output (r, c) of the block to that for (r + 1, c).
  Index output_row() const noexcept { return row_ * rows_axis_.stride; }

  void offsets(Index* to) const noexcept {
    for (Index r = 0; r < rows_axis_.kernel; ++r) {
      for (Index c = 0; c < columns_axis_.kernel; ++c) {
        const Index at = c * columns_axis_.dilation;
        *to++ = r * rows_axis_.dilation * row_ + at % columns_axis_.stride * phase_ + at / columns_axis_.stride;
      }
    }
  }

  // The inputs of the outputs from (row, column) on, zero in the padding; `rows` of them are wanted.
  void load(const T* x, Index row, Index column, Index rows, T* to) const noexcept {
    const Index stride = columns_axis_.stride, width = columns_axis_.in;
    const Index height = (rows - 1) * rows_axis_.stride + rows_axis_.span();
    for (Index i = 0; i < height; ++i) {
      const Index source = rows_axis_.source(row, 0) + i;
      T* out = to + i * row_;
      if (source < 0 || source >= rows_axis_.in) {
        std::fill_n(out, row_, T(0));
        continue;
      }
      for (Index f = 0; f < stride; ++f, out += phase_) {
        const Index at = columns_axis_.source(column, 0) + f;  // input of the first element; then every stride-th
        const Index begin = std::clamp<Index>(at >= 0 ? 0 : (stride - 1 - at) / stride, 0, phase_);
        const Index end = std::clamp<Index>(at >= width ? 0 : (width - 1 - at) / stride + 1, begin, phase_);
        std::fill_n(out, begin, T(0));
        const T* from = x + source * width;
        if (stride == 1) {
          std::copy_n(from + (at + begin), end - begin, out + begin);
        } else {
          for (Index k = begin; k < end; ++k) out[k] = from[at + k * stride];
        }
        std::fill(out + end, out + phase_, T(0));
      }
    }
  }

  // to[r, c] = value + the element of the block that holds input (r, c), for the inputs [r0, r1) x [c0, c1); the block
  // begins with the input of output (row, column), which does not lie behind (r0, c0). 0 is what lies outside.
  void store(const T* block, Index row, Index column, Index r0, Index r1, Index c0, Index c1, T value,
             T* to) const noexcept {
    const Index stride = columns_axis_.stride, width = columns_axis_.in;
    for (Index r = r0; r < r1; ++r) {
      const Index i = r - rows_axis_.source(row, 0);
      T* out = to + r * width;
      if (i >= height_) {
        std::fill(out + c0, out + c1, value);
        continue;
      }
      for (Index f = 0; f < stride && c0 + f < c1; ++f) {
        const Index at = c0 + f - columns_axis_.source(column, 0);
        const T* from = block + i * row_ + at % stride * phase_ + at / stride;
        const Index held = (std::max)(phase_ - at / stride, Index{0});
        const Index count = (c1 - c0 - f + stride - 1) / stride;
        for (Index k = 0; k < count; ++k) out[c0 + f + k * stride] = value + (k < held ? from[k] : T(0));
      }
    }
  }

 private:
  WindowAxis rows_axis_, columns_axis_;
  Index phase_, row_, height_;
};

// Extents of a block along one plane of outputs or inputs: some 32 K elements with what windows span.
struct BlockExtents {
  Index rows, columns;

  static constexpr BlockExtents of(const WindowAxis& rows, const WindowAxis& columns, Index all_rows, Index all_columns,
                                   Index stride_row, Index stride_column) noexcept {
    constexpr Index elements = 32768, longest = 2048;
    const Index wide = std::max<Index>((std::min)(all_columns, longest), 1);
    const Index row = wide * stride_column + columns.span();
    const Index fit = (elements / row - rows.span()) / stride_row;
    return {std::clamp<Index>(fit, (std::min)(Index{4}, std::max<Index>(all_rows, 1)), std::max<Index>(all_rows, 1)),
            wide};
  }
  static constexpr BlockExtents of_outputs(const ConvShape& s) noexcept {
    return of(s.rows, s.columns, s.rows.out, s.columns.out, s.rows.stride, s.columns.stride);
  }
  static constexpr BlockExtents of_inputs(const ConvShape& s) noexcept {
    return of(s.rows, s.columns, s.rows.in, s.columns.in, 1, 1);
  }
};

// Outputs whose windows touch a block of inputs, at most.
constexpr Index touching_most(const WindowAxis& axis, Index inputs) noexcept {
  return (inputs + axis.span() - 2) / axis.stride + 2;
}

// The output at or in front of all those that touch inputs from `from` on: its window begins at or before `from`.
constexpr Index first_touching(const WindowAxis& axis, Index from) noexcept {
  return std::max<Index>(from + axis.padding - axis.span() + 1, 0) / axis.stride;
}

// `count` batches of outputs, `step` elements apart in the block and `out_step` in y: that many sums at a time, as one
// would wait for each of its additions. Reads whole batches: rows of a block end in room for them.
template <Index count, class T, class Part>
[[gnu::always_inline]] inline void sum_taps(const T* in, Index step, const T* weight, const Index* offset, Index taps,
                                            simd::Batch<T> start, T* out, Index out_step, Part part) noexcept {
  simd::Batch<T> sum[static_cast<std::size_t>(count)];
  AULOS_UNROLL for (Index k = 0; k < count; ++k) sum[k] = start;
  for (Index t = 0; t < taps; ++t) {
    const simd::Batch<T> by(weight[t]);
    const T* at = in + offset[t];
    AULOS_UNROLL for (Index k = 0; k < count; ++k) sum[k] = simd::fma(by, simd::load(at + k * step), sum[k]);
  }
  AULOS_UNROLL for (Index k = 0; k < count; ++k) part.store(out + k * out_step, sum[k]);
}

// Whether the first weight meets the first element of a window or the last.
enum class TapOrder { forward, reversed };

template <class T>
[[gnu::noinline]] void conv_depthwise(Threads threads, const ConvShape& s, TapOrder order, const T* x, const T* w,
                                      const T* bias, T* y) {
  const Index taps = s.taps(), width = s.columns.out;
  const auto extents = BlockExtents::of_outputs(s);
  if (s.batch * s.groups * s.out * s.positions() <= 0) return;
  const WindowBlock<T> block(s, extents.rows, extents.columns);
  const Index down = (s.rows.out + extents.rows - 1) / extents.rows;
  const Index across = (width + extents.columns - 1) / extents.columns;
  threads.run(s.batch * s.groups * down * across, [&](Index piece, Scratch& scratch) {
    const Index column = piece % across * extents.columns, row = piece / across % down * extents.rows;
    const Index channel = piece / across / down;  // of all samples
    const Index columns = (std::min)(extents.columns, width - column);
    const Index rows = (std::min)(extents.rows, s.rows.out - row);
    T* inputs = scratch.take<T>(block.size());
    Index* offset = scratch.take<Index>(taps);
    block.offsets(offset);
    if (order == TapOrder::reversed) std::reverse(offset, offset + taps);
    block.load(x + channel * s.plane(), row, column, rows, inputs);
    for (Index o = 0; o < s.out; ++o) {
      const Index out = channel % s.groups * s.out + o;
      const T* weight = w + out * taps;
      const simd::Batch<T> start(bias != nullptr ? bias[out] : T(0));
      const T* from = inputs;
      T* to = y + (channel * s.out + o) * s.positions() + row * width + column;
      constexpr Index lanes = simd::lanes<T>;
      Index r = 0;
      for (; r + 4 <= rows; r += 4, from += 4 * block.output_row(), to += 4 * width) {
        simd::for_lanes<T>(columns, [&](Index i, auto part) {
          sum_taps<4>(from + i, block.output_row(), weight, offset, taps, start, to + i, width, part);
        });
      }
      for (; r < rows; ++r, from += block.output_row(), to += width) {
        Index i = 0;
        for (; i + 4 * lanes <= columns; i += 4 * lanes)
          sum_taps<4>(from + i, lanes, weight, offset, taps, start, to + i, lanes, simd::WholeBatch<T>{});
        simd::for_lanes<T>(columns - i, [&](Index j, auto part) {
          sum_taps<1>(from + i + j, 0, weight, offset, taps, start, to + i + j, 0, part);
        });
      }
    }
  });
}

// With stride 1 and one output for each input the adjoint is a convolution too, with the weights reversed.
constexpr bool conv_adjoint_is_conv(const ConvShape& s) noexcept {
  return s.out == 1 && s.rows.stride == 1 && s.columns.stride == 1;
}
constexpr ConvShape conv_adjoint(const ConvShape& s) noexcept {
  const auto adjoint = [](const WindowAxis& a) {
    return WindowAxis{a.out, a.in, a.kernel, 1, a.span() - 1 - a.padding, a.dilation};
  };
  return {s.batch, s.groups, 1, 1, adjoint(s.rows), adjoint(s.columns)};
}

}  // namespace detail

// conv of conv.hpp for s.in = 1: s.out output channels for each input channel. Sums in T, the weights in order.
template <class T>
std::size_t conv_depthwise_scratch(const ConvShape& s) noexcept {
  const auto extents = detail::BlockExtents::of_outputs(s);
  return scratch_size<T>(detail::WindowBlock<T>(s, extents.rows, extents.columns).size()) +
         scratch_size<Index>(s.taps());
}
template <class T>
void conv_depthwise(Threads threads, const ConvShape& s, const T* x, const T* w, const T* bias, T* y) {
  detail::conv_depthwise(threads, s, detail::TapOrder::forward, x, w, bias, y);
}

// conv_transpose of conv.hpp for s.in = 1. Sums in T, for each block of gx in the order of gy (with stride 1: in that
// of the weights, the last one first).
template <class T>
std::size_t conv_transpose_depthwise_scratch(const ConvShape& s) noexcept {
  if (detail::conv_adjoint_is_conv(s)) return conv_depthwise_scratch<T>(detail::conv_adjoint(s));
  const auto extents = detail::BlockExtents::of_inputs(s);
  const detail::WindowBlock<T> block(s, detail::touching_most(s.rows, extents.rows),
                                     detail::touching_most(s.columns, extents.columns));
  return scratch_size<T>(block.size()) + scratch_size<Index>(s.taps());
}
template <class T>
[[gnu::noinline]] void conv_transpose_depthwise(Threads threads, const ConvShape& s, const T* gy, const T* w,
                                                const T* bias, T* gx) {
  if (detail::conv_adjoint_is_conv(s)) {
    return detail::conv_depthwise(threads, detail::conv_adjoint(s), detail::TapOrder::reversed, gy, w, bias, gx);
  }
  const Index taps = s.taps(), width = s.columns.in;
  const auto extents = detail::BlockExtents::of_inputs(s);
  if (s.batch * s.groups * s.plane() <= 0) return;
  const detail::WindowBlock<T> block(s, detail::touching_most(s.rows, extents.rows),
                                     detail::touching_most(s.columns, extents.columns));
  const Index down = (s.rows.in + extents.rows - 1) / extents.rows;
  const Index across = (width + extents.columns - 1) / extents.columns;
  threads.run(s.batch * s.groups * down * across, [&](Index piece, Scratch& scratch) {
    const Index c0 = piece % across * extents.columns, c1 = (std::min)(c0 + extents.columns, width);
    const Index r0 = piece / across % down * extents.rows, r1 = (std::min)(r0 + extents.rows, s.rows.in);
    const Index channel = piece / across / down;  // of all samples
    T* sums = scratch.take<T>(block.size());
    Index* offset = scratch.take<Index>(taps);
    block.offsets(offset);
    std::fill_n(sums, block.size(), T(0));
    const Index row = detail::first_touching(s.rows, r0), column = detail::first_touching(s.columns, c0);
    const Index end = s.rows.touching(r0, r1).end;
    const Index columns = s.columns.touching(c0, c1).end - column;
    for (Index o = 0; o < s.out; ++o) {
      const T* weight = w + (channel % s.groups * s.out + o) * taps;
      for (Index r = row; r < end; ++r) {
        const T* from = gy + (channel * s.out + o) * s.positions() + r * s.columns.out + column;
        for (Index t = 0; t < taps; ++t) {
          T* to = sums + (r - row) * block.output_row() + offset[t];
          const simd::Batch<T> by(weight[t]);
          simd::for_lanes<T>(columns, [&](Index i, auto part) {
            part.store(to + i, simd::fma(by, part.load(from + i), part.load(to + i)));
          });
        }
      }
    }
    block.store(sums, row, column, r0, r1, c0, c1, bias != nullptr ? bias[channel % s.groups] : T(0),
                gx + channel * s.plane());
  });
}

// conv_weight_gradient of conv.hpp for s.in = 1, rows of gy summed in double.
template <class T>
std::size_t conv_depthwise_weight_gradient_scratch(const ConvShape& s) noexcept {
  return conv_depthwise_scratch<T>(s) + scratch_size<double>(s.out * s.taps());
}
template <class T>
[[gnu::noinline]] void conv_depthwise_weight_gradient(Threads threads, const ConvShape& s, const T* x, const T* gy,
                                                      T* gw) {
  const Index taps = s.taps();
  const auto extents = detail::BlockExtents::of_outputs(s);
  const detail::WindowBlock<T> block(s, extents.rows, extents.columns);
  if (s.groups * s.out * taps <= 0) return;
  threads.run(s.groups, [&](Index group, Scratch& scratch) {
    T* inputs = scratch.take<T>(block.size());
    Index* offset = scratch.take<Index>(taps);
    double* sum = scratch.take<double>(s.out * taps);
    block.offsets(offset);
    std::fill_n(sum, s.out * taps, 0.0);
    for (Index channel = group; channel < s.batch * s.groups; channel += s.groups) {
      for (Index row = 0; row < s.rows.out; row += extents.rows) {
        for (Index column = 0; column < s.columns.out; column += extents.columns) {
          const Index rows = (std::min)(extents.rows, s.rows.out - row);
          const Index columns = (std::min)(extents.columns, s.columns.out - column);
          block.load(x + channel * s.plane(), row, column, rows, inputs);
          for (Index o = 0; o < s.out; ++o) {
            const T* g = gy + (channel * s.out + o) * s.positions() + row * s.columns.out + column;
            for (Index r = 0; r < rows; ++r, g += s.columns.out) {
              for (Index t = 0; t < taps; ++t) {
                const T* from = inputs + r * block.output_row() + offset[t];
                sum[o * taps + t] += simd::sum_row<T, 1>(columns, [&](Index i, auto part, auto& sums) {
                  sums[0] = simd::fma(part.load(g + i), part.load(from + i), sums[0]);
                })[0];
              }
            }
          }
        }
      }
    }
    for (Index i = 0; i < s.out * taps; ++i) gw[group * s.out * taps + i] = static_cast<T>(sum[i]);
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
