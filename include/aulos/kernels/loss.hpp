// Cross entropy over rows of logits.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "aulos/core/config.hpp"
#include "aulos/core/threads.hpp"

namespace aulos::inline AULOS_ISA::kernels {

namespace detail {

// log sum_c exp(x[c]) in double with the maximum taken out; NaN where a NaN is.
template <class T>
double log_sum_exp(const T* x, Index columns) {
  double top = -std::numeric_limits<double>::max();
  for (Index c = 0; c < columns; ++c) top = std::max(top, static_cast<double>(x[c]));
  double sum = 0;
  for (Index c = 0; c < columns; ++c) sum += std::exp(static_cast<double>(x[c]) - top);
  return top + std::log(sum);
}

}  // namespace detail

// loss[r] = -sum_c target[c] log_softmax(x[r])[c] with target = (1 - smoothing) onehot(label) + smoothing / C, and
// lse[r] for the gradient; 0 for rows whose label is `ignore`. x [rows, C], rows `ldx` apart; all sums in double.
// torch.nn.functional.cross_entropy(reduction="none").
template <class T>
void cross_entropy(Threads threads, const T* x, Index ldx, const std::int64_t* labels, Index rows, Index classes,
                   std::int64_t ignore, double smoothing, T* loss, double* lse) {
  threads.run((rows + 15) / 16, [&](Index piece, Scratch&) {
    for (Index r = piece * 16; r < std::min(rows, piece * 16 + 16); ++r) {
      const T* row = x + r * ldx;
      if (labels[r] == ignore) {
        loss[r] = T{0};
        lse[r] = 0;
        continue;
      }
      lse[r] = detail::log_sum_exp(row, classes);
      double value = (1 - smoothing) * (lse[r] - static_cast<double>(row[labels[r]]));
      if (smoothing > 0) {
        double sum = 0;
        for (Index c = 0; c < classes; ++c) sum += lse[r] - static_cast<double>(row[c]);
        value += smoothing / static_cast<double>(classes) * sum;
      }
      loss[r] = static_cast<T>(value);
    }
  });
}

// gx[r, c] = weight * (softmax(x[r])[c] - target[c]); rows to ignore get 0. gx dense.
template <class T>
void cross_entropy_backward(Threads threads, const T* x, Index ldx, const std::int64_t* labels, const double* lse,
                            Index rows, Index classes, std::int64_t ignore, double smoothing, double weight, T* gx) {
  threads.run((rows + 15) / 16, [&](Index piece, Scratch&) {
    for (Index r = piece * 16; r < std::min(rows, piece * 16 + 16); ++r) {
      T* out = gx + r * classes;
      if (labels[r] == ignore) {
        std::fill(out, out + classes, T{0});
        continue;
      }
      const double even = smoothing / static_cast<double>(classes);
      for (Index c = 0; c < classes; ++c) {
        const double target = even + (c == labels[r] ? 1 - smoothing : 0.0);
        out[c] = static_cast<T>(weight * (std::exp(static_cast<double>(x[r * ldx + c]) - lse[r]) - target));
      }
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
