// The readable twin of stft.hpp: the formulas as they stand in a textbook, in double.
#pragma once

#include <cmath>
#include <numbers>

#include "aulos/kernels/stft.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

// y[f, t] = scale * sum_j w_j x[t hop + j] exp(-2 pi i f j / n_fft)
template <class T>
void stft(const StftShape& s, const double* window, double scale, Rows<const T> x, T* y) {
  for (Index b = 0; b < s.batch; ++b) {
    for (Index f = 0; f < s.bins; ++f) {
      for (Index t = 0; t < s.frames; ++t) {
        double real = 0, imaginary = 0;
        for (Index j = 0; j < s.n_fft; ++j) {
          const double angle =
              2 * std::numbers::pi * static_cast<double>(f * j % s.n_fft) / static_cast<double>(s.n_fft);
          const double sample = window[j] * static_cast<double>(x[b][t * s.hop + j]);
          real += sample * std::cos(angle);
          imaginary -= sample * std::sin(angle);
        }
        y[((2 * b + 0) * s.bins + f) * s.frames + t] = static_cast<T>(scale * real);
        y[((2 * b + 1) * s.bins + f) * s.frames + t] = static_cast<T>(scale * imaginary);
      }
    }
  }
}

// x[p] = scale * sum_t w_j sum_f (Re y[f, t] cos(2 pi f j / n_fft) - Im y[f, t] sin(2 pi f j / n_fft)), j = p - t hop
template <class T>
void stft_adjoint(const StftShape& s, const double* window, double scale, const T* y, Rows<T> x) {
  for (Index b = 0; b < s.batch; ++b) {
    for (Index p = 0; p < s.span(); ++p) {
      double sum = 0;
      for (Index t = 0; t < s.frames; ++t) {
        const Index j = p - t * s.hop;
        if (j < 0 || j >= s.n_fft) continue;
        for (Index f = 0; f < s.bins; ++f) {
          const double angle =
              2 * std::numbers::pi * static_cast<double>(f * j % s.n_fft) / static_cast<double>(s.n_fft);
          const double real = static_cast<double>(y[((2 * b + 0) * s.bins + f) * s.frames + t]);
          const double imaginary = static_cast<double>(y[((2 * b + 1) * s.bins + f) * s.frames + t]);
          sum += window[j] * (real * std::cos(angle) - imaginary * std::sin(angle));
        }
      }
      x[b][p] = static_cast<T>(scale * sum);
    }
  }
}

// x[p] = sum_t w_j z_t[j] / sum_t w_j^2, j = p - t hop, with z_t the n_fft real samples whose transform has the bins
// 0 .. n_fft / 2 of frame t, those of bin 0 and n_fft / 2 taken as real: the whole spectrum is made by mirroring first.
template <class T>
void istft(const StftShape& s, const double* window, double scale, const T* z, Rows<T> x) {
  for (Index b = 0; b < s.batch; ++b) {
    for (Index p = 0; p < s.span(); ++p) {
      double sum = 0, envelope = 0;
      for (Index t = 0; t < s.frames; ++t) {
        const Index j = p - t * s.hop;
        if (j < 0 || j >= s.n_fft) continue;
        envelope += window[j] * window[j];
        double sample = 0;
        for (Index k = 0; k < s.n_fft; ++k) {
          const bool mirrored = 2 * k > s.n_fft;
          const Index f = mirrored ? s.n_fft - k : k;
          const bool real_bin = f == 0 || 2 * f == s.n_fft;
          const double real = static_cast<double>(z[((2 * b + 0) * s.bins + f) * s.frames + t]);
          const double imaginary = real_bin ? 0 : static_cast<double>(z[((2 * b + 1) * s.bins + f) * s.frames + t]);
          const double angle =
              2 * std::numbers::pi * static_cast<double>(k * j % s.n_fft) / static_cast<double>(s.n_fft);
          sample += real * std::cos(angle) - (mirrored ? -imaginary : imaginary) * std::sin(angle);
        }
        sum += window[j] * scale * sample;
      }
      x[b][p] = static_cast<T>(sum / envelope);
    }
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
