// Rows and elements by index: gather, its adjoint, and the largest elements.
#pragma once

#include <cstring>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/copy.hpp"
#include "aulos/kernels/embedding.hpp"
#include "aulos/kernels/top_k.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

// Fills `flat` with the rows that indices [.., K] mean in x's leading axes [.., N] taken as one: throws for an index
// outside [0, N).
inline void flat_rows(const Op& op, const AnyTensor<std::int64_t>& indices, Index extent, std::int64_t* flat) {
  const Index each = indices.last();
  for (Index i = 0; i < indices.count(); ++i) {
    const std::int64_t at = indices.data()[i];
    op.require(at >= 0 && at < extent, [&] {
      return concat_text({"index ", at, " at position ", i, ", expected 0 to ", extent - 1});
    });
    flat[i] = i / each * extent + at;
  }
}

// Checks that the leading axes of x [.., N, C] (or [.., N]) and indices [.., K] agree.
template <Real T>
void require_indices(const Op& op, const AnyTensor<T>& x, int rows_axis, const AnyTensor<std::int64_t>& indices) {
  bool fits = rows_axis >= 0 && indices.rank() == rows_axis + 1;
  for (int axis = 0; fits && axis < rows_axis; ++axis) fits = indices.extent(axis) == x.extent(axis);
  op.require(fits, [&] {
    std::string expected;
    for (int axis = 0; axis < rows_axis; ++axis) expected += concat_text({x.extent(axis), ", "});
    return concat_text({"indices ", indices.dims(), " for x ", x.dims(), ", expected [", expected, "K]"});
  });
}

// Rows of x [.., N, C], or elements of x [.., N].
template <Real T>
AnyTensor<T> gather(const char* name, const AnyTensor<T>& x, const AnyTensor<std::int64_t>& indices, bool elements) {
  Op op(name, arg("x", x), arg("indices", indices));
  const int axis = x.rank() - (elements ? 1 : 2);
  require_indices(op, x, axis, indices);
  const AnyTensor<std::int64_t> at = op.dense(indices);
  const AnyTensor<std::int64_t> flat = op.context().template empty_any<std::int64_t>(dense_dims({indices.count()}));
  const AnyTensor<T> from = op.dense(x);
  const Index width = elements ? 1 : x.last();
  Dims dims = x.dims();
  dims.extent[axis] = indices.last();
  dims.make_dense();
  AnyTensor<T> y = op.empty<T>(dims);
  op.run(cost_per_element<T>(y.count(), 0, 2), [&](Threads threads) {
    flat_rows(op, at, x.extent(axis), flat.mutable_data());
    kernels::gather_rows<T>(threads, from.data(), width, flat.data(), flat.count(), width, y.mutable_data());
  });
  if (op.recording()) {
    op.record(y, [flat, width, gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gy) {
      AnyTensor<T> dx = tape.context().template empty_any<T>(gx.dims);
      tape.context().run("gather_backward", cost_per_element<T>(gy.count(), 1, 3), [&](Threads threads) {
        std::memset(dx.mutable_data(), 0, static_cast<std::size_t>(dx.count()) * sizeof(T));
        kernels::scatter_add_rows<T>(threads, gy.data(), flat.data(), flat.count(), width, -1, dx.mutable_data(),
                                     width);
      });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

template <Real T>
AnyTensor<T> scatter_add_rows(AnyTensor<T>&& to, const AnyTensor<std::int64_t>& indices, const AnyTensor<T>& x) {
  Op op("scatter_add_rows", arg("to", to), arg("indices", indices), arg("x", x));
  const int axis = to.rank() - 2;
  require_indices(op, to, axis, indices);
  Dims expected = to.dims();
  if (axis >= 0) expected.extent[axis] = indices.last();
  op.require(x.dims().same_extents(expected), [&] {
    return concat_text(
        {"x ", x.dims(), " for to ", to.dims(), " and indices ", indices.dims(), ", expected ", expected});
  });
  const Ghost<T> gto = op.ghost(to);
  const AnyTensor<std::int64_t> at = op.dense(indices);
  const AnyTensor<std::int64_t> flat = op.context().template empty_any<std::int64_t>(dense_dims({indices.count()}));
  const AnyTensor<T> from = op.dense(x);
  const Index rows = to.extent(axis), width = to.last();
  AnyTensor<T> y = op.recording() ? op.like(to) : op.reuse(std::move(to));
  op.run(cost_per_element<T>(x.count(), 1, 3), [&](Threads threads) {
    flat_rows(op, at, rows, flat.mutable_data());  // before anything is written
    if (!to.empty()) kernels::copy(threads, to.data(), to.dims(), y.mutable_data(), y.dims());
    kernels::scatter_add_rows<T>(threads, from.data(), flat.data(), flat.count(), width, -1, y.mutable_data(), width);
  });
  if (op.recording()) {
    op.record(y, [flat, width, gto, gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gy) {
      if (gx) {
        AnyTensor<T> dx = tape.context().template empty_any<T>(gx.dims);
        tape.context().run("scatter_add_rows_backward", cost_per_element<T>(dx.count(), 0, 2), [&](Threads threads) {
          kernels::gather_rows<T>(threads, gy.data(), width, flat.data(), flat.count(), width, dx.mutable_data());
        });
        tape.give(gx, std::move(dx));
      }
      tape.give(gto, std::move(gy));
    });
  }
  return op.result(std::move(y));
}

// The k largest of the last axis, and where they stand.
template <Real T>
std::pair<AnyTensor<T>, AnyTensor<std::int64_t>> top_k(const AnyTensor<T>& x, Index k) {
  Op op("top_k", arg("x", x));
  op.require(k >= 0 && k <= x.last(), [&] { return concat_text({"k ", k, " of the last axis of x ", x.dims()}); });
  const AnyTensor<T> from = op.dense(x);
  AnyTensor<T> y = op.empty<T>(x.dims().with_last(k));
  const AnyTensor<std::int64_t> at = op.context().template empty_any<std::int64_t>(y.dims());
  Cost cost = cost_per_element<T>(x.count(), 4, 1);
  cost.scratch = kernels::top_k_scratch(x.last());
  op.run(cost, [&](Threads threads) {
    kernels::top_k<T>(threads, from.data(), from.last(), from.rows(), from.last(), k, y.mutable_data(),
                      at.mutable_data());
  });
  if (op.recording()) {
    op.record(y, [at, k, gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gy) {
      AnyTensor<T> dx = tape.context().template empty_any<T>(gx.dims);
      tape.context().run("top_k_backward", cost_per_element<T>(dx.count(), 0, 1), [&](Threads) {
        T* out = dx.mutable_data();
        std::memset(out, 0, static_cast<std::size_t>(dx.count()) * sizeof(T));
        for (Index i = 0; i < gy.count(); ++i) out[i / k * dx.last() + at.data()[i]] = gy.data()[i];
      });
      tape.give(gx, std::move(dx));
    });
  }
  return {op.result(std::move(y)), at};
}

}  // namespace any

// Rows by index, each sample its own: x [.., N, C], indices [.., K] -> [.., K, C]. Indices that all samples share are
// indices.broadcast(..). Throws ShapeError for an index outside [0, N). torch.gather with the index repeated over C,
// torch.index_select.
template <Real T, int Rank>
Tensor<T, Rank> gather_rows(const Tensor<T, Rank>& x, const Tensor<std::int64_t, Rank - 1>& indices) {
  static_assert(Rank >= 2, "gather_rows takes [.., N, C]");
  return Tensor<T, Rank>(any::gather("gather_rows", x.any(), indices.any(), false));
}

// Elements of the last axis by index: x [.., N], indices [.., K] -> [.., K]. torch.gather(x, -1, indices).
template <Real T, int Rank>
Tensor<T, Rank> gather_last(const Tensor<T, Rank>& x, const Tensor<std::int64_t, Rank>& indices) {
  return Tensor<T, Rank>(any::gather("gather_last", x.any(), indices.any(), true));
}

// `to` [.., N, C] with row k of x [.., K, C] added to its row indices[.., k], repeated indices adding up in order: the
// adjoint of gather_rows. `to` is overwritten where nobody else holds it. torch.Tensor.index_add.
template <Real T, int Rank>
Tensor<T, Rank> scatter_add_rows(Tensor<T, Rank> to, const Tensor<std::int64_t, Rank - 1>& indices,
                                 const Arg<Tensor<T, Rank>>& x) {
  static_assert(Rank >= 2, "scatter_add_rows takes [.., N, C]");
  return Tensor<T, Rank>(any::scatter_add_rows(std::move(to).any(), indices.any(), x.any()));
}

// The k largest elements of the last axis, descending, and where they stand.
template <Real T, int Rank>
struct TopK {
  Tensor<T, Rank> values;
  Tensor<std::int64_t, Rank> indices;
};

// NaN counts as the largest; of equal elements the one with the lower index comes first. Gradients flow to the elements
// that were chosen. torch.topk(x, k).
template <Real T, int Rank>
TopK<T, Rank> top_k(const Tensor<T, Rank>& x, Index k) {
  auto [values, indices] = any::top_k(x.any(), k);
  return {Tensor<T, Rank>(std::move(values)), Tensor<std::int64_t, Rank>(std::move(indices))};
}

}  // namespace aulos::inline AULOS_ISA
