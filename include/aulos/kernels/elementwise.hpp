// Arithmetic between tensors, element by element, and linear combinations.
#pragma once

#include <span>

#include "aulos/core/config.hpp"
#include "aulos/core/shape.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/kernels/copy.hpp"
#include "aulos/simd/batch.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// The operations of `binary`, on batches and on scalars.
struct Add {
  template <class V>
  V operator()(V a, V b) const noexcept {
    return a + b;
  }
};
struct Subtract {
  template <class V>
  V operator()(V a, V b) const noexcept {
    return a - b;
  }
};
struct Multiply {
  template <class V>
  V operator()(V a, V b) const noexcept {
    return a * b;
  }
};
struct Divide {
  template <class V>
  V operator()(V a, V b) const noexcept {
    return a / b;
  }
};

// y = f(a, b) over the extents of y, dense; a stride of 0 repeats an element (broadcasting). y may be a or b where that
// one is dense too. torch.add, sub, mul, div.
template <class T, class F>
void binary(Threads threads, const T* a, const Dims& a_dims, const T* b, const Dims& b_dims, T* y, const Dims& y_dims,
            const F& f) {
  const int last = y_dims.rank - 1;
  const Index length = y_dims.extent[last];
  const Index rows = y_dims.rows();
  if (rows * length == 0) return;
  const Index a_step = a_dims.extent[last] == 1 && length > 1 ? 0 : a_dims.stride[last];
  const Index b_step = b_dims.extent[last] == 1 && length > 1 ? 0 : b_dims.stride[last];
  const auto row_of = [&](const Dims& dims, Index row) {
    Index offset = 0;
    for (int axis = last - 1; axis >= 0; --axis) {
      offset += row % y_dims.extent[axis] * dims.stride[axis];
      row /= y_dims.extent[axis];
    }
    return offset;
  };
  const auto span = [&](const T* pa, const T* pb, T* py, Index count) {
    constexpr Index width = simd::lanes<T>;
    Index k = 0;
    if (a_step == 1 && b_step == 1) {
      for (; k + width <= count; k += width) simd::store(py + k, f(simd::load(pa + k), simd::load(pb + k)));
    } else if (a_step == 1 && b_step == 0) {
      const simd::Batch<T> fixed(*pb);
      for (; k + width <= count; k += width) simd::store(py + k, f(simd::load(pa + k), fixed));
    } else if (a_step == 0 && b_step == 1) {
      const simd::Batch<T> fixed(*pa);
      for (; k + width <= count; k += width) simd::store(py + k, f(fixed, simd::load(pb + k)));
    }
    for (; k < count; ++k) py[k] = f(pa[k * a_step], pb[k * b_step]);
  };
  if (a_dims.dense() && b_dims.dense() && a_dims.same_extents(b_dims) && a_step == 1 && b_step == 1) {
    constexpr Index binary_piece = 16 * 1024;
    const Index count = rows * length;
    threads.run((count + binary_piece - 1) / binary_piece, [&](Index piece, Scratch&) {
      const Index begin = piece * binary_piece;
      span(a + begin, b + begin, y + begin, begin + binary_piece < count ? binary_piece : count - begin);
    });
    return;
  }
  const Index rows_per_piece = length >= 16 * 1024 ? 1 : 16 * 1024 / length;
  threads.run((rows + rows_per_piece - 1) / rows_per_piece, [&](Index piece, Scratch&) {
    const Index end = (piece + 1) * rows_per_piece < rows ? (piece + 1) * rows_per_piece : rows;
    for (Index row = piece * rows_per_piece; row < end; ++row)
      span(a + row_of(a_dims, row), b + row_of(b_dims, row), y + row * length, length);
  });
}

// One term of a linear combination.
template <class T>
struct Term {
  T factor;
  const T* x;
};

// y = constant + sum_i factor_i x_i over `count` dense elements, terms added in order. y may be one of the x.
template <class T>
void linear_combination(Threads threads, std::span<const Term<T>> terms, T constant, T* y, Index count) {
  constexpr Index binary_piece = 16 * 1024;
  constexpr Index width = simd::lanes<T>;
  threads.run((count + binary_piece - 1) / binary_piece, [&](Index piece, Scratch&) {
    Index k = piece * binary_piece;
    const Index end = k + binary_piece < count ? k + binary_piece : count;
    for (; k + width <= end; k += width) {
      simd::Batch<T> sum(constant);
      for (const Term<T>& term : terms) sum = simd::fma(simd::Batch<T>(term.factor), simd::load(term.x + k), sum);
      simd::store(y + k, sum);
    }
    if (k < end) {
      simd::Batch<T> sum(constant);
      for (const Term<T>& term : terms)
        sum = simd::fma(simd::Batch<T>(term.factor), simd::load_partial(term.x + k, end - k), sum);
      simd::store_partial(y + k, sum, end - k);
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
