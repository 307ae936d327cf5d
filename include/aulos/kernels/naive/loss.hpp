// The readable twin of loss.hpp, in double.
#pragma once

#include <cmath>
#include <cstdint>

#include "aulos/kernels/naive/softmax.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

// (1 - smoothing) onehot(label) + smoothing / classes, at class c.
inline double smoothed_target(Index c, Index label, Index classes, double smoothing) {
  return smoothing / static_cast<double>(classes) + (c == label ? 1 - smoothing : 0);
}

template <class T>
void cross_entropy(const T* x, Index ldx, const std::int64_t* labels, Index rows, Index classes, std::int64_t ignore,
                   double smoothing, T* loss) {
  for (Index r = 0; r < rows; ++r) {
    const double lse = log_sum_exp(x + r * ldx, classes);
    double sum = 0;
    for (Index c = 0; c < classes; ++c) {
      const double target = smoothed_target(c, labels[r], classes, smoothing);
      if (target > 0) sum -= target * (static_cast<double>(x[r * ldx + c]) - lse);  // 0 times -inf is 0 here
    }
    loss[r] = static_cast<T>(labels[r] == ignore ? 0 : sum);
  }
}

template <class T>
void cross_entropy_backward(const T* x, Index ldx, const std::int64_t* labels, Index rows, Index classes,
                            std::int64_t ignore, double smoothing, double weight, T* gx) {
  for (Index r = 0; r < rows; ++r) {
    const double lse = log_sum_exp(x + r * ldx, classes);
    for (Index c = 0; c < classes; ++c) {
      const double p = std::exp(static_cast<double>(x[r * ldx + c]) - lse);
      const double g = weight * (p - smoothed_target(c, labels[r], classes, smoothing));
      gx[r * classes + c] = static_cast<T>(labels[r] == ignore ? 0 : g);
    }
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
