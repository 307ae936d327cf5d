// Moving elements between layouts: strided copy and strided addition in up to eight axes.
#pragma once

#include <cstring>

#include "aulos/core/config.hpp"
#include "aulos/core/shape.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/simd/batch.hpp"

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

}  // namespace detail

// to[i] = from[i] for every index of two layouts of the same extents; they must not overlap, strides of `to` reach each
// element once. Any element type. torch.Tensor.copy_.
template <class T>
void copy(Threads threads, const T* from, const Dims& from_dims, T* to, const Dims& to_dims) {
  detail::for_joint_pieces(threads, detail::join(from_dims, to_dims),
                           [from, to](Index i, Index o, Index count, Index from_step, Index to_step) {
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
  detail::for_joint_pieces(sums ? Threads::serial() : threads, detail::join(from_dims, to_dims), add);
}

}  // namespace aulos::inline AULOS_ISA::kernels
