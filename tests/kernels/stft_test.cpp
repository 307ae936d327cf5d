#include "aulos/kernels/stft.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "aulos/kernels/naive/stft.hpp"
#include "aulos/kernels/segment.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;
using kernels::StftShape;

template <class T>
class StftKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(StftKernel, Types);

// No window that a formula knows, nowhere zero.
std::vector<double> some_window(Index length) {
  std::vector<double> window;
  for (Index j = 0; j < length; ++j) window.push_back(1.25 + 0.5 * noise(9, static_cast<std::uint64_t>(j)));
  return window;
}

// One set of operands, at `shift` elements from an aligned place.
template <class T>
struct Problem {
  Problem(const StftShape& shape, Index shift, Index behind)
      : s(shape),
        window(some_window(shape.n_fft)),
        basis(static_cast<std::size_t>(2 * s.bins * s.n_fft)),
        x(Matrix<T>::random(1, s.batch, s.span() + behind, shift)),
        z(Matrix<T>::random(2, 1, s.batch * s.spectrum(), shift)) {
    std::vector<double> turn(static_cast<std::size_t>(2 * s.n_fft));
    kernels::stft_basis<T>(s.n_fft, s.bins, window.data(), scale, turn.data(), basis.data());
  }
  // kernels::stft, its transpose and its inverse, all samples of each.
  struct Results {
    Matrix<T> spectra, adjoint, inverse;
  };
  Results compute(int threads) const {
    aulos::ThreadTeam team(threads);
    const auto t = team.threads(kernels::stft_scratch<T>(s));
    Results r{Matrix<T>(1, s.batch * s.spectrum()), Matrix<T>(s.batch, s.span()), Matrix<T>(s.batch, s.span())};
    kernels::stft<T>(t, s, basis.data(), x.view(), r.spectra.row(0));
    std::vector<T> frames(static_cast<std::size_t>(s.batch * s.frames * s.n_fft));
    const kernels::ChunkTable table{s.span(), s.n_fft, s.frames, 0, s.hop, s.hop};
    const auto add = [&](Matrix<T>& to) {
      kernels::overlap_add<T>(t, s.batch, 1, table, {frames.data(), s.frames * s.n_fft, s.n_fft, 1}, nullptr,
                              {to.view().data, to.stride(), 1});
    };
    kernels::stft_frames<T>(t, s, basis.data(), z.row(0), frames.data());
    add(r.adjoint);
    Matrix<T> weighted(1, z.columns()), sums(s.batch, s.span());
    kernels::stft_one_sided<T>(t, s, 1 / (scale * scale * static_cast<double>(s.n_fft)), z.row(0), weighted.row(0));
    kernels::stft_frames<T>(t, s, basis.data(), weighted.row(0), frames.data());
    add(sums);
    kernels::stft_normalise<T>(t, s, window.data(), {0, s.span(), 0, s.span()}, std::as_const(sums).view(),
                               r.inverse.view());
    return r;
  }
  static constexpr double scale = 0.375;

  StftShape s;
  std::vector<double> window;
  std::vector<T> basis;
  Matrix<T> x, z;
};

template <class T>
void compare(const StftShape& s, Index shift, Index behind = 0) {
  SCOPED_TRACE(::testing::Message() << "B " << s.batch << " n_fft " << s.n_fft << " hop " << s.hop << " frames "
                                    << s.frames << " F " << s.bins << " shift " << shift);
  const Problem<T> p(s, shift, behind);
  const auto got = p.compute(1);
  Matrix<T> spectra(1, s.batch * s.spectrum()), adjoint(s.batch, s.span()), inverse(s.batch, s.span());
  kernels::naive::stft<T>(s, p.window.data(), p.scale, p.x.view(), spectra.row(0));
  kernels::naive::stft_adjoint<T>(s, p.window.data(), p.scale, p.z.row(0), adjoint.view());
  kernels::naive::istft<T>(s, p.window.data(), 1 / (p.scale * static_cast<double>(s.n_fft)), p.z.row(0),
                           inverse.view());
  // The basis is rounded once, and so is every product's term.
  const double tolerance = 4 + static_cast<double>(s.n_fft);
  expect_close(got.spectra, spectra, tolerance);
  expect_close(got.adjoint, adjoint, tolerance);
  expect_close(got.inverse, inverse, tolerance);
  for (const int threads : more_threads) {
    const auto other = p.compute(threads);
    expect_same_bits(other.spectra, got.spectra);
    expect_same_bits(other.adjoint, got.adjoint);
    expect_same_bits(other.inverse, got.inverse);
  }
}

TYPED_TEST(StftKernel, AgreesWithItsTwinAtEveryLength) {
  for (Index n_fft = 1; n_fft <= 2 * aulos::simd::lanes<TypeParam> + 3; ++n_fft) {
    for (const Index shift : {0, 1, 3}) compare<TypeParam>({2, n_fft, 1 + n_fft / 3, 5, n_fft / 2 + 1}, shift, 2);
    compare<TypeParam>({1, n_fft, 1 + n_fft / 2, 3, n_fft}, 1);  // all bins
  }
  for (Index frames = 1; frames <= 2 * aulos::simd::lanes<TypeParam> + 3; ++frames)
    compare<TypeParam>({1, 12, 3, frames, 7}, frames % 4, frames % 3);
}

TYPED_TEST(StftKernel, HopsOfAllKinds) {
  for (const Index hop : {1, 2, 7, 8, 16, 64, 512, 1024}) compare<TypeParam>({2, 24, hop, 4, 13}, 0, 1);
  // A gap between frames is 0 / 0 in the inverse, in both: NaN is compared as well.
}

TYPED_TEST(StftKernel, ManyPieces) { compare<TypeParam>({3, 60, 15, 301, 31}, 1, 5); }

TYPED_TEST(StftKernel, NothingToDo) {
  aulos::Threads serial = aulos::Threads::serial();
  const StftShape none{0, 8, 2, 3, 5};
  kernels::stft<TypeParam>(serial, none, nullptr, {nullptr, 0}, nullptr);
  kernels::stft_frames<TypeParam>(serial, none, nullptr, nullptr, nullptr);
  kernels::stft_one_sided<TypeParam>(serial, none, 1, nullptr, nullptr);
  kernels::stft_normalise<TypeParam>(serial, none, nullptr, {0, 3, 0, 3}, {nullptr, 0}, {nullptr, 0});
  EXPECT_EQ((StftShape{1, 8, 2, 0, 5}).span(), 0);
}

// <S x, z> = <x, S^T z>
TYPED_TEST(StftKernel, TheTransposeIsExact) {
  for (const StftShape& s : {StftShape{2, 16, 5, 9, 9}, StftShape{1, 15, 4, 6, 15}, StftShape{1, 8, 11, 4, 5}}) {
    const Problem<TypeParam> p(s, 0, 0);
    const auto got = p.compute(1);
    double left = 0, right = 0, size = 0;
    for (Index i = 0; i < got.spectra.columns(); ++i) {
      const double term = static_cast<double>(got.spectra.at(0, i)) * static_cast<double>(p.z.at(0, i));
      left += term;
      size += std::fabs(term);
    }
    for (Index b = 0; b < s.batch; ++b) {
      for (Index i = 0; i < s.span(); ++i)
        right += static_cast<double>(p.x.at(b, i)) * static_cast<double>(got.adjoint.at(b, i));
    }
    EXPECT_NEAR(left, right, 16 * size * static_cast<double>(std::numeric_limits<TypeParam>::epsilon()));
    EXPECT_GT(std::fabs(left), 1e-3 * size);
  }
}

// Bins of a quarter and of half of the sampling rate, bin 0: no rounding at all.
TYPED_TEST(StftKernel, QuartersOfATurnAreExact) {
  using T = TypeParam;
  const std::vector<double> window(8, 1.0);
  std::vector<double> turn(16);
  std::vector<T> basis(2 * 5 * 8);
  kernels::stft_basis<T>(8, 5, window.data(), 1, turn.data(), basis.data());
  const T cosine[] = {1, 0, -1, 0}, sine[] = {0, -1, 0, 1};
  for (std::size_t j = 0; j < 8; ++j) {
    EXPECT_EQ(basis[0 * 8 + j], T(1));
    EXPECT_EQ(basis[5 * 8 + j], T(0));
    EXPECT_EQ(basis[2 * 8 + j], cosine[j % 4]);
    EXPECT_EQ(basis[7 * 8 + j], sine[j % 4]);
    EXPECT_EQ(basis[4 * 8 + j], j % 2 == 0 ? T(1) : T(-1));
    EXPECT_EQ(basis[9 * 8 + j], T(0));
  }
}

// NaN and infinity reach the frames that hold them, whatever the window is there, and no other.
TYPED_TEST(StftKernel, NaNStaysInItsFrames) {
  using T = TypeParam;
  const StftShape s{1, 8, 4, 5, 5};
  Problem<T> p(s, 0, 0);
  p.x.at(0, 9) = std::numeric_limits<T>::quiet_NaN();                  // frames 1 and 2
  p.z.at(0, 3 * s.frames + 4) = std::numeric_limits<T>::quiet_NaN();   // frame 4: samples 16 to 23
  p.z.at(0, s.bins * s.frames) = std::numeric_limits<T>::quiet_NaN();  // frame 0's imaginary part of bin 0
  const auto got = p.compute(1);
  for (Index i = 0; i < s.spectrum(); ++i)
    EXPECT_EQ(std::isnan(got.spectra.at(0, i)), i % s.frames == 1 || i % s.frames == 2) << i;
  for (Index i = 0; i < s.span(); ++i) {
    EXPECT_EQ(std::isnan(got.adjoint.at(0, i)), i >= 16 || i < 8) << i;
    EXPECT_EQ(std::isnan(got.inverse.at(0, i)), i >= 16) << i;  // which the inverse does not read
  }
}

// A spectrum in place, and samples put into the middle of zeros.
TYPED_TEST(StftKernel, WeightsAndPlaces) {
  using T = TypeParam;
  const StftShape s{2, 6, 3, 3, 4};
  std::vector<T> z(static_cast<std::size_t>(s.batch * s.spectrum()), T(1));
  kernels::stft_one_sided<T>(aulos::Threads::serial(), s, 0.25, z.data(), z.data());
  const T want[] = {0.25, 0.5, 0.5, 0.25, 0, 0.5, 0.5, 0};
  for (std::size_t i = 0; i < z.size(); ++i) EXPECT_EQ(z[i], want[i / 3 % 8]) << i;

  const StftShape one{1, 600, 600, 1, 1};
  const std::vector<double> window(600, 2.0);
  std::vector<T> x(500, T(8)), y(700, T(-1));
  kernels::stft_normalise<T>(aulos::Threads::serial(), one, window.data(), {50, 500, 90, 700}, {x.data(), 500},
                             {y.data(), 700});
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], i >= 90 && i < 590 ? T(2) : T(0)) << i;
}

}  // namespace
