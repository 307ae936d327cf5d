// Losses: cross entropy and mean squared error.
#pragma once

#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/loss.hpp"
#include "aulos/ops/op.hpp"
#include "aulos/ops/reduce.hpp"

namespace aulos::inline AULOS_ISA {

struct CrossEntropyOptions {
  std::int64_t ignore = -100;  // rows with this label do not count
  double smoothing = 0;        // target = (1 - smoothing) onehot + smoothing / classes
};

namespace any {

template <Real T>
AnyTensor<T> cross_entropy(const AnyTensor<T>& logits, const AnyTensor<std::int64_t>& labels,
                           const CrossEntropyOptions& options) {
  Op op("cross_entropy", arg("logits", logits), arg("labels", labels));
  const Index rows = logits.rows();
  const Index classes = logits.last();
  bool same = labels.rank() + 1 == logits.rank();
  for (int axis = 0; same && axis < labels.rank(); ++axis) same = labels.extent(axis) == logits.extent(axis);
  op.require(same, [&] {
    return concat_text({"labels ", labels.dims(), " for logits ", logits.dims(), ", expected ",
                        to_string(logits.dims().extent, logits.rank() - 1)});
  });
  const AnyTensor<T> x = op.dense(logits);
  const AnyTensor<std::int64_t> label = op.dense(labels);
  AnyTensor<T> each = op.empty<T>(dense_dims({rows}));
  AnyTensor<double> lse = op.context().template empty_any<double>(dense_dims({rows, 2}));
  AnyTensor<double> valid = op.context().template empty_any<double>(dense_dims({1}));
  AnyTensor<T> y = op.empty<T>(dense_dims({1}));
  op.run(cost_per_element<T>(x.count(), 8, 1), [&](Threads threads) {
    Index counted = 0;
    for (Index r = 0; r < rows; ++r) {
      const std::int64_t at = label.data()[r];
      op.require(at == options.ignore || (at >= 0 && at < classes), [&] {
        return concat_text(
            {"label ", at, " of row ", r, ", expected 0 to ", classes - 1, " or ", options.ignore, " (ignored)"});
      });
      counted += at != options.ignore;
    }
    kernels::cross_entropy<T>(threads, x.data(), classes, label.data(), rows, classes, options.ignore,
                              options.smoothing, each.mutable_data(), lse.mutable_data());
    *valid.mutable_data() = static_cast<double>(counted);  // none: 0 / 0 is NaN, as in PyTorch
    *y.mutable_data() = static_cast<T>(kernels::total_sum<T>(each.data(), nullptr, rows) / *valid.data());
  });
  if (op.recording()) {
    op.record(y, [x, label, lse, valid, options, gx = op.ghost(logits)](GradTape& tape, AnyTensor<T> gy) {
      AnyTensor<T> dx = tape.context().template empty_any<T>(x.dims());
      tape.context().run("cross_entropy_backward", cost_per_element<T>(x.count(), 8, 2), [&](Threads threads) {
        const double weight = *valid.data() > 0 ? static_cast<double>(*gy.data()) / *valid.data() : 0.0;
        kernels::cross_entropy_backward<T>(threads, x.data(), x.last(), label.data(), lse.data(), x.rows(), x.last(),
                                           options.ignore, options.smoothing, weight, dx.mutable_data());
      });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

template <Real T>
AnyTensor<T> mse_loss(const AnyTensor<T>& x, const AnyTensor<T>& target) {
  Op op("mse_loss", arg("x", x), arg("target", target));
  op.require(x.dims().same_extents(target.dims()), [&] {  // repeating one of them is hardly ever meant
    return concat_text({"x ", x.dims(), " and target ", target.dims(), " differ"});
  });
  const AnyTensor<T> d = subtract(x, target);
  return total("mse_loss", multiply(d, d), 1.0 / static_cast<double>(d.count()));
}

}  // namespace any

// Mean over the rows that count of -sum(target log_softmax(logits)): logits [.., C], labels [..] -> [1].
// torch.nn.functional.cross_entropy.
template <Real T, int Rank>
Tensor<T, 1> cross_entropy(const Tensor<T, Rank>& logits, const Tensor<std::int64_t, Rank - 1>& labels,
                           const CrossEntropyOptions& options = {}) {
  return Tensor<T, 1>(any::cross_entropy(logits.any(), labels.any(), options));
}

// mean((x - target)^2) -> [1]; both arguments have gradients. torch.nn.functional.mse_loss.
template <Real T, int Rank>
Tensor<T, 1> mse_loss(const Tensor<T, Rank>& x, const Arg<Tensor<T, Rank>>& target) {
  return Tensor<T, 1>(any::mse_loss(x.any(), target.any()));
}

}  // namespace aulos::inline AULOS_ISA
