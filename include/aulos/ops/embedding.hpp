// Rows of a table by index.
#pragma once

#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/embedding.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

template <Real T>
AnyTensor<T> embedding(const AnyTensor<T>& table, const AnyTensor<std::int64_t>& ids, std::int64_t padding) {
  Op op("embedding", arg("table", table), arg("ids", ids));
  const AnyTensor<std::int64_t> at = op.dense(ids);
  Dims dims = ids.dims();
  dims.extent[dims.rank++] = table.last();
  AnyTensor<T> y = op.empty<T>(dims);
  const Index rows = table.extent(0);
  op.run(cost_per_element<T>(y.count(), 0, 2), [&](Threads threads) {
    for (Index i = 0; i < at.count(); ++i) {
      op.require(at.data()[i] >= 0 && at.data()[i] < rows, [&] {
        return concat_text(
            {"id ", at.data()[i], " at position ", i, ", expected 0 to ", rows - 1, " for table ", table.dims()});
      });
    }
    kernels::gather_rows<T>(threads, table.data(), table.stride(0), at.data(), at.count(), table.last(),
                            y.mutable_data());
  });
  if (op.recording()) {
    op.record(y, [at, padding, gt = op.ghost(table)](GradTape& tape, AnyTensor<T> gy) {
      AnyTensor<T> sum = tape.into(gt);
      tape.context().run("embedding_backward", cost_per_element<T>(gy.count(), 1, 3), [&](Threads threads) {
        kernels::scatter_add_rows<T>(threads, gy.data(), at.data(), at.count(), gy.last(), padding, sum.mutable_data(),
                                     sum.stride(0));
      });
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// table[ids]: table [V, C], ids [..] -> [.., C]. Look-ups of row `padding_id` give that row no gradient (-1: none).
// Throws ShapeError for an id outside the table. torch.nn.functional.embedding.
template <Real T, int Rank>
Tensor<T, Rank + 1> embedding(const Tensor<T, 2>& table, const Tensor<std::int64_t, Rank>& ids,
                              std::int64_t padding_id = -1) {
  return Tensor<T, Rank + 1>(any::embedding(table.any(), ids.any(), padding_id));
}

}  // namespace aulos::inline AULOS_ISA
