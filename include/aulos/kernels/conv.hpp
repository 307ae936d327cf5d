// Convolution, its adjoint (the transposed convolution) and the gradient of its weight, over one or two axes: windows
// unfolded tile by tile into scratch, times the weight. Depthwise ones go to conv_depthwise.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "aulos/core/threads.hpp"
#include "aulos/kernels/conv_depthwise.hpp"
#include "aulos/kernels/conv_shape.hpp"
#include "aulos/kernels/matmul.hpp"
#include "aulos/kernels/rows.hpp"
#include "aulos/simd/row_sum.hpp"

namespace aulos::inline AULOS_ISA::kernels {

namespace detail {

// A tile: rows of the unfolded input (weights of an output channel) times positions. Fixed, since they order the sums.
inline constexpr Index conv_tile_depth = 256;
inline constexpr Index conv_tile_positions = 512;

// The weights [begin, end) and positions [first, last) of a tile.
struct ConvTile {
  Range depth, positions;

  constexpr Index rows() const noexcept { return depth.end - depth.begin; }
  constexpr Index columns() const noexcept { return positions.end - positions.begin; }
};

// Calls body(tile row, tile column, count, channel, tap row, tap column, output row, output column) for all stretches
// of a tile that lie in one output row.
template <class Body>
void for_conv_stretches(const ConvShape& s, const ConvTile& tile, const Body& body) {
  for (Index k = tile.depth.begin; k < tile.depth.end; ++k) {
    const Index channel = k / s.taps(), tap = k % s.taps();
    const Index tap_row = tap / s.columns.kernel, tap_column = tap % s.columns.kernel;
    Index row = tile.positions.begin / s.columns.out, column = tile.positions.begin % s.columns.out;
    for (Index p = tile.positions.begin; p < tile.positions.end; ++row, column = 0) {
      const Index count = (std::min)(s.columns.out - column, tile.positions.end - p);
      body(k - tile.depth.begin, p - tile.positions.begin, count, channel, tap_row, tap_column, row, column);
      p += count;
    }
  }
}

// to[k, p] = the element of x [in, plane] that weight k meets at position p, or 0 in the padding. torch unfold.
template <class T>
[[gnu::noinline]] void unfold(const ConvShape& s, const T* x, const ConvTile& tile, T* to) noexcept {
  const Index ld = tile.columns(), stride = s.columns.stride;
  for_conv_stretches(
      s, tile,
      [&](Index k, Index p, Index count, Index channel, Index tap_row, Index tap_column, Index row, Index column) {
        T* out = to + k * ld + p;
        const Index source_row = s.rows.source(row, tap_row);
        if (source_row < 0 || source_row >= s.rows.in) {
          std::fill_n(out, count, T(0));
          return;
        }
        const auto inside = s.columns.hits(tap_column, 0, s.columns.in, column, column + count);
        const T* from =
            x + channel * s.plane() + source_row * s.columns.in + s.columns.source(inside.begin, tap_column);
        const Index length = inside.end - inside.begin;
        T* first = std::fill_n(out, inside.begin - column, T(0));
        if (stride == 1) {
          first = std::copy_n(from, length, first);
        } else {
          for (Index i = 0; i < length; ++i) *first++ = from[i * stride];
        }
        std::fill_n(first, column + count - inside.end, T(0));
      });
}

// The elements of x that a piece of the adjoint owns: rows and columns of the plane.
struct ConvRegion {
  Range rows, columns;
};

// Adds from[k, p] to the element of x that weight k meets at position p, if it is of the region. torch fold.
template <class T>
[[gnu::noinline]] void fold(const ConvShape& s, const T* from, const ConvTile& tile, const ConvRegion& region,
                            T* x) noexcept {
  const Index ld = tile.columns(), stride = s.columns.stride;
  for_conv_stretches(
      s, tile,
      [&](Index k, Index p, Index count, Index channel, Index tap_row, Index tap_column, Index row, Index column) {
        const Index target = s.rows.source(row, tap_row);
        if (target < region.rows.begin || target >= region.rows.end) return;
        const auto inside =
            s.columns.hits(tap_column, region.columns.begin, region.columns.end, column, column + count);
        const T* in = from + k * ld + p + (inside.begin - column);
        T* to = x + channel * s.plane() + target * s.columns.in + s.columns.source(inside.begin, tap_column);
        const Index length = inside.end - inside.begin;
        if (stride == 1) {
          simd::for_lanes<T>(length,
                             [&](Index i, auto part) { part.store(to + i, part.load(to + i) + part.load(in + i)); });
        } else {
          for (Index i = 0; i < length; ++i) to[i * stride] += in[i];
        }
      });
}

// The adjoint is cut into regions of the plane: whole rows, or parts of the only row; each computes what it shares with
// its neighbours for itself.
struct ConvRegions {
  Index count, step;  // rows or columns of a region
  bool by_columns;

  static constexpr ConvRegions of(const ConvShape& s) noexcept {
    constexpr Index elements = 8192;
    const bool by_columns = s.rows.in == 1 && s.rows.out == 1;
    const WindowAxis& axis = by_columns ? s.columns : s.rows;
    const Index across = by_columns ? 1 : std::max<Index>(s.columns.in, 1);
    const Index step = std::max<Index>(elements / across, 4 * axis.span());
    return {(axis.in + step - 1) / step, step, by_columns};
  }
  constexpr ConvRegion region(const ConvShape& s, Index i) const noexcept {
    const Range part{i * step, (std::min)((i + 1) * step, by_columns ? s.columns.in : s.rows.in)};
    return by_columns ? ConvRegion{{0, s.rows.in}, part} : ConvRegion{part, {0, s.columns.in}};
  }
  // The positions whose windows touch a region; they follow each other.
  constexpr Range positions(const ConvShape& s, const ConvRegion& region) const noexcept {
    if (by_columns) {
      const auto columns = s.columns.touching(region.columns.begin, region.columns.end);
      return {columns.begin, columns.end};
    }
    const auto rows = s.rows.touching(region.rows.begin, region.rows.end);
    return {rows.begin * s.columns.out, rows.end * s.columns.out};
  }
};

// Channels of x whose adjoint is computed in one tile, and the positions of such a tile.
constexpr Index conv_adjoint_channels(const ConvShape& s) noexcept {
  return std::clamp<Index>(conv_tile_depth / s.taps(), 1, std::max<Index>(s.in, 1));
}
constexpr Index conv_adjoint_positions(const ConvShape& s) noexcept {
  const Index depth = conv_adjoint_channels(s) * s.taps();
  return std::clamp<Index>(conv_tile_depth * conv_tile_positions / depth, 64, conv_tile_positions);
}

// A product inside a piece, in the rest of its scratch.
template <class T>
void conv_product(Scratch& scratch, GemmShape most, MatrixView<const T> a, MatrixView<const T> b, T* c, Index ldc,
                  Update update) {
  Scratch own = scratch;
  const std::size_t bytes = matmul_scratch<T>(most);
  matmul<T>(Threads(own.take<std::byte>(static_cast<Index>(bytes)), bytes), a, b, c, ldc, update);
}
template <class T>
constexpr std::size_t conv_product_scratch(GemmShape most) noexcept {
  return scratch_size<std::byte>(static_cast<Index>(matmul_scratch<T>(most)));
}

// Parts of an axis, so that `pieces` of other work become enough for all threads; each of at least `least`.
constexpr Index conv_parts(Index threads, Index pieces, Index extent, Index least) noexcept {
  if (threads == 1) return 1;
  const Index wanted = (4 * threads + pieces - 1) / std::max<Index>(pieces, 1);
  return std::clamp<Index>(wanted, 1, std::max<Index>(extent / least, 1));
}

constexpr GemmShape conv_forward_product(const ConvShape& s) noexcept {
  return {s.out, (std::min)(s.positions(), conv_tile_positions), (std::min)(s.depth(), conv_tile_depth)};
}
constexpr GemmShape conv_adjoint_product(const ConvShape& s) noexcept {
  return {conv_adjoint_channels(s) * s.taps(), (std::min)(s.positions(), conv_adjoint_positions(s)), s.out};
}
constexpr GemmShape conv_weight_product(const ConvShape& s) noexcept {
  return {s.out, (std::min)(s.depth(), conv_tile_depth), (std::min)(s.positions(), conv_tile_positions)};
}

}  // namespace detail

// y = the cross-correlation of x and w, plus bias [groups * out] (null: none): torch.nn.functional.conv1d, conv2d.
// Sums in T, the weights of a channel in order in runs of 256; padding counts as zeros. y overlaps nothing.
// 2 * out * depth operations for each position.
template <class T>
std::size_t conv_scratch(const ConvShape& s) noexcept {
  if (s.depthwise()) return conv_depthwise_scratch<T>(s);
  const GemmShape p = detail::conv_forward_product(s);
  return scratch_size<T>(p.n * p.k) + detail::conv_product_scratch<T>(p);
}
template <class T>
[[gnu::noinline]] void conv(Threads threads, const ConvShape& s, const T* x, const T* w, const T* bias, T* y) {
  if (s.depthwise()) return conv_depthwise(threads, s, x, w, bias, y);
  const Index positions = s.positions(), depth = s.depth();
  if (s.batch * s.groups * s.out * positions <= 0) return;
  const GemmShape most = detail::conv_forward_product(s);
  const bool plain = s.taps() == 1 && s.rows.stride == 1 && s.columns.stride == 1 && positions == s.plane() &&
                     s.rows.padding == 0 && s.columns.padding == 0;  // x is its own unfolding
  const Index tiles = (positions + most.n - 1) / most.n;
  const Index parts = detail::conv_parts(threads.count(), s.batch * s.groups * tiles, s.out, 48);
  threads.run(s.batch * s.groups * tiles * parts, [&](Index piece, Scratch& scratch) {
    const detail::Range channels = detail::part_of(s.out, parts, piece % parts);
    const Index first = piece / parts % tiles * most.n, group = piece / parts / tiles;  // of all samples
    const Index row = group % s.groups * s.out + channels.begin;                        // of the weight
    const T* in = x + group * s.in * s.plane();
    T* out = y + (group * s.out + channels.begin) * positions + first;
    T* unfolded = scratch.take<T>(most.n * most.k);
    detail::ConvTile tile{{0, 0}, {first, (std::min)(first + most.n, positions)}};
    const Index rows = channels.end - channels.begin, columns = tile.columns();
    if (bias != nullptr || depth == 0) {
      for (Index i = 0; i < rows; ++i) {
        std::fill_n(out + i * positions, columns, bias != nullptr ? bias[row + i] : T(0));
      }
    }
    for (Index k = 0; k < depth; k += most.k) {
      tile.depth = {k, (std::min)(k + most.k, depth)};
      MatrixView<const T> b{unfolded, tile.rows(), columns, columns, 1};
      if (plain) {
        b = {in + k * positions + first, tile.rows(), columns, positions, 1};
      } else {
        detail::unfold(s, in, tile, unfolded);
      }
      detail::conv_product<T>(scratch, most, {w + row * depth + k, rows, tile.rows(), depth, 1}, b, out, positions,
                              k > 0 || bias != nullptr ? Update::add : Update::assign);
    }
  });
}

// The adjoint in x, from gy [as y] to gx [as x], overwritten; bias [groups * in] is added (null: none). The gradient of
// conv, and torch.nn.functional.conv_transpose1d, conv_transpose2d with s.in its output channels: their weight is
// [groups * s.out, s.in, kernel]. Sums in T, in an order that the shape alone determines.
template <class T>
std::size_t conv_transpose_scratch(const ConvShape& s) noexcept {
  if (s.depthwise()) return conv_transpose_depthwise_scratch<T>(s);
  const GemmShape p = detail::conv_adjoint_product(s);
  return scratch_size<T>(p.m * p.n) + detail::conv_product_scratch<T>(p);
}
template <class T>
[[gnu::noinline]] void conv_transpose(Threads threads, const ConvShape& s, const T* gy, const T* w, const T* bias,
                                      T* gx) {
  if (s.depthwise()) return conv_transpose_depthwise(threads, s, gy, w, bias, gx);
  if (s.batch * s.groups * s.in * s.plane() <= 0) return;
  const GemmShape most = detail::conv_adjoint_product(s);
  const detail::ConvRegions regions = detail::ConvRegions::of(s);
  const Index step = detail::conv_adjoint_channels(s), blocks = (s.in + step - 1) / step;
  const Index depth = s.depth(), positions = s.positions();
  threads.run(s.batch * s.groups * blocks * regions.count, [&](Index piece, Scratch& scratch) {
    const detail::ConvRegion region = regions.region(s, piece % regions.count);
    const Index group = piece / regions.count / blocks;  // of all samples
    const Index first = piece / regions.count % blocks * step, end = (std::min)(first + step, s.in);
    T* out = gx + group * s.in * s.plane();
    for (Index c = first; c < end; ++c) {
      const T value = bias != nullptr ? bias[group % s.groups * s.in + c] : T(0);
      for (Index r = region.rows.begin; r < region.rows.end; ++r) {
        std::fill(out + c * s.plane() + r * s.columns.in + region.columns.begin,
                  out + c * s.plane() + r * s.columns.in + region.columns.end, value);
      }
    }
    T* unfolded = scratch.take<T>(most.m * most.n);
    const detail::Range touching = regions.positions(s, region);
    const T* weight = w + group % s.groups * s.out * depth + first * s.taps();
    detail::ConvTile tile{{first * s.taps(), end * s.taps()}, {0, 0}};
    for (Index p = touching.begin; p < touching.end; p += most.n) {
      tile.positions = {p, (std::min)(p + most.n, touching.end)};
      const Index columns = tile.columns();
      detail::conv_product<T>(scratch, most, {weight, tile.rows(), s.out, 1, depth},
                              {gy + group * s.out * positions + p, s.out, columns, positions, 1}, unfolded, columns,
                              Update::assign);
      detail::fold(s, unfolded, tile, region, out);
    }
  });
}

// The gradient of the weight, overwritten: gw[o, k] = the sum over samples and positions of gy[o, p] unfold(x)[k, p],
// in T, samples and runs of 512 positions in order.
template <class T>
std::size_t conv_weight_gradient_scratch(const ConvShape& s) noexcept {
  if (s.depthwise()) return conv_depthwise_weight_gradient_scratch<T>(s);
  const GemmShape p = detail::conv_weight_product(s);
  return scratch_size<T>(p.n * p.k) + detail::conv_product_scratch<T>(p);
}
template <class T>
[[gnu::noinline]] void conv_weight_gradient(Threads threads, const ConvShape& s, const T* x, const T* gy, T* gw) {
  if (s.depthwise()) return conv_depthwise_weight_gradient(threads, s, x, gy, gw);
  const Index positions = s.positions(), depth = s.depth();
  if (s.groups * s.out * depth <= 0) return;
  const GemmShape most = detail::conv_weight_product(s);
  const Index least = (depth + most.n - 1) / most.n;  // blocks of weights, as many as fit the tile
  const Index blocks = (std::max)(least, detail::conv_parts(threads.count(), s.groups, depth, 32));
  threads.run(s.groups * blocks, [&](Index piece, Scratch& scratch) {
    const Index group = piece / blocks;
    detail::ConvTile tile{detail::part_of(depth, blocks, piece % blocks), {0, 0}};
    T* to = gw + group * s.out * depth + tile.depth.begin;
    for (Index o = 0; o < s.out; ++o) std::fill_n(to + o * depth, tile.rows(), T(0));
    T* unfolded = scratch.take<T>(most.n * most.k);
    for (Index sample = group; sample < s.batch * s.groups; sample += s.groups) {
      for (Index p = 0; p < positions; p += most.k) {
        tile.positions = {p, (std::min)(p + most.k, positions)};
        const Index columns = tile.columns();
        detail::unfold(s, x + sample * s.in * s.plane(), tile, unfolded);
        detail::conv_product<T>(scratch, most, {gy + sample * s.out * positions + p, s.out, columns, positions, 1},
                                MatrixView<const T>{unfolded, tile.rows(), columns, columns, 1}.transposed(), to, depth,
                                Update::add);
      }
    }
  });
}

// sum[c] = the sum of x [batch, channels, plane] over samples and plane, in double: the gradient of a bias.
template <class T>
[[gnu::noinline]] void channel_sum(Threads threads, Index batch, Index channels, Index plane, const T* x, T* sum) {
  detail::for_rows(threads, channels, std::max<Index>(batch * plane, 1), [&](Index channel) {
    double total = 0;
    for (Index b = 0; b < batch; ++b) {
      const T* row = x + (b * channels + channel) * plane;
      total += simd::sum_row<T, 1>(plane, [&](Index i, auto part, auto& sums) { sums[0] += part.load(row + i); })[0];
    }
    sum[channel] = static_cast<T>(total);
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
