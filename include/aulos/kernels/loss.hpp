// Cross entropy over rows of logits.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "aulos/core/config.hpp"
#include "aulos/core/threads.hpp"

namespace aulos::inline AULOS_ISA::kernels {

namespace detail {

// log sum_c exp(x[c]) = top + log_sum, kept apart: their sum would lose log_sum beside a large maximum.
struct LogSumExp {
  double top = 0, log_sum = 0;
};

template <class T>
LogSumExp log_sum_exp(const T* x, Index columns) {  // NaN where a NaN is
  double top = -(std::numeric_limits<double>::max)();
  for (Index c = 0; c < columns; ++c) top = (std::max)(top, static_cast<double>(x[c]));
  double sum = 0;
  for (Index c = 0; c < columns; ++c) sum += std::exp(static_cast<double>(x[c]) - top);
  return {top, std::log(sum)};
}

}  // namespace detail

// loss[r] = -sum_c target[c] log_softmax(x[r])[c] with target = (1 - smoothing) onehot(label) + smoothing / C; 0 for
// rows whose label is `ignore`. For the gradient lse [rows, 2]: the row's maximum and the log of the sum of exp(x -
// maximum). x [rows, C], rows `ldx` apart; all sums in double. torch.nn.functional.cross_entropy(reduction="none").
template <class T>
void cross_entropy(Threads threads, const T* x, Index ldx, const std::int64_t* labels, Index rows, Index classes,
                   std::int64_t ignore, double smoothing, T* loss, double* lse) {
  threads.run((rows + 15) / 16, [&](Index piece, Scratch&) {
    for (Index r = piece * 16; r < (std::min)(rows, piece * 16 + 16); ++r) {
      const T* row = x + r * ldx;
      if (labels[r] == ignore) {
        loss[r] = T{0};
        lse[2 * r] = lse[2 * r + 1] = 0;
        continue;
      }
      const auto [top, log_sum] = detail::log_sum_exp(row, classes);
      double value = (1 - smoothing) * (log_sum - (static_cast<double>(row[labels[r]]) - top));
      if (smoothing > 0) {
        double sum = 0;
        for (Index c = 0; c < classes; ++c) sum += log_sum - (static_cast<double>(row[c]) - top);
        value += smoothing / static_cast<double>(classes) * sum;
      }
      lse[2 * r] = top;
      lse[2 * r + 1] = log_sum;
      loss[r] = static_cast<T>(value);
    }
  });
}

// gx[r, c] = weight * (softmax(x[r])[c] - target[c]); rows to ignore get 0. gx dense.
template <class T>
void cross_entropy_backward(Threads threads, const T* x, Index ldx, const std::int64_t* labels, const double* lse,
                            Index rows, Index classes, std::int64_t ignore, double smoothing, double weight, T* gx) {
  threads.run((rows + 15) / 16, [&](Index piece, Scratch&) {
    for (Index r = piece * 16; r < (std::min)(rows, piece * 16 + 16); ++r) {
      T* out = gx + r * classes;
      if (labels[r] == ignore) {
        std::fill(out, out + classes, T{0});
        continue;
      }
      const double even = smoothing / static_cast<double>(classes);
      for (Index c = 0; c < classes; ++c) {
        const double target = even + (c == labels[r] ? 1 - smoothing : 0.0);
        const double log_softmax = static_cast<double>(x[r * ldx + c]) - lse[2 * r] - lse[2 * r + 1];
        out[c] = static_cast<T>(weight * (std::exp(log_softmax) - target));
      }
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
