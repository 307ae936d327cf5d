// What a short-time Fourier transform multiplies with: its window and the rows of its basis, made once.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>
#include <optional>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/tensor.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/pad.hpp"
#include "aulos/kernels/stft.hpp"

namespace aulos::inline AULOS_ISA {

using kernels::PadMode;

// a - b cos(2 pi j / K), with K = win_length for periodic windows (PyTorch's default) and win_length - 1 for symmetric
// ones; a = b = 1/2 for Hann, 0.54 and 0.46 for Hamming.
enum class StftWindow { hann, hann_symmetric, hamming, hamming_symmetric, rectangular };

// Frame t is centred at sample t * hop of the signal, which is padded by n_fft / 2 on both sides for that, or begins
// there, no padding.
enum class StftFrames { centred, inside };

// Bins 0 .. n_fft / 2, which say all about a real signal, or all n_fft.
enum class StftBins { one_sided, two_sided };

// The sum as it stands, or divided by the square root of n_fft (torch.stft's normalized=True).
enum class StftScale { none, orthonormal };

struct StftOptions {
  Index n_fft = 0;
  std::optional<Index> hop = {};         // absent: n_fft / 4
  std::optional<Index> win_length = {};  // absent: n_fft; a shorter window stands in the middle of zeros
  StftWindow window = StftWindow::hann;
  StftFrames frames = StftFrames::centred;
  PadMode padding = PadMode::reflect;  // of centred frames
  StftScale scale = StftScale::none;
  StftBins bins = StftBins::one_sided;
};

// A constant of a model, as a table of positions is: cheap to copy, never written again, to be shared by any number of
// Contexts and threads. It holds 2 F n_fft elements.
template <Real T>
class StftBasis {
 public:
  StftBasis() = default;  // absent

  explicit StftBasis(const StftOptions& options) : StftBasis(options, named_window(checked(options))) {}

  // With a window [win_length] of one's own, whose values are copied; options.window means nothing then.
  StftBasis(const StftOptions& options, const Tensor<T, 1>& window)
      : StftBasis(options, values_of(checked(options), window)) {}

  bool empty() const noexcept { return state_ == nullptr; }
  // With no field absent.
  const StftOptions& options() const noexcept { return state_->options; }
  Index n_fft() const noexcept { return state_->options.n_fft; }
  Index hop() const noexcept { return *state_->options.hop; }
  // F
  Index bins() const noexcept { return bins_of(state_->options); }
  // Zeros, mirror images, ... on each side of a signal.
  Index padding() const noexcept { return state_->options.frames == StftFrames::centred ? n_fft() / 2 : 0; }
  // Frames of a signal of `length` samples; 0 where none fits.
  Index frames(Index length) const noexcept {
    const Index room = length + 2 * padding() - n_fft();
    return room < 0 ? 0 : room / hop() + 1;
  }

  // [n_fft]
  const double* window() const noexcept { return state_->window.data(); }
  // [2 F, n_fft]: the real parts' rows, then the imaginary parts'.
  const T* rows() const noexcept { return state_->rows.data(); }

 private:
  struct State {
    StftOptions options;
    std::vector<double> window;
    std::vector<T> rows;
  };

  static Index bins_of(const StftOptions& o) noexcept {
    return o.bins == StftBins::one_sided ? o.n_fft / 2 + 1 : o.n_fft;
  }

  static StftOptions checked(StftOptions o) {
    if (o.n_fft < 1) throw ConfigError(concat_text({"stft: n_fft ", o.n_fft, ", expected at least 1"}));
    if (!o.hop) o.hop = o.n_fft < 4 ? 1 : o.n_fft / 4;
    if (*o.hop < 1) throw ConfigError(concat_text({"stft: hop ", *o.hop, ", expected at least 1"}));
    if (!o.win_length) o.win_length = o.n_fft;
    if (*o.win_length < 1 || *o.win_length > o.n_fft)
      throw ConfigError(concat_text({"stft: win_length ", *o.win_length, ", expected 1 to n_fft = ", o.n_fft}));
    return o;
  }

  static std::vector<double> named_window(const StftOptions& o) {
    const Index length = *o.win_length;
    std::vector<double> window(static_cast<std::size_t>(length), 1.0);
    const bool symmetric = o.window == StftWindow::hann_symmetric || o.window == StftWindow::hamming_symmetric;
    const bool hamming = o.window == StftWindow::hamming || o.window == StftWindow::hamming_symmetric;
    const Index period = symmetric ? length - 1 : length;
    if (o.window == StftWindow::rectangular || length == 1) return window;  // torch: one sample is 1
    for (Index j = 0; j < length; ++j) {
      const double sine =
          std::sin(std::numbers::pi * static_cast<double>((std::min)(j, period - j)) / static_cast<double>(period));
      window[static_cast<std::size_t>(j)] = hamming ? 0.08 + 0.92 * sine * sine : sine * sine;
    }
    return window;
  }

  static std::vector<double> values_of(const StftOptions& o, const Tensor<T, 1>& window) {
    if (window.empty() || window.count() != *o.win_length) {
      throw ConfigError(concat_text({"stft: window of ", window.empty() ? Index{0} : window.count(),
                                     " values, expected win_length = ", *o.win_length}));
    }
    return {window.data(), window.data() + window.count()};
  }

  StftBasis(const StftOptions& options, const std::vector<double>& window) {
    auto state = std::make_shared<State>();
    state->options = checked(options);
    const StftOptions& o = state->options;
    const auto length = static_cast<std::size_t>(o.n_fft), bins = static_cast<std::size_t>(bins_of(o));
    state->window.assign(length, 0.0);
    std::copy(window.begin(), window.end(), state->window.begin() + (o.n_fft - *o.win_length) / 2);
    const double scale = o.scale == StftScale::none ? 1.0 : 1 / std::sqrt(static_cast<double>(o.n_fft));
    state->rows.resize(2 * bins * length);
    std::vector<double> turn(2 * length);
    kernels::stft_basis<T>(o.n_fft, bins_of(o), state->window.data(), scale, turn.data(), state->rows.data());
    state_ = std::move(state);
  }

  std::shared_ptr<const State> state_;
};

}  // namespace aulos::inline AULOS_ISA
