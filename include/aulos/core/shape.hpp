// Extents and strides: of a static rank for tensors, of a dynamic rank for the code that all ranks share.
#pragma once

#include <initializer_list>
#include <string>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"

namespace aulos::inline AULOS_ISA {

// No tensor has more axes.
inline constexpr int max_rank = 8;

// The extents of `Rank` axes, outermost first: Shape<3>{batch, tokens, channels}.
template <int Rank>
struct Shape {
  static_assert(Rank >= 1 && Rank <= max_rank, "a tensor has 1 to 8 axes");
  Index extents[static_cast<std::size_t>(Rank)];

  constexpr Index& operator[](int axis) noexcept { return extents[axis]; }
  constexpr Index operator[](int axis) const noexcept { return extents[axis]; }
  constexpr bool operator==(const Shape&) const = default;
  constexpr const Index* begin() const noexcept { return extents; }
  constexpr const Index* end() const noexcept { return extents + Rank; }
};

// "[2, 16, 4]"
inline std::string to_string(const Index* extents, int rank) {
  std::string text = "[";
  for (int axis = 0; axis < rank; ++axis) {
    if (axis) text += ", ";
    text += std::to_string(extents[axis]);
  }
  return text + "]";
}

template <int Rank>
std::string to_string(const Shape<Rank>& shape) {
  return to_string(shape.extents, Rank);
}

// The number of elements. Throws ShapeError when an extent is negative or `element_bytes` times the product of the
// extents other than 0 leaves the range of Index: strides are products of some of them.
inline Index checked_count(const Index* extents, int rank, std::size_t element_bytes) {
  Index bytes = static_cast<Index>(element_bytes);
  bool overflow = false;
  bool none = false;
  for (int axis = 0; axis < rank; ++axis) {
    if (extents[axis] < 0) throw ShapeError("shape " + to_string(extents, rank) + " has a negative extent");
    if (extents[axis] == 0)
      none = true;
    else
      overflow = __builtin_mul_overflow(bytes, extents[axis], &bytes) || overflow;
  }
  if (overflow) throw ShapeError("shape " + to_string(extents, rank) + " has more bytes than a 64-bit index can count");
  return none ? 0 : bytes / static_cast<Index>(element_bytes);
}

// Extents and strides (in elements) of a dynamic rank.
struct Dims {
  int rank = 0;
  Index extent[max_rank] = {};
  Index stride[max_rank] = {};

  Index count() const noexcept {
    Index n = 1;
    for (int axis = 0; axis < rank; ++axis) n *= extent[axis];
    return n;
  }

  // Whether the elements lie side by side in row-major order. Axes of extent 1 have no say.
  bool dense() const noexcept {
    Index expected = 1;
    for (int axis = rank - 1; axis >= 0; --axis) {
      if (extent[axis] != 1 && stride[axis] != expected) return count() == 0;
      expected *= extent[axis];
    }
    return true;
  }

  bool same_extents(const Dims& other) const noexcept {
    if (rank != other.rank) return false;
    for (int axis = 0; axis < rank; ++axis)
      if (extent[axis] != other.extent[axis]) return false;
    return true;
  }

  // Whether all leading axes walk through memory with one stride between rows, as matrices do; then `row_stride` is it.
  bool uniform_rows(Index& row_stride) const noexcept {
    row_stride = rank == 0 ? 0 : extent[rank - 1];
    bool first = true;
    Index expected = 0;
    for (int axis = rank - 2; axis >= 0; --axis) {
      if (extent[axis] == 1) continue;
      if (first) {
        row_stride = stride[axis];
        expected = row_stride;
        first = false;
      }
      if (stride[axis] != expected) return count() == 0;
      expected *= extent[axis];
    }
    return true;
  }

  // The product of all extents but the last.
  Index rows() const noexcept {
    Index n = 1;
    for (int axis = 0; axis + 1 < rank; ++axis) n *= extent[axis];
    return n;
  }

  Index last() const noexcept { return extent[rank - 1]; }

  // The same extents with the last axis replaced, dense.
  Dims with_last(Index extent_of_last) const noexcept {
    Dims dims = *this;
    dims.extent[rank - 1] = extent_of_last;
    dims.make_dense();
    return dims;
  }

  // Row-major strides for the extents, which may still be impossible ones: checked_count refuses them.
  void make_dense() noexcept {
    Index step = 1;
    for (int axis = rank - 1; axis >= 0; --axis) {
      stride[axis] = step;
      __builtin_mul_overflow(step, extent[axis], &step);
    }
  }
};

inline Dims dense_dims(const Index* extents, int rank) noexcept {
  Dims dims;
  dims.rank = rank;
  for (int axis = 0; axis < rank; ++axis) dims.extent[axis] = extents[axis];
  dims.make_dense();
  return dims;
}

inline Dims dense_dims(std::initializer_list<Index> extents) noexcept {
  return dense_dims(extents.begin(), static_cast<int>(extents.size()));
}

inline std::string to_string(const Dims& dims) { return to_string(dims.extent, dims.rank); }

}  // namespace aulos::inline AULOS_ISA
