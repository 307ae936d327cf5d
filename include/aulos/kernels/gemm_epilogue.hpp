// What a product does with its sums before it stores them: fused bias, activation, gated residual, accumulation.
//
// An epilogue has row(i), which gives a function object f(sum, column, load) -> batch for row i: `sum` holds the
// columns from `column` on, and load(p) reads as many elements from p as the batch has columns in use. It may have
// finish(y, n), which is called for each stretch of a row that has been stored.
#pragma once

#include <concepts>

#include "aulos/core/function_ref.hpp"
#include "aulos/kernels/gemm_tile.hpp"
#include "aulos/simd/batch.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// y = x W^T
struct NoEpilogue {
  auto row(Index) const noexcept {
    return [](auto sum, Index, auto) { return sum; };
  }
};

// y = activation(x W^T + bias); bias [n] and the activation (of n elements: ActivationRow::value) may be null.
template <class T>
struct BiasActivation {
  const T* bias = nullptr;
  void (*activation)(const T* x, T* y, Index n) = nullptr;

  auto row(Index) const noexcept {
    return [bias = bias](auto sum, Index column, auto load) { return bias ? sum + load(bias + column) : sum; };
  }
  void finish(T* y, Index n) const {
    if (activation) activation(y, y, n);
  }
};

// y = residual + gate * (x W^T + bias). residual [m, n] may be y itself; bias [n]; gate [., n], whose row for row i of
// y is i / rows_per_gate (1: a gate per token; N: per sample). bias and gate may be null (no gate: y = residual + ...).
template <class T>
struct GatedResidual {
  const T* bias = nullptr;
  const T* residual = nullptr;
  Index ldr = 0;
  const T* gate = nullptr;
  Index ldg = 0;
  Index rows_per_gate = 1;

  auto row(Index i) const noexcept {
    const T* residual_row = residual + i * ldr;
    const T* gate_row = gate ? gate + i / rows_per_gate * ldg : nullptr;
    return [bias = bias, residual_row, gate_row](auto sum, Index column, auto load) {
      if (bias) sum = sum + load(bias + column);
      const auto base = load(residual_row + column);
      return gate_row ? simd::fma(load(gate_row + column), sum, base) : base + sum;
    };
  }
};

// y += x W^T, for gradients that add up.
template <class T>
struct AddTo {
  const T* y = nullptr;
  Index ldy = 0;

  auto row(Index i) const noexcept {
    return [from = y + i * ldy](auto sum, Index column, auto load) { return load(from + column) + sum; };
  }
};

namespace detail {

// What an epilogue does if it does no more than this: a product may then store y itself, with the bias, and finish it.
template <class T>
struct PlainStore {
  const T* bias = nullptr;
  void (*activation)(const T* x, T* y, Index n) = nullptr;
};
template <class T>
constexpr PlainStore<T> plain_store(const NoEpilogue&) noexcept {
  return {};
}
template <class T>
constexpr PlainStore<T> plain_store(const BiasActivation<T>& epilogue) noexcept {
  return {epilogue.bias, epilogue.activation};
}

template <class T>
struct LoadBatch {
  simd::Batch<T> operator()(const T* p) const noexcept { return simd::load(p); }
};

template <class T>
struct LoadTail {
  Index count;
  simd::Batch<T> operator()(const T* p) const noexcept { return simd::load_partial(p, count); }
};

}  // namespace detail

template <class E, class T>
concept EpilogueOf = requires(const E& e, simd::Batch<T> sum) {
  { e.row(Index{})(sum, Index{}, detail::LoadBatch<T>{}) } -> std::same_as<simd::Batch<T>>;
};

namespace detail {

// Where tiles go: `store` takes a tile, rows x cols of y at (row, column), through the epilogue; it is behind a
// pointer, so that the product is compiled once whatever follows it. Where the epilogue is plain, y `takes_tiles` that
// are whole.
template <class T>
struct Destination {
  FunctionRef<void(const T* tile, Index tile_stride, Index row, Index rows, Index column, Index cols)> store;
  T* y;
  Index ldy;
  bool takes_tiles = false;
  PlainStore<T> plain = {};

  TileOut<T> tile_at(Index row, Index column) const noexcept {
    return {y + row * ldy + column, ldy, plain.bias ? plain.bias + column : nullptr};
  }
  // rows x cols at (row, column) have been stored with their bias.
  void finish(Index row, Index rows, Index column, Index cols) const {
    if (!plain.activation) return;
    for (T* p = y + row * ldy + column; rows > 0; --rows, p += ldy) plain.activation(p, p, cols);
  }
  // y = a tile of whole rows, [rows][gemm_cols] with their bias.
  void copy(T* tile, Index row, Index rows, Index column) const {
    constexpr Index cols = gemm_cols<T>;
    T* p = y + row * ldy + column;
    for (Index i = 0; i < rows; ++i, tile += cols, p += ldy) {
      if (plain.activation) plain.activation(tile, tile, cols);
      for (Index j = 0; j < cols; j += simd::lanes<T>) simd::store(p + j, simd::load(tile + j));
    }
  }
};

// y (at its row `row`, column `column`) = epilogue(tile) for rows x cols; nothing else is touched.
template <class T, class Epilogue>
void apply_epilogue(const Epilogue& epilogue, const T* tile, Index tile_stride, Index row, Index rows, Index column,
                    Index cols, T* y, Index ldy) {
  constexpr Index width = simd::lanes<T>;
  y += row * ldy + column;
  for (Index i = 0; i < rows; ++i, tile += tile_stride, y += ldy) {
    const auto f = epilogue.row(row + i);
    Index j = 0;
    for (; j + width <= cols; j += width) {
      simd::store(y + j, f(simd::load(tile + j), column + j, LoadBatch<T>{}));
    }
    if (j < cols) {
      const Index rest = cols - j;
      simd::store_partial(y + j, f(simd::load_partial(tile + j, rest), column + j, LoadTail<T>{rest}), rest);
    }
    if constexpr (requires { epilogue.finish(y, cols); }) epilogue.finish(y, cols);
  }
}

}  // namespace detail
}  // namespace aulos::inline AULOS_ISA::kernels
