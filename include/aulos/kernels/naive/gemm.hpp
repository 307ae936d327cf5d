// The readable twins of gemm.hpp and matmul.hpp: what they compute, with sums in double.
#pragma once

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

// C [m, n] = epilogue(A [m, k] B [k, n], i, j), element (i, j) of a matrix at data[i * row_stride + j * col_stride].
// `epilogue(double sum, Index i, Index j) -> double`.
template <class T, class Epilogue>
void matmul(const T* a, Index a_row, Index a_col, const T* b, Index b_row, Index b_col, const Epilogue& epilogue, T* c,
            Index ldc, Index m, Index n, Index k) {
  for (Index i = 0; i < m; ++i) {
    for (Index j = 0; j < n; ++j) {
      double sum = 0;
      for (Index p = 0; p < k; ++p) {
        sum += static_cast<double>(a[i * a_row + p * a_col]) * static_cast<double>(b[p * b_row + j * b_col]);
      }
      c[i * ldc + j] = static_cast<T>(epilogue(sum, i, j));
    }
  }
}

// y [m, n] = epilogue(x [m, k] W [n, k]^T, i, j).
template <class T, class Epilogue>
void gemm(const T* x, Index ldx, const T* w, Index ldw, const Epilogue& epilogue, T* y, Index ldy, Index m, Index n,
          Index k) {
  matmul(x, ldx, Index{1}, w, Index{1}, ldw, epilogue, y, ldy, m, n, k);
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
