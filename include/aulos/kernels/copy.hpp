// Moving elements between layouts: strided copy and strided addition in up to eight axes.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "aulos/core/config.hpp"
#include "aulos/core/shape.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/simd/batch.hpp"
#include "aulos/simd/transpose.hpp"

namespace aulos::inline AULOS_ISA::kernels {

namespace detail {

// Axes of two layouts of the same extents, those that both walk alike joined into one; extent 1 axes are dropped.
struct JointDims {
  int rank = 0;
  Index extent[max_rank] = {};
  Index from[max_rank] = {};
  Index to[max_rank] = {};
};

inline JointDims join(const Dims& from, const Dims& to) noexcept {
  JointDims out;
  for (int axis = 0; axis < from.rank; ++axis) {
    if (from.extent[axis] == 1) continue;
    const int last = out.rank - 1;
    if (last >= 0 && out.from[last] == from.stride[axis] * from.extent[axis] &&
        out.to[last] == to.stride[axis] * to.extent[axis]) {
      out.extent[last] *= from.extent[axis];
      out.from[last] = from.stride[axis];
      out.to[last] = to.stride[axis];
      continue;
    }
    out.extent[out.rank] = from.extent[axis];
    out.from[out.rank] = from.stride[axis];
    out.to[out.rank++] = to.stride[axis];
  }
  if (out.rank == 0) {
    out.rank = 1;
    out.extent[0] = 1;
    out.from[0] = out.to[0] = 1;
  }
  return out;
}

// Runs body(from offset, to offset) for rows [begin, end) of all axes but the last.
template <class Body>
void for_joint_rows(const JointDims& dims, Index begin, Index end, const Body& body) {
  Index at[max_rank] = {};
  Index from = 0;
  Index to = 0;
  Index rest = begin;
  for (int axis = dims.rank - 2; axis >= 0; --axis) {
    at[axis] = rest % dims.extent[axis];
    rest /= dims.extent[axis];
    from += at[axis] * dims.from[axis];
    to += at[axis] * dims.to[axis];
  }
  for (Index row = begin; row < end; ++row) {
    body(from, to);
    for (int axis = dims.rank - 2; axis >= 0; --axis) {
      from += dims.from[axis];
      to += dims.to[axis];
      if (++at[axis] < dims.extent[axis]) break;
      at[axis] = 0;
      from -= dims.extent[axis] * dims.from[axis];
      to -= dims.extent[axis] * dims.to[axis];
    }
  }
}

inline Index row_count(const JointDims& dims) noexcept {
  Index rows = 1;
  for (int axis = 0; axis + 1 < dims.rank; ++axis) rows *= dims.extent[axis];
  return rows;
}

// Splits the elements of a joint layout among threads: body(from offset, to offset, count, from step, to step).
template <class Body>
void for_joint_pieces(Threads threads, const JointDims& dims, const Body& body) {
  constexpr Index copy_piece = 16 * 1024;
  const int last = dims.rank - 1;
  const Index length = dims.extent[last];
  const Index rows = row_count(dims);
  if (rows * length == 0) return;
  const Index parts = length >= 2 * copy_piece ? (length + copy_piece - 1) / copy_piece : 1;  // of a long row
  const Index part = parts > 1 ? copy_piece : length;
  const Index rows_per_piece = length >= copy_piece ? 1 : copy_piece / length;
  threads.run((rows + rows_per_piece - 1) / rows_per_piece * parts, [&](Index piece, Scratch&) {
    const Index first = piece / parts * rows_per_piece;
    const Index end = first + rows_per_piece < rows ? first + rows_per_piece : rows;
    const Index begin = piece % parts * part;
    const Index count = begin + part < length ? part : length - begin;
    for_joint_rows(dims, first, end, [&](Index from, Index to) {
      body(from + begin * dims.from[last], to + begin * dims.to[last], count, dims.from[last], dims.to[last]);
    });
  });
}

// Two layouts of which each has an axis of neighbours that the other lacks: a matrix that is transposed, for each index
// of the other axes.
struct TransposedDims {
  static constexpr Index side = 64;  // of the square that is moved at once: whole lines of both layouts

  JointDims others;   // with a last axis of extent 1
  Index rows = 0;     // neighbours in `to`, from_step apart in `from`
  Index columns = 0;  // neighbours in `from`, to_step apart in `to`
  Index from_step = 0, to_step = 0;

  Index down() const noexcept { return (rows + side - 1) / side; }
  Index across() const noexcept { return (columns + side - 1) / side; }
};

// Whether the layouts are of that kind, and worth it.
inline bool is_transposed(const JointDims& dims, TransposedDims& out) noexcept {
  constexpr Index least = 4;  // rows or columns; fewer are moved faster one by one
  int row_axis = -1, column_axis = -1;
  for (int axis = 0; axis < dims.rank; ++axis) {
    if (dims.to[axis] == 1) row_axis = axis;
    if (dims.from[axis] == 1) column_axis = axis;
  }
  if (row_axis < 0 || column_axis < 0 || row_axis == column_axis) return false;
  out.rows = dims.extent[row_axis];
  out.columns = dims.extent[column_axis];
  out.from_step = dims.from[row_axis];
  out.to_step = dims.to[column_axis];
  if (out.rows < least || out.columns < least) return false;
  for (int axis = 0; axis < dims.rank; ++axis) {
    if (axis == row_axis || axis == column_axis) continue;
    out.others.extent[out.others.rank] = dims.extent[axis];
    out.others.from[out.others.rank] = dims.from[axis];
    out.others.to[out.others.rank++] = dims.to[axis];
  }
  out.others.extent[out.others.rank++] = 1;
  return true;
}

// A square of it, rows x columns.
template <bool adds, class T>
void move_square(const T* from, Index from_step, T* to, Index to_step, Index rows, Index columns) noexcept {
  if constexpr (std::is_floating_point_v<T>) {
    constexpr Index lanes = simd::lanes<T>;
    simd::Batch<T> line[static_cast<std::size_t>(lanes)];
    for (Index r = 0; r < rows; r += lanes) {
      for (Index c = 0; c < columns; c += lanes) {
        const T* const corner = from + r * from_step + c;
        T* out = to + c * to_step + r;
        if (r + lanes <= rows && c + lanes <= columns) {
          simd::load_transposed(corner, from_step, lanes, lanes, line);
          AULOS_UNROLL for (Index i = 0; i < lanes; ++i, out += to_step) {
            if constexpr (adds) line[i] = simd::load(out) + line[i];
            simd::store(out, line[i]);
          }
        } else {
          const Index count = (std::min)(lanes, rows - r), lines = (std::min)(lanes, columns - c);
          simd::load_transposed_part(corner, from_step, count, lines, line);
          for (Index i = 0; i < lines; ++i, out += to_step) {
            if constexpr (adds) line[i] = simd::load_partial(out, count) + line[i];
            simd::store_partial(out, line[i], count);
          }
        }
      }
    }
  } else {
    for (Index r = 0; r < rows; ++r) {
      for (Index c = 0; c < columns; ++c) to[c * to_step + r] = from[r * from_step + c];
    }
  }
}

template <bool adds, class T>
void move_transposed(Threads threads, const TransposedDims& dims, const T* from, T* to) {
  constexpr Index side = TransposedDims::side, at_once = 4;  // squares
  const Index down = dims.down(), across = dims.across(), squares = row_count(dims.others) * down * across;
  threads.run((squares + at_once - 1) / at_once, [&](Index piece, Scratch&) {
    for (Index i = piece * at_once; i < squares && i < (piece + 1) * at_once; ++i) {
      const Index column = i % across * side, row = i / across % down * side, other = i / (down * across);
      for_joint_rows(dims.others, other, other + 1, [&](Index from_offset, Index to_offset) {
        move_square<adds>(from + from_offset + row * dims.from_step + column, dims.from_step,
                          to + to_offset + column * dims.to_step + row, dims.to_step, (std::min)(side, dims.rows - row),
                          (std::min)(side, dims.columns - column));
      });
    }
  });
}

}  // namespace detail

// to[i] = from[i] for every index of two layouts of the same extents; they must not overlap, strides of `to` reach each
// element once. Any element type. torch.Tensor.copy_.
template <class T>
void copy(Threads threads, const T* from, const Dims& from_dims, T* to, const Dims& to_dims) {
  const detail::JointDims dims = detail::join(from_dims, to_dims);
  if (detail::TransposedDims transposed; detail::is_transposed(dims, transposed)) {
    return detail::move_transposed<false>(threads, transposed, from, to);
  }
  detail::for_joint_pieces(threads, dims, [from, to](Index i, Index o, Index count, Index from_step, Index to_step) {
    if (from_step == 1 && to_step == 1) {
      std::memcpy(to + o, from + i, static_cast<std::size_t>(count) * sizeof(T));
      return;
    }
    for (Index k = 0; k < count; ++k) to[o + k * to_step] = from[i + k * from_step];
  });
}

// to[i] += from[i] for every index. A stride of 0 in `to` sums over that axis, in order, on one thread: the gradient of
// a broadcast.
template <class T>
void add_to(Threads threads, const T* from, const Dims& from_dims, T* to, const Dims& to_dims) {
  bool sums = false;
  for (int axis = 0; axis < to_dims.rank; ++axis)
    sums = sums || (to_dims.stride[axis] == 0 && to_dims.extent[axis] > 1);
  const auto add = [from, to](Index i, Index o, Index count, Index from_step, Index to_step) {
    if (from_step == 1 && to_step == 1) {
      Index k = 0;
      for (; k + simd::lanes<T> <= count; k += simd::lanes<T>)
        simd::store(to + o + k, simd::load(to + o + k) + simd::load(from + i + k));
      for (; k < count; ++k) to[o + k] += from[i + k];
      return;
    }
    for (Index k = 0; k < count; ++k) to[o + k * to_step] += from[i + k * from_step];
  };
  const detail::JointDims dims = detail::join(from_dims, to_dims);
  if (detail::TransposedDims transposed; !sums && detail::is_transposed(dims, transposed)) {
    return detail::move_transposed<true>(threads, transposed, from, to);
  }
  detail::for_joint_pieces(sums ? Threads::serial() : threads, dims, add);
}

}  // namespace aulos::inline AULOS_ISA::kernels
