// Layer norm and RMS norm over rows, with an optional affine part and an optional modulation, and their gradients.
#pragma once

#include <array>
#include <cmath>

#include "aulos/kernels/rows.hpp"
#include "aulos/simd/reduce_rows.hpp"
#include "aulos/simd/row_sum.hpp"

namespace aulos::inline AULOS_ISA::kernels {

struct NormShape {
  Index rows, columns;
  double eps;  // added to the variance or to the mean square, inside the root
};

// y = (xhat weight + bias) (1 + scale) + shift; what is absent is left out.
template <class T>
struct NormOperands {
  Rows<const T> x;
  const T* weight = nullptr;
  const T* bias = nullptr;
  SharedRows<const T> scale{}, shift{};
};

// What is absent is not wanted; what is given is overwritten. scale and shift have the sharing of the operands'.
template <class T>
struct NormGradients {
  Rows<const T> gy;
  Rows<T> gx{};
  T* weight = nullptr;
  T* bias = nullptr;
  SharedRows<T> scale{}, shift{};
};

// xhat = (x - mean) rstd. RMS norm has the mean 0.
struct RowMoments {
  double mean, rstd;
};

namespace detail {

enum class Centering { subtract_mean, none };

// (x - mean) * factor to the precision of T, though T may not hold the mean.
template <class T, Centering kCentering>
class Centered {
 public:
  Centered(double mean, double factor) noexcept : factor_(static_cast<T>(factor)) {
    // With a fused multiply-add x factor + offset is rounded once, and the offset is a sum of two T; without it the
    // subtraction must come first.
    const double f = simd::has_fma ? static_cast<double>(static_cast<T>(factor)) : 1.0;
    const double offset = -mean * f;
    const double rest = simd::has_fma ? simd::fma(-mean, f, -offset) : 0.0;
    hi_ = simd::Batch<T>(static_cast<T>(offset));
    lo_ = simd::Batch<T>(static_cast<T>((offset - static_cast<double>(static_cast<T>(offset))) + rest));
  }

  simd::Batch<T> operator()(simd::Batch<T> x) const noexcept {
    if constexpr (kCentering == Centering::none) return x * factor_;
    if constexpr (simd::has_fma) return simd::in_order(simd::fma(x, factor_, hi_)) + lo_;
    return (simd::in_order(x + hi_) + lo_) * factor_;
  }

 private:
  simd::Batch<T> factor_, hi_, lo_;
};

// A number near the mean of the row: the mean of its first elements.
template <class T, Centering kCentering>
T row_pivot(const T* x, Index columns) noexcept {
  if constexpr (kCentering == Centering::none) return T(0);
  constexpr Index width = simd::lanes<T>;
  if (columns < width) {
    const Index count = columns;
    return simd::reduce_add(simd::load_partial(x, count)) / static_cast<T>(count);
  }
  if (columns < 4 * width) return simd::reduce_add(simd::load(x)) / static_cast<T>(width);
  const simd::Batch<T> sum =
      (simd::load(x) + simd::load(x + width)) + (simd::load(x + 2 * width) + simd::load(x + 3 * width));
  return simd::reduce_add(sum) / static_cast<T>(4 * width);
}

struct MeanVariance {
  double mean, variance;
};

// Sums of the distances from `about` and of their squares.
template <class T, Centering kCentering>
MeanVariance row_variance(const T* x, Index columns, double per, T about) noexcept {
  if constexpr (kCentering == Centering::none) {
    const auto sums = simd::sum_row<T, 1>(columns, [=](Index i, auto part, auto& sum) {
      const simd::Batch<T> v = part.load(x + i);
      sum[0] = simd::fma(v, v, sum[0]);
    });
    return {0, sums[0] * per};
  } else {
    const simd::Batch<T> pivot(about);
    const auto sums = simd::sum_row<T, 2>(columns, [=](Index i, auto part, auto& sum) {
      const simd::Batch<T> d = part.keep(part.load(x + i) - pivot, T(0));
      sum[0] += d;
      sum[1] = simd::fma(d, d, sum[1]);
    });
    const double off = sums[0] * per;
    const double variance = sums[1] * per - off * off;
    return {static_cast<double>(about) + off, variance < 0 ? 0 : variance};
  }
}

// One pass about a number near the mean; a second about the mean itself where the first elements were unlike the rest.
template <class T, Centering kCentering>
MeanVariance row_mean_variance(const T* x, Index columns, double per, T pivot) noexcept {
  const MeanVariance m = row_variance<T, kCentering>(x, columns, per, pivot);
  if constexpr (kCentering == Centering::none) return m;
  const double off = m.mean - static_cast<double>(pivot);
  if (off * off <= m.variance) return m;
  return row_variance<T, kCentering>(x, columns, per, static_cast<T>(m.mean));
}

template <class T, Centering kCentering>
RowMoments row_moments(const T* x, Index columns, double eps) noexcept {
  const double per = 1 / static_cast<double>(columns);
  const MeanVariance m = row_mean_variance<T, kCentering>(x, columns, per, row_pivot<T, kCentering>(x, columns));
  return {m.mean, 1 / std::sqrt(m.variance + eps)};
}

// The results of `count` rows from `first` on, whose moments are given. On the path past the caches the rows that
// come next (up to `last`, the last of all) are asked for meanwhile.
template <class T, Centering kCentering, simd::Path path>
[[gnu::noinline]] void norm_rows(const NormOperands<T>& in, Index first, Index count, Index last, Index columns,
                                 const double* mean, const double* rstd, Rows<T> y) noexcept {
  const simd::Batch<T> one(T(1));
  const T *weight = in.weight, *bias = in.bias;
  // finish(xhat, i, part, scale, shift)
  const auto each_row = [&](auto finish) {
    for (Index r = 0; r < count; ++r) {
      const Centered<T, kCentering> xhat(mean[r], rstd[r]);
      const T* x = in.x[first + r];
      const T* scale = in.scale ? in.scale[first + r] : nullptr;
      const T* shift = in.shift ? in.shift[first + r] : nullptr;
      T* to = y[first + r];
      const T* ahead = in.x[(std::min)(first + r + count, last)];
      simd::for_lanes_on<T, path>(columns, [=](Index i, auto part) {
        if constexpr (path == simd::Path::past_caches) __builtin_prefetch(ahead + i, 0, 2);
        part.store(to + i, finish(xhat(part.load(x + i)), i, part, scale, shift));
      });
    }
  };
  // The usual combinations have loops without branches.
  const bool affine = weight != nullptr || bias != nullptr, modulated = in.scale || in.shift;
  if (!affine && !modulated) {
    each_row([](auto v, Index, auto, const T*, const T*) { return v; });
  } else if (weight != nullptr && bias == nullptr && !modulated) {
    each_row([=](auto v, Index i, auto part, const T*, const T*) { return v * part.load(weight + i); });
  } else if (weight != nullptr && bias != nullptr && !modulated) {
    each_row([=](auto v, Index i, auto part, const T*, const T*) {
      return simd::fma(v, part.load(weight + i), part.load(bias + i));
    });
  } else if (!affine && in.scale && in.shift) {
    each_row([=](auto v, Index i, auto part, const T* scale, const T* shift) {
      return simd::fma(v, one + part.load(scale + i), part.load(shift + i));
    });
  } else {
    each_row([=](auto v, Index i, auto part, const T* scale, const T* shift) {
      if (weight != nullptr) v = v * part.load(weight + i);
      if (bias != nullptr) v = v + part.load(bias + i);
      if (scale != nullptr) v = v * (one + part.load(scale + i));
      if (shift != nullptr) v = v + part.load(shift + i);
      return v;
    });
  }
}

// Rows of at most four batches: `count` <= lanes of them have their sums reduced together, and the pivot is the mean
// but for its rounding. mean and variance have room for a batch.
template <class T, Centering kCentering>
[[gnu::noinline]] void short_row_moments(Rows<const T> x, Index first, Index count, Index columns, double per,
                                         double* mean, double* variance) noexcept {
  constexpr Index width = simd::lanes<T>;
  constexpr auto rows = static_cast<std::size_t>(width);
  const auto plus = [](simd::Batch<T> a, simd::Batch<T> b) { return a + b; };
  simd::Batch<T> sum[rows], square[rows];
  alignas(64) T pivot[rows] = {}, off[rows] = {}, spread[rows];
  for (std::size_t r = 0; r < rows; ++r) sum[r] = square[r] = simd::Batch<T>(T(0));
  if constexpr (kCentering == Centering::subtract_mean) {
    for (Index r = 0; r < count; ++r) {
      const T* row = x[first + r];
      simd::Batch<T> s(T(0));  // sum[r] itself would pass through memory each time
      simd::for_lanes<T>(columns, [&](Index i, auto part) { s += part.load(row + i); });
      sum[r] = s;
    }
    simd::store(pivot, simd::reduce_rows<T>(sum, plus) * simd::Batch<T>(static_cast<T>(per)));
  }
  for (Index r = 0; r < count; ++r) {
    const T* row = x[first + r];
    const simd::Batch<T> about(pivot[r]);
    simd::Batch<T> s(T(0)), q(T(0));
    simd::for_lanes<T>(columns, [&](Index i, auto part) {
      simd::Batch<T> d = part.load(row + i);
      if constexpr (kCentering == Centering::subtract_mean) d = part.keep(d - about, T(0));
      s += d;
      q = simd::fma(d, d, q);
    });
    sum[r] = s;
    square[r] = q;
  }
  if constexpr (kCentering == Centering::subtract_mean) simd::store(off, simd::reduce_rows<T>(sum, plus));
  simd::store(spread, simd::reduce_rows<T>(square, plus));
  for (Index r = 0; r < count; ++r) {
    const double from_pivot = static_cast<double>(off[r]) * per;
    const double v = static_cast<double>(spread[r]) * per - from_pivot * from_pivot;
    mean[r] = static_cast<double>(pivot[r]) + from_pivot;
    variance[r] = v < 0 ? 0 : v;
  }
}

// Short rows go through each step several at a time, so that a row's sums, root and division, each a long chain of
// latencies, pass while the processor works on the next row's; but not so many that they leave the first-level cache.
template <class T, Centering kCentering>
void norm(Threads threads, const NormShape& shape, const NormOperands<T>& in, Rows<T> y) {
  constexpr Index most = 16;
  const Index columns = shape.columns;
  if (columns <= 0) return;
  const Index group = std::clamp<Index>(8192 / (columns * Index(sizeof(T))), 1, most);
  const double per = 1 / static_cast<double>(columns);
  const bool past = past_caches<T>(in.x.data, y, shape.rows, columns);
  const auto norm_group = [&](Index index) {
    const Index first = index * group, count = (std::min)(group, shape.rows - first);
    double mean[most];
    alignas(64) double rstd[most] = {};
    if (columns <= 4 * simd::lanes<T>) {
      for (Index i = 0; i < count; i += simd::lanes<T>)
        short_row_moments<T, kCentering>(in.x, first + i, (std::min)(simd::lanes<T>, count - i), columns, per, mean + i,
                                         rstd + i);
    } else {
      T pivot[most];
      for (Index i = 0; i < count; ++i) pivot[i] = row_pivot<T, kCentering>(in.x[first + i], columns);
      for (Index i = 0; i < count; ++i) {
        const MeanVariance m = row_mean_variance<T, kCentering>(in.x[first + i], columns, per, pivot[i]);
        mean[i] = m.mean;
        rstd[i] = m.variance;
      }
    }
    const simd::Batch<double> eps(shape.eps);
    for (Index i = 0; i < count; i += simd::lanes<double>) {
      simd::store(rstd + i, simd::Batch<double>(1.0) / simd::sqrt(simd::load(rstd + i) + eps));
    }
    if (past) {
      norm_rows<T, kCentering, simd::Path::past_caches>(in, first, count, shape.rows - 1, columns, mean, rstd, y);
    } else {
      norm_rows<T, kCentering, simd::Path::cached>(in, first, count, shape.rows - 1, columns, mean, rstd, y);
    }
  };
  for_rows(threads, (shape.rows + group - 1) / group, columns * group, norm_group, past);
}

// With h = gy (1 + scale) weight: gx = rstd (h - mean(h) - xhat mean(h xhat)), without mean(h) for RMS norm.
template <class T, Centering kCentering>
void norm_backward(Threads threads, const NormShape& shape, const NormOperands<T>& in, const NormGradients<T>& out,
                   RowMoments* workspace) {
  const simd::Batch<T> one(T(1));
  // gy (1 + scale), the gradient of xhat weight + bias.
  const auto affine_gradient = [gy = out.gy, scale = in.scale, one](Index row, Index i, auto part) {
    simd::Batch<T> g = part.load(gy[row] + i);
    if (scale) g = g * (one + part.load(scale[row] + i));
    return g;
  };
  const Index columns = shape.columns;
  for_rows(threads, shape.rows, columns, [&](Index row) {
    const T* x = in.x[row];
    const RowMoments moments = row_moments<T, kCentering>(x, columns, shape.eps);
    workspace[row] = moments;
    if (!out.gx) return;
    const Centered<T, kCentering> xhat(moments.mean, moments.rstd);
    const T* gy = out.gy[row];
    const T* weight = in.weight;
    const T* scale = in.scale ? in.scale[row] : nullptr;
    const auto h_of = [=](Index i, auto part) {
      simd::Batch<T> h = part.load(gy + i);
      if (scale != nullptr) h = h * (one + part.load(scale + i));
      if (weight != nullptr) h = h * part.load(weight + i);
      return h;
    };
    const auto sums = simd::sum_row<T, 2>(columns, [=](Index i, auto part, auto& sum) {
      const simd::Batch<T> h = h_of(i, part);
      if constexpr (kCentering == Centering::subtract_mean) sum[0] += h;
      sum[1] = simd::fma(h, xhat(part.load(x + i)), sum[1]);
    });
    const double per = 1 / static_cast<double>(columns);
    const simd::Batch<T> mean_h(static_cast<T>(sums[0] * per)), slope(static_cast<T>(sums[1] * per));
    const simd::Batch<T> rstd(static_cast<T>(moments.rstd));
    T* to = out.gx[row];
    simd::for_lanes<T>(columns, [=](Index i, auto part) {
      part.store(to + i, rstd * simd::fnma(xhat(part.load(x + i)), slope, h_of(i, part) - mean_h));
    });
  });

  const auto xhat_of = [x = in.x, workspace](Index row, Index i, auto part) {
    return Centered<T, kCentering>(workspace[row].mean, workspace[row].rstd)(part.load(x[row] + i));
  };
  if (out.weight != nullptr || out.bias != nullptr) {
    column_sums<T, 2>(threads, shape.rows, 0, shape.columns, {Rows<T>{out.weight, 0}, Rows<T>{out.bias, 0}},
                      [&](Index row, Index i, auto part) {
                        const simd::Batch<T> g = affine_gradient(row, i, part);
                        return std::array<simd::Batch<T>, 2>{g * xhat_of(row, i, part), g};
                      });
  }
  if (out.scale) {
    column_sums<T, 1>(threads, shape.rows, group_size(out.scale), shape.columns, {group_rows(out.scale)},
                      [&](Index row, Index i, auto part) {
                        simd::Batch<T> v = xhat_of(row, i, part);
                        if (in.weight != nullptr) v = v * part.load(in.weight + i);
                        if (in.bias != nullptr) v = v + part.load(in.bias + i);
                        return std::array<simd::Batch<T>, 1>{part.load(out.gy[row] + i) * v};
                      });
  }
  if (out.shift) {
    column_sums<T, 1>(
        threads, shape.rows, group_size(out.shift), shape.columns, {group_rows(out.shift)},
        [&](Index row, Index i, auto part) { return std::array<simd::Batch<T>, 1>{part.load(out.gy[row] + i)}; });
  }
}

}  // namespace detail

// xhat = (x - mean(x)) / sqrt(var(x) + eps) over the last axis, biased variance; then the affine part and the
// modulation. Moments in double over short runs in T, in one pass about a pivot, the mean of the first elements, and in
// a second one where that is far from the mean, so that they are right for any mean. y may be x.
// torch.nn.functional.layer_norm; adaLN's norm(x) * (1 + scale) + shift in one kernel.
template <class T>
void layer_norm(Threads threads, const NormShape& shape, const NormOperands<T>& in, Rows<T> y) {
  detail::norm<T, detail::Centering::subtract_mean>(threads, shape, in, y);
}

// xhat = x / sqrt(mean(x^2) + eps); the rest as layer_norm. torch.nn.functional.rms_norm.
template <class T>
void rms_norm(Threads threads, const NormShape& shape, const NormOperands<T>& in, Rows<T> y) {
  detail::norm<T, detail::Centering::none>(threads, shape, in, y);
}

// All gradients of layer_norm. workspace [rows] is the caller's and holds the moments afterwards. gx may be gy or x
// when it is the only gradient wanted. Sums over rows run in order, in double; gradients of groups are left as they are
// when there are no rows.
template <class T>
void layer_norm_backward(Threads threads, const NormShape& shape, const NormOperands<T>& in,
                         const NormGradients<T>& out, RowMoments* workspace) {
  detail::norm_backward<T, detail::Centering::subtract_mean>(threads, shape, in, out, workspace);
}

// All gradients of rms_norm, as layer_norm_backward.
template <class T>
void rms_norm_backward(Threads threads, const NormShape& shape, const NormOperands<T>& in, const NormGradients<T>& out,
                       RowMoments* workspace) {
  detail::norm_backward<T, detail::Centering::none>(threads, shape, in, out, workspace);
}

}  // namespace aulos::inline AULOS_ISA::kernels
