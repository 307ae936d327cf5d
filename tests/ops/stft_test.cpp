#include "aulos/ops/stft.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <vector>

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
constexpr auto orthonormal = StftScale::orthonormal;
constexpr auto two_sided = StftBins::two_sided;

// Signals and weights as the PyTorch script has them.
double signal(Index i) { return static_cast<double>((i * 37 + 11) % 23 - 11) / 8; }
double weight(Index i) { return static_cast<double>((i * 29 + 5) % 17 - 8) / 4; }

template <class T, int Rank>
double weighted_sum(const Tensor<T, Rank>& x) {
  double sum = 0;
  for_each_element(x.any(), [&](T v, Index i) { sum += static_cast<double>(v) * weight(i); });
  return sum;
}

// What torch 1.13 gives, in double: <w, stft(x)>, <w, gradient of x>; for istft of the weights as spectra the length,
// <w, istft>, <w in reversed order of frames, gradient>, and <w, istft(length=L)>. No length: torch refuses.
struct TorchCase {
  StftOptions options;
  Index batch, length;
  Shape<4> spectra;
  double forward, gradient;
  Index inverse_length;
  double inverse, inverse_gradient, inverse_of_length;
};

const std::vector<TorchCase>& torch_cases() {
  static const std::vector<TorchCase> cases{
      {{.n_fft = 8, .hop = 2},
       2,
       20,
       {2, 2, 5, 11},
       -39.63349846984602,
       -24.91470620756959,
       20,
       -2.5557791700434844,
       2.232129477062167,
       -2.5557791700434844},
      {{.n_fft = 8,
        .hop = 3,
        .win_length = 6,
        .window = StftWindow::hamming,
        .padding = PadMode::constant,
        .scale = orthonormal},
       2,
       21,
       {2, 2, 5, 8},
       7.549050616940824,
       16.03973404458805,
       21,
       35.455968197768826,
       28.70482855132704,
       35.455968197768826},
      {{.n_fft = 9, .hop = 2, .window = StftWindow::hann_symmetric},
       1,
       17,
       {1, 2, 5, 9},
       -2.719482269727279,
       16.53501268081457,
       17,
       0.4789880880253359,
       2.9183771266402907,
       0.4789880880253359},
      {{.n_fft = 9,
        .hop = 4,
        .win_length = 7,
        .window = StftWindow::rectangular,
        .frames = inside,
        .scale = orthonormal},
       2,
       25,
       {2, 2, 5, 5},
       -10.087057408224915,
       19.48124931900039,
       0,
       0,
       0,
       0},
      {{.n_fft = 8, .hop = 3, .bins = two_sided},
       2,
       20,
       {2, 2, 8, 7},
       -6.547462905421655,
       11.663089587941181,
       18,
       -1.608531812655185,
       1.0383826593761167,
       1.4151085550641072},
      {{.n_fft = 7,
        .hop = 2,
        .win_length = 5,
        .window = StftWindow::hamming_symmetric,
        .padding = PadMode::circular,
        .scale = orthonormal,
        .bins = two_sided},
       1,
       16,
       {1, 2, 7, 8},
       5.965213923758066,
       1.6190052036780616,
       15,
       6.8931415640051625,
       8.860553058665904,
       8.343381166354805},
      {{.n_fft = 16, .hop = 4, .padding = PadMode::replicate, .scale = orthonormal},
       3,
       40,
       {3, 2, 9, 11},
       -3.683065606545166,
       11.260536161870915,
       40,
       10.96324492753004,
       16.784806107241074,
       10.96324492753004},
      {{.n_fft = 6, .hop = 6, .window = StftWindow::rectangular, .frames = inside},
       1,
       24,
       {1, 2, 4, 4},
       10.400420828766464,
       9.533332562299424,
       24,
       2.6986108540998086,
       -6.6741311091577105,
       2.6986108540998086},
  };
  return cases;
}

// The gradient that y = f(x) gives to x where the loss is <w, y>.
template <int Rank, class F>
AnyTensor<double> gradient_of(Context& context, Tensor<double, Rank> x, const F& f) {
  GradTape tape(context);
  tape.watch(x);
  const auto y = f(x);
  const aulos::Seed<double> seed{y.any(), make<double>(context, y.shape(), Layout::dense, weight).any()};
  tape.backward(std::span<const aulos::Seed<double>>(&seed, 1));
  return tape.gradient(x.any());
}

TEST(Stft, AgreesWithPyTorch) {
  for (const TorchCase& want : torch_cases()) {
    SCOPED_TRACE(::testing::Message() << "n_fft " << want.options.n_fft << " hop " << *want.options.hop);
    const StftBasis<double> basis(want.options);
    Context context({.threads = 1});
    const auto x = make<double>(context, Shape<2>{want.batch, want.length}, Layout::dense, signal);
    const auto w = make<double>(context, want.spectra, Layout::dense, weight);
    ASSERT_EQ(stft(x, basis).shape(), want.spectra);
    EXPECT_NEAR(weighted_sum(stft(x, basis)), want.forward, 1e-12);
    EXPECT_NEAR(weighted_sum(stft_adjoint(w, basis, want.length)), want.gradient, 1e-12);
    const auto gx = gradient_of(context, x, [&](const auto& of) { return stft(of, basis); });
    EXPECT_NEAR(weighted_sum(Tensor<double, 2>(gx)), want.gradient, 1e-12);

    if (want.inverse_length == 0) continue;
    ASSERT_EQ(istft(w, basis).shape(), (Shape<2>{want.batch, want.inverse_length}));
    EXPECT_NEAR(weighted_sum(istft(w, basis)), want.inverse, 1e-12);
    EXPECT_NEAR(weighted_sum(istft(w, basis, want.length)), want.inverse_of_length, 1e-12);
    const auto gw = gradient_of(context, w, [&](const auto& of) { return istft(of, basis); });
    const Index frames = want.spectra[3];
    double sum = 0;
    for_each_element(gw, [&](double g, Index i) { sum += g * weight(i / frames * frames + frames - 1 - i % frames); });
    EXPECT_NEAR(sum, want.inverse_gradient, 1e-12);
  }
}

TEST(Stft, GivesTheElementsOfPyTorch) {
  Context context;
  Case<float> c(context);
  const auto y = stft(c.at<2>(Shape<2>{2, 20}, signal), StftBasis<float>({.n_fft = 8, .hop = 2}));
  const double first[] = {-1.441941738242, 1.254441738242, -0.625, -1.254441738242, 2.691941738242, 0, 0, 0, 0, 0};
  const double second[] = {0.453965997956,  -0.735215997956, 0, 1.735215997956, -2.453965997956, 0, 0.898667478528,
                           -0.679917478528, -0.351332521472, 0};
  for (int part = 0; part < 2; ++part) {
    for (int f = 0; f < 5; ++f) {
      EXPECT_NEAR(y(0, part, f, 0), first[5 * part + f], 2e-6);
      EXPECT_NEAR(y(1, part, f, 3), second[5 * part + f], 2e-6);
    }
  }
}

TEST(Stft, ImpulsesAndCosines) {
  Context context;
  // An impulse at the centre of a frame has one flat spectrum there; with this hop no other frame sees it.
  auto impulse = context.zeros<double>(Shape<1>{33});
  impulse.mutable_data()[16] = 1;
  const auto flat = stft(impulse, StftBasis<double>({.n_fft = 8, .hop = 8, .window = StftWindow::rectangular}));
  ASSERT_EQ(flat.shape(), (Shape<3>{2, 5, 5}));
  for (int f = 0; f < 5; ++f) {
    for (int t = 0; t < 5; ++t) {
      EXPECT_EQ(flat(0, f, t), t == 2 ? (f % 2 == 0 ? 1 : -1) : 0);  // at sample 4 of 8: half a turn for each bin
      EXPECT_EQ(flat(1, f, t), 0);
    }
  }
  // A cosine at bin 3 of 16: half of the window's sum there, a quarter beside it (Hann), nothing elsewhere.
  auto wave = context.zeros<double>(Shape<1>{64});
  for (Index i = 0; i < 64; ++i)
    wave.mutable_data()[i] = std::cos(2 * 3.14159265358979323846 * 3 * static_cast<double>(i) / 16);
  const auto line = stft(wave, StftBasis<double>({.n_fft = 16, .hop = 16, .frames = inside}));
  for (int f = 0; f < 9; ++f) {
    for (int t = 0; t < 4; ++t) {
      EXPECT_NEAR(line(0, f, t), f == 3 ? 4 : f == 2 || f == 4 ? -2 : 0, 1e-13);
      EXPECT_NEAR(line(1, f, t), 0, 1e-13);
    }
  }
}

TEST(Stft, InverseOfItself) {
  for (const StftOptions& options : std::vector<StftOptions>{
           {.n_fft = 16, .hop = 4},
           {.n_fft = 15, .hop = 4, .win_length = 12, .window = StftWindow::hamming, .scale = orthonormal},
           {.n_fft = 16, .hop = 5, .padding = PadMode::constant, .bins = two_sided},
           {.n_fft = 12, .hop = 12, .window = StftWindow::rectangular},
           {.n_fft = 1, .hop = 1}}) {
    SCOPED_TRACE(options.n_fft);
    const StftBasis<double> basis(options);
    for (const Index length : {17, 40, 61}) {
      Context context({.threads = 1});
      Case<double> c(context);
      const auto x = c.in<3>(Shape<3>{2, 3, length}, 1);
      const auto y = stft(x, basis);
      EXPECT_EQ(y.shape(), (Shape<5>{2, 3, 2, basis.bins(), basis.frames(length)}));
      // What no frame holds is lost: the samples behind the last one's end.
      const Index reached = (basis.frames(length) - 1) * basis.hop() + options.n_fft - basis.padding();
      const auto back = istft(y, basis, length);
      ASSERT_EQ(back.shape(), x.shape());
      for (int b = 0; b < 2; ++b) {
        for (int s = 0; s < 3; ++s) {
          for (Index i = 0; i < length; ++i) EXPECT_NEAR(back(b, s, i), i < reached ? x(b, s, i) : 0, 1e-13);
        }
      }
    }
  }
}

TEST(Stft, AdjointIsTheTranspose) {
  for (const TorchCase& each : torch_cases()) {
    const StftBasis<double> basis(each.options);
    Context context({.threads = 1});
    Case<double> c(context);
    const auto x = c.in<2>(Shape<2>{each.batch, each.length}, 1);
    const auto y = c.in<4>(each.spectra, 2);
    const auto dot = [](const auto& a, const auto& b) {
      double sum = 0;
      for (Index i = 0; i < a.count(); ++i) sum += a.data()[i] * b.data()[i];
      return sum;
    };
    const double size = std::sqrt(dot(stft(x, basis), stft(x, basis)) * dot(y, y));
    EXPECT_NEAR(dot(stft(x, basis), y), dot(x, stft_adjoint(y, basis, each.length)), 1e-12 * size);
  }
}

TEST(Stft, WindowOfOnesOwn) {
  Context context({.threads = 1});
  Case<double> c(context);
  const StftBasis<double> named({.n_fft = 8, .hop = 2, .win_length = 5});
  const StftBasis<double> own({.n_fft = 8, .hop = 2, .win_length = 5}, context.from(Shape<1>{5}, named.window() + 1));
  const auto x = c.in<2>(Shape<2>{2, 20}, 1);
  EXPECT_EQ(values(stft(x, own)), values(stft(x, named)));
}

// One signal, one frame, no signal at all.
TEST(Stft, EdgeSizes) {
  Context context;
  const StftBasis<float> basis({.n_fft = 8, .hop = 2});
  EXPECT_EQ(stft(context.zeros<float>(Shape<2>{0, 20}), basis).shape(), (Shape<4>{0, 2, 5, 11}));
  EXPECT_EQ(stft_adjoint(context.zeros<float>(Shape<4>{0, 2, 5, 11}), basis, 20).shape(), (Shape<2>{0, 20}));
  EXPECT_EQ(istft(context.zeros<float>(Shape<4>{0, 2, 5, 11}), basis).shape(), (Shape<2>{0, 20}));
  const StftBasis<float> frame({.n_fft = 8, .window = StftWindow::rectangular, .frames = inside});
  const auto one = stft(context.full<float>(Shape<1>{8}, 1), frame);
  EXPECT_EQ(one.shape(), (Shape<3>{2, 5, 1}));
  EXPECT_EQ(one(0, 0, 0), 8);
  expect_values(istft(one, frame), std::vector<double>(8, 1), 1e-6);
  // Zeros behind what the frames reach.
  std::vector<double> longer(11, 0);
  std::fill_n(longer.begin(), 8, 1);
  expect_values(istft(one, frame, 11), longer, 1e-6);
  expect_values(istft(one, frame, 3), {1, 1, 1}, 1e-6);
}

TEST(Stft, NaNPassesThrough) {
  Context context;
  const StftBasis<float> basis({.n_fft = 8, .hop = 4, .frames = inside});
  auto x = context.zeros<float>(Shape<1>{24});
  x.mutable_data()[9] = std::numeric_limits<float>::quiet_NaN();
  const auto y = stft(x, basis);
  for (int f = 0; f < 5; ++f) {
    for (int t = 0; t < 5; ++t) EXPECT_EQ(std::isnan(y(0, f, t)), t == 1 || t == 2);
  }
}

TEST(Stft, SaysWhatIsWrong) {
  const StftBasis<float> basis({.n_fft = 8, .hop = 2});
  const StftBasis<float> zeros({.n_fft = 8, .hop = 2, .padding = PadMode::constant});
  const StftBasis<float> whole({.n_fft = 8, .hop = 2, .frames = inside});
  const StftBasis<float> apart({.n_fft = 8, .hop = 8});
  const auto x = [](Context& c, Index length) { return c.zeros<float>(Shape<2>{1, length}); };
  const auto z = [](Context& c, Index bins, Index frames) { return c.zeros<float>(Shape<4>{1, 2, bins, frames}); };
  expect_errors({
      {"no basis", [&](Context& c) { stft(x(c, 20), StftBasis<float>()); }, {"stft: the basis is absent"}},
      {"reflection",
       [&](Context& c) { stft(x(c, 4), basis); },
       {"stft: a signal of 4 samples", "more than the n_fft / 2 = 4"}},
      {"shorter than a frame",
       [&](Context& c) { stft(x(c, 7), whole); },
       {"stft: a signal of 7 samples, 7 with padding, expected at least n_fft = 8"}},
      {"nothing",
       [&](Context& c) { stft(x(c, 0), StftBasis<float>({.n_fft = 9, .padding = PadMode::constant})); },
       {"stft: a signal of 0 samples, 8 with padding, expected at least n_fft = 9"}},
      {"no x", [&](Context&) { stft(Tensor<float, 2>(), basis); }, {"stft: x is empty"}},
      {"bins", [&](Context& c) { istft(z(c, 8, 3), basis); }, {"istft: z [1, 2, 8, 3]", "expected [.., 2, 5, 1 or"}},
      {"parts",
       [&](Context& c) {
         istft(c.zeros<float>(Shape<3>{1, 5, 3}), basis);
       },
       {"istft: z [1, 5, 3]", "expected [.., 2, 5, 1 or"}},
      {"no frames", [&](Context& c) { istft(z(c, 5, 0), basis); }, {"istft: z [1, 2, 5, 0]", "1 or more frames"}},
      {"no z", [&](Context&) { istft(Tensor<float, 4>(), basis); }, {"istft: z is empty"}},
      {"length", [&](Context& c) { istft(z(c, 5, 3), basis, -1); }, {"istft: z [1, 2, 5, 3], length -1, expected"}},
      {"one frame has only padding", [&](Context& c) { istft(z(c, 5, 1), basis); }, {"length 0, expected"}},
      {"first sample of a Hann window",
       [&](Context& c) { istft(z(c, 5, 3), whole); },
       {"istft: z [1, 2, 5, 3]: the squared windows add up to nothing at sample 0", "(hop 2 and window [8])"}},
      {"frames apart", [&](Context& c) { istft(z(c, 5, 3), apart); }, {"add up to nothing at sample 4"}},
      {"frames for the length",
       [&](Context& c) { stft_adjoint(z(c, 5, 3), basis, 20); },
       {"stft_adjoint: y [1, 2, 5, 3] for signals of 20 samples, expected 11 frames"}},
      {"adjoint's padding", [&](Context& c) { stft_adjoint(z(c, 5, 3), basis, 4); }, {"stft_adjoint: a signal of 4"}},
      {"no y", [&](Context&) { stft_adjoint(Tensor<float, 4>(), basis, 20); }, {"stft_adjoint: y is empty"}},
  });
  Context context;
  EXPECT_EQ(stft(x(context, 1), zeros).shape(), (Shape<4>{1, 2, 5, 1}));  // zeros may surround it
  // The check needs no values: a plan meets it too.
  Context dry{Context::Dry{}};
  EXPECT_THROW(istft(z(dry, 5, 3), whole), aulos::ShapeError);
}

}  // namespace
