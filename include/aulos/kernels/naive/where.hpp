// The readable twin of where.hpp.
#pragma once

#include "aulos/kernels/naive/copy.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

template <class T>
void where(const std::uint8_t* mask, const Dims& mask_dims, const T* a, const Dims& a_dims, const T* b,
           const Dims& b_dims, T* y, const Dims& y_dims) {
  for (Index i = 0; i < y_dims.count(); ++i) {
    const bool chosen = mask[element_offset(y_dims, mask_dims, i)] != 0;
    y[i] = chosen ? a[element_offset(y_dims, a_dims, i)] : b[element_offset(y_dims, b_dims, i)];
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
