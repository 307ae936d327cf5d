// Gradients of the transforms of stft.hpp by finite differences, and what every op owes.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "aulos/ops/stft.hpp"
#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::PadMode;
using aulos::StftBasis;
using aulos::StftBins;
using aulos::StftFrames;
using aulos::StftOptions;
using aulos::StftScale;
using aulos::StftWindow;

constexpr auto inside = StftFrames::inside;
enum class Ops { all, without_inverse };

template <class T>
std::vector<AnyTensor<T>> run(Case<T>& c, const StftBasis<T>& basis, Index batch, Index length, Ops ops = Ops::all) {
  const Shape<4> spectra{batch, 2, basis.bins(), basis.frames(length)};
  const auto x = c.template in<2>(Shape<2>{batch, length}, 1);
  const auto y = c.template in<4>(spectra, 2);
  return results(stft(x, basis), stft_adjoint(y, basis, length),
                 ops == Ops::all ? istft(c.template in<4>(spectra, 3), basis, length) : Tensor<T, 2>{});
}

TEST(StftGradient, FiniteDifferences) {
  struct Sizes {
    StftOptions options;
    Index batch, length;
    Ops ops = Ops::all;
  };
  const auto window = StftWindow::hamming;
  for (const Sizes& s : std::vector<Sizes>{
           {{.n_fft = 8, .hop = 2}, 2, 20},
           {{.n_fft = 9, .hop = 3, .win_length = 7, .window = window, .scale = StftScale::orthonormal}, 2, 17},
           {{.n_fft = 8, .hop = 3, .window = window, .frames = inside, .bins = StftBins::two_sided}, 1, 15},
           {{.n_fft = 7, .hop = 2, .window = window, .padding = PadMode::constant}, 1, 4},
           {{.n_fft = 6, .hop = 2, .padding = PadMode::replicate, .bins = StftBins::two_sided}, 1, 7},
           {{.n_fft = 6, .hop = 1, .padding = PadMode::circular}, 1, 5},
           {{.n_fft = 1}, 1, 1},
           {{.n_fft = 2, .hop = 1, .window = StftWindow::rectangular}, 2, 5},
           {{.n_fft = 4, .hop = 9}, 1, 30, Ops::without_inverse}}) {  // samples that no frame holds
    SCOPED_TRACE(s.options.n_fft);
    const StftBasis<double> basis(s.options);
    expect_gradients([&](Case<double>& c) { return run(c, basis, s.batch, s.length, s.ops); });
  }
}

TEST(StftGradient, LayoutsAndThreads) {
  for (const StftFrames frames : {StftFrames::centred, inside}) {
    const StftBasis<float> basis({.n_fft = 12, .hop = 5, .window = StftWindow::hamming, .frames = frames});
    expect_layouts_agree<float>([&](Case<float>& c) { return run(c, basis, 3, 40); });
    const StftBasis<float> larger({.n_fft = 64, .hop = 16, .window = StftWindow::hamming, .frames = frames});
    expect_threads_agree<float>([&](Case<float>& c) { return run(c, larger, 2, 3000); });
  }
}

TEST(StftGradient, Records) {
  const StftBasis<float> basis({.n_fft = 8, .hop = 2});
  expect_records<float>("stft", {"x"}, [&](Case<float>& c) {
    return results(stft(c.in<2>(Shape<2>{2, 20}, 1), basis));
  });
  expect_records<float>("stft_adjoint", {"y"}, [&](Case<float>& c) {
    return results(stft_adjoint(c.in<4>(Shape<4>{2, 2, 5, 11}, 1), basis, 20));
  });
  expect_records<float>("istft", {"z"}, [&](Case<float>& c) {
    return results(istft(c.in<4>(Shape<4>{2, 2, 5, 11}, 1), basis));
  });
  Context context({.threads = 1});
  context.start_profile();
  stft(context.zeros<float>(Shape<2>{2, 20}), StftBasis<float>({.n_fft = 8, .hop = 2, .frames = inside}));
  for (const aulos::ProfileRecord& record : context.stop_profile()) {
    if (std::strcmp(record.operation, "stft") != 0) continue;
    EXPECT_EQ(record.flops, 4.0 * 2 * 5 * 8 * 7);
  }
}

}  // namespace
