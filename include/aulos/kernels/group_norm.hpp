// Group norm over channels and positions, batch norm with given statistics, and their gradients.
#pragma once

#include <algorithm>
#include <cmath>

#include "aulos/kernels/norm.hpp"
#include "aulos/kernels/rows.hpp"
#include "aulos/simd/row_sum.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// x [batch, channels, positions] dense; `groups` divides channels.
struct GroupNormShape {
  Index batch, channels, positions, groups;
  double eps;

  Index rows() const noexcept { return batch * channels; }  // of one channel each
  Index group_elements() const noexcept { return channels / groups * positions; }
};

// The mean and 1 / sqrt(var + eps) of each row of one channel: those of its group, or of its channel alone.
struct ChannelMoments {
  const RowMoments* data;
  Index channels;        // C
  Index group_channels;  // C / groups; 0: one entry per channel for all samples (batch norm)

  const RowMoments& operator[](Index row) const noexcept {
    return data[group_channels == 0 ? row % channels : row / group_channels];
  }
};

// Sums over the positions of one channel of one sample.
struct ChannelSums {
  double gy, gy_xhat;
};

namespace detail {

// Elements of one stretch of a group whose moments are taken at a time: fixed, so that results do not follow threads.
inline constexpr Index moments_stretch = 8192;

inline Index stretches_of(const GroupNormShape& shape) noexcept {
  return (shape.group_elements() + moments_stretch - 1) / moments_stretch;
}

// Mean and sum of squared distances from it.
struct Spread {
  double mean = 0, squares = 0, count = 0;

  // Both together (Chan, Golub, LeVeque).
  void add(const Spread& other) noexcept {
    const double delta = other.mean - mean, total = count + other.count;
    mean += delta * (other.count / total);
    squares += other.squares + delta * delta * (count * (other.count / total));
    count = total;
  }
};

template <class T>
[[gnu::noinline]] Spread spread_of(const T* x, Index count) noexcept {
  const double n = static_cast<double>(count);
  const T about = static_cast<T>(
      simd::sum_row<T, 1>(count, [=](Index i, auto part, auto& sum) { sum[0] += part.load(x + i); })[0] / n);
  const simd::Batch<T> pivot(about);
  const auto sums = simd::sum_row<T, 2>(count, [=](Index i, auto part, auto& sum) {
    const simd::Batch<T> d = part.keep(part.load(x + i) - pivot, T(0));
    sum[0] += d;
    sum[1] = simd::fma(d, d, sum[1]);
  });
  const double off = sums[0] / n;
  const double squares = sums[1] - n * off * off;
  return {static_cast<double>(about) + off, squares < 0 ? 0 : squares, n};
}

}  // namespace detail

// Bytes of workspace that group_moments needs.
inline Index group_moments_workspace(const GroupNormShape& shape) noexcept {
  return shape.batch * shape.groups * detail::stretches_of(shape) * static_cast<Index>(sizeof(detail::Spread));
}

// moments[b * groups + g] of each group, biased variance, in double: stretches of fixed length, put together in order.
// One group over all channels is the global layer norm of speech separation.
template <class T>
void group_moments(Threads threads, const GroupNormShape& shape, const T* x, void* workspace, RowMoments* moments) {
  const Index length = shape.group_elements(), stretches = detail::stretches_of(shape);
  const Index groups = shape.batch * shape.groups;
  auto* const spreads = static_cast<detail::Spread*>(workspace);
  detail::for_rows(threads, groups * stretches, (std::min)(length, detail::moments_stretch), [=](Index piece) {
    const Index begin = piece % stretches * detail::moments_stretch;
    spreads[piece] =
        detail::spread_of(x + piece / stretches * length + begin, (std::min)(detail::moments_stretch, length - begin));
  });
  for (Index group = 0; group < groups; ++group) {
    detail::Spread all;
    for (Index s = 0; s < stretches; ++s) all.add(spreads[group * stretches + s]);
    moments[group] = {all.mean, 1 / std::sqrt(all.squares / static_cast<double>(length) + shape.eps)};
  }
}

// moments[c] from running statistics [C].
template <class T>
void batch_moments(Index channels, const T* mean, const T* variance, double eps, RowMoments* moments) {
  for (Index c = 0; c < channels; ++c)
    moments[c] = {static_cast<double>(mean[c]), 1 / std::sqrt(static_cast<double>(variance[c]) + eps)};
}

// y = (x - mean) rstd weight[c] + bias[c]; weight and bias may be absent, y may be x.
// torch.nn.functional.group_norm, batch_norm(training=False).
template <class T>
void normalise_channels(Threads threads, const GroupNormShape& shape, const ChannelMoments& moments, const T* x,
                        const T* weight, const T* bias, T* y) {
  detail::for_rows(threads, shape.rows(), shape.positions, [&](Index row) {
    const RowMoments& m = moments[row];
    const Index c = row % shape.channels;
    const detail::Centered<T, detail::Centering::subtract_mean> xhat(m.mean, m.rstd);
    const simd::Batch<T> w(weight == nullptr ? T(1) : weight[c]), b(bias == nullptr ? T(0) : bias[c]);
    const T* from = x + row * shape.positions;
    T* to = y + row * shape.positions;
    simd::for_lanes<T>(shape.positions,
                       [=](Index i, auto part) { part.store(to + i, simd::fma(xhat(part.load(from + i)), w, b)); });
  });
}

// sums[row] of each channel of each sample, and from them, where wanted, gweight[c] = sum_b gy_xhat, gbias[c] =
// sum_b gy.
template <class T>
void channel_sums(Threads threads, const GroupNormShape& shape, const ChannelMoments& moments, const T* x, const T* gy,
                  ChannelSums* sums, T* gweight, T* gbias) {
  detail::for_rows(threads, shape.rows(), shape.positions, [&](Index row) {
    const detail::Centered<T, detail::Centering::subtract_mean> xhat(moments[row].mean, moments[row].rstd);
    const T* from = x + row * shape.positions;
    const T* g = gy + row * shape.positions;
    const auto sum = simd::sum_row<T, 2>(shape.positions, [=](Index i, auto part, auto& s) {
      const simd::Batch<T> v = part.load(g + i);
      s[0] += v;
      s[1] = simd::fma(v, xhat(part.load(from + i)), s[1]);
    });
    sums[row] = {sum[0], sum[1]};
  });
  for (Index c = 0; c < shape.channels; ++c) {
    double weight = 0, bias = 0;
    for (Index b = 0; b < shape.batch && shape.positions > 0; ++b) {
      weight += sums[b * shape.channels + c].gy_xhat;
      bias += sums[b * shape.channels + c].gy;
    }
    if (gweight != nullptr) gweight[c] = static_cast<T>(weight);
    if (gbias != nullptr) gbias[c] = static_cast<T>(bias);
  }
}

// With h = gy weight: gx = rstd (h - mean(h) - xhat mean(h xhat)), means over the group; without statistics of x (batch
// norm) gx = rstd h. gx may be gy or x. `means` holds one entry for each group of each sample; not used by batch norm.
template <class T>
void normalise_channels_backward(Threads threads, const GroupNormShape& shape, const ChannelMoments& moments,
                                 const T* x, const T* weight, const T* gy, const ChannelSums* sums, ChannelSums* means,
                                 T* gx) {
  const Index members = moments.group_channels;
  for (Index group = 0; members > 0 && shape.positions > 0 && group < shape.batch * shape.groups; ++group) {
    ChannelSums mean{0, 0};
    for (Index row = group * members; row < (group + 1) * members; ++row) {
      const double w = weight == nullptr ? 1 : static_cast<double>(weight[row % shape.channels]);
      mean.gy += w * sums[row].gy;
      mean.gy_xhat += w * sums[row].gy_xhat;
    }
    const double count = static_cast<double>(members * shape.positions);
    means[group] = {mean.gy / count, mean.gy_xhat / count};
  }
  detail::for_rows(threads, shape.rows(), shape.positions, [&](Index row) {
    const RowMoments& m = moments[row];
    const simd::Batch<T> w(weight == nullptr ? T(1) : weight[row % shape.channels]), rstd(static_cast<T>(m.rstd));
    const T* from = x + row * shape.positions;
    const T* g = gy + row * shape.positions;
    T* to = gx + row * shape.positions;
    if (members == 0) {
      simd::for_lanes<T>(shape.positions, [=](Index i, auto part) { part.store(to + i, part.load(g + i) * w * rstd); });
      return;
    }
    const detail::Centered<T, detail::Centering::subtract_mean> xhat(m.mean, m.rstd);
    const ChannelSums& mean = means[row / members];
    const simd::Batch<T> less(static_cast<T>(-mean.gy)), slope(static_cast<T>(mean.gy_xhat));
    simd::for_lanes<T>(shape.positions, [=](Index i, auto part) {
      part.store(to + i, rstd * simd::fnma(xhat(part.load(from + i)), slope, simd::fma(part.load(g + i), w, less)));
    });
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
