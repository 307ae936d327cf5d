#include "aulos/ops/stft_basis.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::StftBasis;
using aulos::StftBins;
using aulos::StftFrames;
using aulos::StftOptions;
using aulos::StftScale;
using aulos::StftWindow;

void expect_window(const aulos::StftOptions& options, const std::vector<double>& want) {
  const StftBasis<float> basis(options);
  ASSERT_EQ(static_cast<Index>(want.size()), basis.n_fft());
  for (std::size_t j = 0; j < want.size(); ++j) EXPECT_NEAR(basis.window()[j], want[j], 1e-15) << j;
}

TEST(StftBasis, WindowsAreThoseOfPyTorch) {
  expect_window({.n_fft = 5},  // torch.hann_window(5)
                {0, 0.3454915028125263, 0.9045084971874737, 0.9045084971874737, 0.3454915028125263});
  expect_window({.n_fft = 5, .window = StftWindow::hann_symmetric}, {0, 0.5, 1, 0.5, 0});
  expect_window({.n_fft = 4, .window = StftWindow::hamming}, {0.08, 0.54, 1, 0.54});
  expect_window({.n_fft = 5, .window = StftWindow::hamming_symmetric}, {0.08, 0.54, 1, 0.54, 0.08});
  expect_window({.n_fft = 3, .window = StftWindow::rectangular}, {1, 1, 1});
  for (const StftWindow window : {StftWindow::hann, StftWindow::hann_symmetric, StftWindow::hamming_symmetric})
    expect_window({.n_fft = 1, .window = window}, {1});
  // Shorter than the frame: in the middle, the longer half of the zeros behind.
  expect_window({.n_fft = 7, .win_length = 4}, {0, 0, 0.5, 1, 0.5, 0, 0});
  Context context;
  const StftBasis<float> own({.n_fft = 6, .win_length = 3}, of<float>(context, Shape<1>{3}, {1, -2, 4}));
  EXPECT_EQ(std::vector<double>(own.window(), own.window() + 6), (std::vector<double>{0, 1, -2, 4, 0, 0}));
}

TEST(StftBasis, RowsAreWindowedCosinesAndSines) {
  for (const StftBins bins : {StftBins::one_sided, StftBins::two_sided}) {
    const StftBasis<double> basis({.n_fft = 10, .scale = StftScale::orthonormal, .bins = bins});
    EXPECT_EQ(basis.bins(), bins == StftBins::one_sided ? 6 : 10);
    for (Index f = 0; f < basis.bins(); ++f) {
      for (Index j = 0; j < 10; ++j) {
        const double angle = 2 * 3.14159265358979323846 * static_cast<double>(f * j) / 10;
        const double window = 0.5 - 0.5 * std::cos(2 * 3.14159265358979323846 * static_cast<double>(j) / 10);
        EXPECT_NEAR(basis.rows()[f * 10 + j], window * std::cos(angle) / std::sqrt(10), 1e-15);
        EXPECT_NEAR(basis.rows()[(basis.bins() + f) * 10 + j], -window * std::sin(angle) / std::sqrt(10), 1e-15);
      }
    }
  }
}

TEST(StftBasis, DefaultsAndCounts) {
  const StftBasis<float> basis({.n_fft = 4096});
  EXPECT_EQ(basis.hop(), 1024);
  EXPECT_EQ(*basis.options().win_length, 4096);
  EXPECT_EQ(basis.bins(), 2049);
  EXPECT_EQ(basis.padding(), 2048);
  EXPECT_EQ(basis.frames(343980), 336);  // Demucs' segment
  EXPECT_EQ(StftBasis<float>({.n_fft = 3}).hop(), 1);
  const StftBasis<float> inside({.n_fft = 16, .hop = 5, .frames = StftFrames::inside});
  EXPECT_EQ(inside.padding(), 0);
  EXPECT_EQ(inside.frames(15), 0);
  EXPECT_EQ(inside.frames(16), 1);
  EXPECT_EQ(inside.frames(20), 1);
  EXPECT_EQ(inside.frames(21), 2);
}

TEST(StftBasis, CopiesShareWhatNobodyWrites) {
  EXPECT_TRUE(StftBasis<float>().empty());
  const StftBasis<float> basis({.n_fft = 8}), copy = basis;
  EXPECT_FALSE(copy.empty());
  EXPECT_EQ(copy.rows(), basis.rows());
}

TEST(StftBasis, SaysWhatIsWrong) {
  expect_errors<aulos::ConfigError>({
      {"n_fft", [](Context&) { StftBasis<float>(StftOptions{}); }, {"stft: n_fft 0, expected at least 1"}},
      {"hop", [](Context&) { StftBasis<float>({.n_fft = 8, .hop = 0}); }, {"stft: hop 0, expected at least 1"}},
      {"negative", [](Context&) { StftBasis<float>({.n_fft = 8, .hop = -2}); }, {"stft: hop -2"}},
      {"long window",
       [](Context&) { StftBasis<float>({.n_fft = 8, .win_length = 9}); },
       {"stft: win_length 9, expected 1 to n_fft = 8"}},
      {"no window", [](Context&) { StftBasis<float>({.n_fft = 8, .win_length = 0}); }, {"stft: win_length 0"}},
      {"values",
       [](Context& c) { StftBasis<float>({.n_fft = 8, .win_length = 6}, c.zeros<float>(Shape<1>{8})); },
       {"stft: window of 8 values, expected win_length = 6"}},
      {"no values", [](Context&) { StftBasis<float>({.n_fft = 8}, Tensor<float, 1>()); }, {"stft: window of 0 values"}},
  });
}

}  // namespace
