// The short-time Fourier transform as a product with a basis, without an FFT: frames to spectra, spectra to frames.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

#include "aulos/core/config.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/kernels/matmul.hpp"
#include "aulos/kernels/rows.hpp"
#include "aulos/simd/for_lanes.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// Frame t of a signal holds its samples [t * hop, t * hop + n_fft); its spectrum has `bins` frequencies 0, 1, .. /
// n_fft of the sampling rate. Spectra are dense, [batch, 2, bins, frames]: real parts, then imaginary parts.
struct StftShape {
  Index batch = 0, n_fft = 1, hop = 1, frames = 0, bins = 1;

  // Samples from the first to behind the last that any frame holds.
  constexpr Index span() const noexcept { return frames > 0 ? (frames - 1) * hop + n_fft : 0; }
  constexpr Index spectrum() const noexcept { return 2 * bins * frames; }
  constexpr GemmShape analysis() const noexcept { return {2 * bins, frames, n_fft}; }
  constexpr GemmShape synthesis() const noexcept { return {frames, n_fft, 2 * bins}; }
};

namespace detail {

// The cosine and sine of k / n of a turn, 0 <= k < n: exact at quarters, equal in magnitude at mirrored places.
inline void cosine_and_sine(Index k, Index n, double& cosine, double& sine) noexcept {
  const bool lower = 2 * k > n;  // half of the circle
  if (lower) k = n - k;
  const bool left = 4 * k > n;
  const double angle = std::numbers::pi * static_cast<double>(left ? n - 2 * k : 2 * k) / static_cast<double>(n);
  cosine = 4 * k == n ? 0 : left ? -std::cos(angle) : std::cos(angle);
  sine = lower ? -std::sin(angle) : std::sin(angle);
}

}  // namespace detail

// basis [2 bins, n_fft]: row f is scale w_j cos(2 pi f j / n_fft), row bins + f is -scale w_j sin(2 pi f j / n_fft), in
// double and then rounded to T; window w [n_fft]. `turn` is room for 2 n_fft numbers.
template <class T>
void stft_basis(Index n_fft, Index bins, const double* window, double scale, double* turn, T* basis) noexcept {
  for (Index k = 0; k < n_fft; ++k) detail::cosine_and_sine(k, n_fft, turn[2 * k], turn[2 * k + 1]);
  for (Index f = 0; f < bins; ++f) {
    T* real = basis + f * n_fft;
    T* imaginary = basis + (bins + f) * n_fft;
    for (Index j = 0, k = 0; j < n_fft; ++j) {
      real[j] = static_cast<T>(scale * window[j] * turn[2 * k]);
      imaginary[j] = static_cast<T>(-scale * window[j] * turn[2 * k + 1]);
      k += f;
      if (k >= n_fft) k -= n_fft;
    }
  }
}

// Bytes of scratch that a running piece of any kernel of this header needs.
template <class T>
constexpr std::size_t stft_scratch(const StftShape& s) noexcept {
  return (std::max)(matmul_scratch<T>(s.analysis()), matmul_scratch<T>(s.synthesis()));
}

// y[b, :, t] = basis frame_t(x[b]): the windowed frames times a DFT basis (see stft_basis). x has s.span() samples or
// more in each row; frames are read where they lie. y overlaps neither. Sums in T in the order of gemm_tile.hpp;
// 4 batch bins n_fft frames operations. torch.stft of a signal that is padded already.
template <class T>
void stft(Threads threads, const StftShape& s, const T* basis, Rows<const T> x, T* y) {
  batched_matmul<T>(
      threads, s.batch, s.analysis(),
      [&](Index b) {
        return MatmulOperands<T>{{basis, 2 * s.bins, s.n_fft, s.n_fft, 1},
                                 {x[b], s.n_fft, s.frames, 1, s.hop},
                                 y + b * s.spectrum(),
                                 s.frames};
      },
      Update::assign);
}

// frames[b, t] = basis^T y[b, :, t], dense [batch, frames, n_fft]: what `overlap_add` of kernels/segment.hpp adds up to
// the transpose of `stft`. frames overlaps neither operand. Sums and cost as in `stft`.
template <class T>
void stft_frames(Threads threads, const StftShape& s, const T* basis, const T* y, T* frames) {
  batched_matmul<T>(
      threads, s.batch, s.synthesis(),
      [&](Index b) {
        return MatmulOperands<T>{{y + b * s.spectrum(), s.frames, 2 * s.bins, 1, s.frames},
                                 {basis, 2 * s.bins, s.n_fft, s.n_fft, 1},
                                 frames + b * s.frames * s.n_fft,
                                 s.n_fft};
      },
      Update::assign);
}

// y = factor times what an inverse transform to real samples reads of the spectra z, dense as y: the bins below
// n_fft / 2 doubled, for they stand for their mirror images too; bin 0 and, for an even n_fft, bin n_fft / 2 once and
// their real parts alone; no bin beyond (zeros there). y may be z. Its own transpose. torch.fft.irfft.
template <class T>
void stft_one_sided(Threads threads, const StftShape& s, double factor, const T* z, T* y) {
  detail::for_rows(threads, 2 * s.batch * s.bins, s.frames, [&](Index row) {
    const Index bin = row % s.bins;
    const bool imaginary = row / s.bins % 2 == 1, alone = bin == 0 || 2 * bin == s.n_fft;
    const T* from = z + row * s.frames;
    T* to = y + row * s.frames;
    if (2 * bin > s.n_fft || (alone && imaginary)) {
      std::fill_n(to, s.frames, T(0));
      return;
    }
    const simd::Batch<T> by(static_cast<T>(alone ? factor : 2 * factor));
    simd::for_lanes<T>(s.frames, [&](Index t, auto part) { part.store(to + t, by * part.load(from + t)); });
  });
}

// The sum of the squared windows of all frames at a sample of [0, span).
inline double stft_envelope(const StftShape& s, const double* window, Index sample) noexcept {
  const Index last = (std::min)(s.frames - 1, sample / s.hop);
  double sum = 0;
  for (Index t = last; t >= 0 && sample - t * s.hop < s.n_fft; --t) {
    const double w = window[sample - t * s.hop];
    sum += w * w;
  }
  return sum;
}

// Samples [lead, lead + count) of y's rows of `length` are those of x from 0 on, divided by the envelope from sample
// `first` of the frames on; zeros around them. The envelope is summed in double. y overlaps nothing. Memory-bound.
struct StftNormalisation {
  Index first = 0, count = 0, lead = 0, length = 0;
};
template <class T>
void stft_normalise(Threads threads, const StftShape& s, const double* window, const StftNormalisation& part_of,
                    Rows<const T> x, Rows<T> y) {
  constexpr Index block = 256;
  if (s.batch <= 0 || part_of.length <= 0) return;
  threads.run((part_of.length + block - 1) / block, [&](Index piece, Scratch&) {
    const Index begin = piece * block, end = (std::min)(part_of.length, begin + block);
    const Index from = std::clamp(part_of.lead, begin, end), to = std::clamp(part_of.lead + part_of.count, from, end);
    T envelope[block];
    for (Index i = from; i < to; ++i) {
      envelope[i - from] = static_cast<T>(stft_envelope(s, window, part_of.first + i - part_of.lead));
    }
    for (Index b = 0; b < s.batch; ++b) {
      const T* source = x[b] + (from - part_of.lead);
      T* row = y[b];
      std::fill(row + begin, row + from, T(0));
      simd::for_lanes<T>(to - from, [&](Index i, auto part) {
        part.store(row + from + i, part.load(source + i) / part.load(envelope + i));
      });
      std::fill(row + to, row + end, T(0));
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
