// The readable twin of copy.hpp: element after element in row-major order. Nothing is computed in double: copies and
// sums in that order have one result, to the bit.
#pragma once

#include "aulos/core/config.hpp"
#include "aulos/core/shape.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

// Where element `i` of `extents`, counted in row-major order, lies in a layout with the strides of `layout`.
inline Index element_offset(const Dims& extents, const Dims& layout, Index i) {
  Index offset = 0;
  for (int axis = extents.rank - 1; axis >= 0; --axis) {
    offset += i % extents.extent[axis] * layout.stride[axis];
    i /= extents.extent[axis];
  }
  return offset;
}

template <class T>
void copy(const T* from, const Dims& from_dims, T* to, const Dims& to_dims) {
  for (Index i = 0; i < to_dims.count(); ++i) {
    to[element_offset(to_dims, to_dims, i)] = from[element_offset(to_dims, from_dims, i)];
  }
}

template <class T>
void add_to(const T* from, const Dims& from_dims, T* to, const Dims& to_dims) {
  for (Index i = 0; i < to_dims.count(); ++i) {
    to[element_offset(to_dims, to_dims, i)] += from[element_offset(to_dims, from_dims, i)];
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
