// A choice between two arrays by a mask, element by element.
#pragma once

#include "aulos/core/config.hpp"
#include "aulos/core/shape.hpp"
#include "aulos/core/threads.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// y = mask != 0 ? a : b over the extents of y, dense; a stride of 0 repeats an element. What is not chosen has no
// influence, NaN included. y may be a or b where that one is dense too. torch.where.
template <class T>
void where(Threads threads, const std::uint8_t* mask, const Dims& mask_dims, const T* a, const Dims& a_dims, const T* b,
           const Dims& b_dims, T* y, const Dims& y_dims) {
  constexpr Index piece_elements = 16 * 1024;
  const int last = y_dims.rank - 1;
  const Index length = y_dims.extent[last], rows = y_dims.rows();
  if (rows * length == 0) return;
  const auto row_of = [&](const Dims& dims, Index row) {
    Index offset = 0;
    for (int axis = last - 1; axis >= 0; --axis) {
      offset += row % y_dims.extent[axis] * dims.stride[axis];
      row /= y_dims.extent[axis];
    }
    return offset;
  };
  const Index m_step = mask_dims.stride[last], a_step = a_dims.stride[last], b_step = b_dims.stride[last];
  const Index per_piece = length >= piece_elements ? 1 : piece_elements / length;
  threads.run((rows + per_piece - 1) / per_piece, [&](Index piece, Scratch&) {
    const Index end = (piece + 1) * per_piece < rows ? (piece + 1) * per_piece : rows;
    for (Index row = piece * per_piece; row < end; ++row) {
      const std::uint8_t* pm = mask + row_of(mask_dims, row);
      const T* pa = a + row_of(a_dims, row);
      const T* pb = b + row_of(b_dims, row);
      T* to = y + row * length;
      if (m_step == 1 && a_step == 1 && b_step == 1) {  // without strides a compiler makes vectors of it
        for (Index i = 0; i < length; ++i) to[i] = pm[i] != 0 ? pa[i] : pb[i];
      } else {
        for (Index i = 0; i < length; ++i) to[i] = pm[i * m_step] != 0 ? pa[i * a_step] : pb[i * b_step];
      }
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
