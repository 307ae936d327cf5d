// Cross entropy over rows of logits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "aulos/core/config.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/simd/batch.hpp"
#include "aulos/simd/convert.hpp"
#include "aulos/simd/exp.hpp"
#include "aulos/simd/for_lanes.hpp"
#include "aulos/simd/reduce.hpp"

namespace aulos::inline AULOS_ISA::kernels {

namespace detail {

template <class T>
double sum_of(const simd::Doubles<T>& x) {
  simd::Batch<double> sum = x.part[0];
  for (std::size_t i = 1; i < x.count; ++i) sum += x.part[i];
  return simd::reduce_add(sum);
}

// log sum_c exp(x[c]) = top + log_sum, kept apart: their sum would lose log_sum beside a large maximum.
struct LogSumExp {
  double top = 0, log_sum = 0;
};

template <class T>
LogSumExp log_sum_exp(const T* x, Index columns) {  // NaN where a NaN is
  simd::Batch<T> largest(std::numeric_limits<T>::lowest());
  simd::for_lanes<T>(columns, [&](Index c, auto lanes) {
    largest = (simd::max)(largest, lanes.keep(lanes.load(x + c), std::numeric_limits<T>::lowest()));
  });
  const auto top = static_cast<double>(simd::reduce_max(largest));
  simd::Doubles<T> sums = simd::widen(simd::Batch<T>(T(0)));
  simd::for_lanes<T>(columns, [&](Index c, auto lanes) {
    const auto wide = simd::widen(lanes.keep(lanes.load(x + c), -std::numeric_limits<T>::infinity()));
    for (std::size_t i = 0; i < sums.count; ++i) sums.part[i] += simd::exp(wide.part[i] - simd::Batch<double>(top));
  });
  return {top, std::log(sum_of(sums))};
}

// sum_c (x[c] - top); `top` is a T.
template <class T>
double sum_below(const T* x, Index columns, double top) {
  simd::Doubles<T> sums = simd::widen(simd::Batch<T>(T(0)));
  simd::for_lanes<T>(columns, [&](Index c, auto lanes) {
    const auto wide = simd::widen(lanes.keep(lanes.load(x + c), static_cast<T>(top)));
    for (std::size_t i = 0; i < sums.count; ++i) sums.part[i] += wide.part[i] - simd::Batch<double>(top);
  });
  return sum_of(sums);
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
        value += smoothing * (log_sum - detail::sum_below(row, classes, top) / static_cast<double>(classes));
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
      const double even = smoothing / static_cast<double>(classes), top = lse[2 * r], log_sum = lse[2 * r + 1];
      const T* row = x + r * ldx;
      simd::for_lanes<T>(classes, [&](Index c, auto lanes) {
        simd::Doubles<T> wide = simd::widen(lanes.load(row + c));
        for (simd::Batch<double>& part : wide.part) {
          const auto softmax = simd::exp(part - simd::Batch<double>(top) - simd::Batch<double>(log_sum));
          part = simd::Batch<double>(weight) * (softmax - simd::Batch<double>(even));
        }
        lanes.store(out + c, simd::narrow(wide));
      });
      const Index label = labels[r];
      const double softmax = std::exp(static_cast<double>(row[label]) - top - log_sum);
      out[label] = static_cast<T>(weight * (softmax - even - (1 - smoothing)));
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
