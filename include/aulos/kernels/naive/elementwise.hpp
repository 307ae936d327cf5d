// The readable twin of elementwise.hpp, in double.
#pragma once

#include <span>

#include "aulos/kernels/naive/copy.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

// `f(double a, double b) -> double`. One operation of IEEE arithmetic in double, then rounded to float, is the same
// operation in float, to the bit.
template <class T, class F>
void binary(const T* a, const Dims& a_dims, const T* b, const Dims& b_dims, T* y, const Dims& y_dims, const F& f) {
  for (Index i = 0; i < y_dims.count(); ++i) {
    const double left = static_cast<double>(a[element_offset(y_dims, a_dims, i)]);
    const double right = static_cast<double>(b[element_offset(y_dims, b_dims, i)]);
    y[element_offset(y_dims, y_dims, i)] = static_cast<T>(f(left, right));
  }
}

// `Term` has a factor and the elements x that it multiplies.
template <class T, class Term>
void linear_combination(std::span<const Term> terms, T constant, T* y, Index count) {
  for (Index i = 0; i < count; ++i) {
    double sum = static_cast<double>(constant);
    for (const Term& term : terms) sum += static_cast<double>(term.factor) * static_cast<double>(term.x[i]);
    y[i] = static_cast<T>(sum);
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
