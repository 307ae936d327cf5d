#include "aulos/conditioning/timestep_conventions.hpp"

#include "aulos/ops/sinusoid.hpp"
#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using namespace aulos::conditioning;
using aulos::sinusoid;
using aulos::SinusoidOptions;

constexpr double t = 3.7;

std::vector<double> waves_of(const SinusoidOptions& options) {
  Context context({.threads = 1});
  return naive::values(sinusoid(context.from(Shape<1>{1}, &t), options));
}

// What each convention says of t = 3.7 in width 6: h = 3.
TEST(TimestepConventions, OrdersAndFrequencies) {
  const double f = std::pow(10000.0, -1.0 / 3), g = std::pow(10000.0, -2.0 / 3);  // 10000^(-i / h)
  const double half = 0.01, whole = 0.0001;                                       // 10000^(-i / (h - 1))
  const auto near = [](const SinusoidOptions& options, const std::vector<double>& want) {
    const auto got = waves_of(options);
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-12) << i;
  };
  const auto c = [](double frequency) { return std::cos(t * frequency); };
  const auto s = [](double frequency) { return std::sin(t * frequency); };
  near(glide_sinusoid(6), {c(1), c(f), c(g), s(1), s(f), s(g)});
  near(wan_sinusoid(6), {c(1), c(f), c(g), s(1), s(f), s(g)});
  near(ddpm_sinusoid(6), {s(1), s(half), s(whole), c(1), c(half), c(whole)});
  near(policy_sinusoid(6), {c(1), c(half), c(whole), s(1), s(half), s(whole)});
  near(interleaved_sinusoid(6), {s(1), c(1), s(f), c(f), s(g), c(g)});
  near(position_sinusoid(6), {s(1), s(f), s(g), c(1), c(f), c(g)});
}

// Wan computes in double: float times of 999 give the float nearest to the wave, which float arithmetic misses.
TEST(TimestepConventions, WanIsRoundedOnce) {
  Context context({.threads = 1});
  const float time = 999;
  const auto at = context.from(Shape<1>{1}, &time);
  const auto wan = naive::values(sinusoid(at, wan_sinusoid(64))),
             glide = naive::values(sinusoid(at, glide_sinusoid(64)));
  double worst = 0;
  for (Index i = 0; i < 32; ++i) {
    const double angle = 999 * std::pow(10000.0, -static_cast<double>(i) / 32);
    const auto k = static_cast<std::size_t>(i);
    EXPECT_NEAR(static_cast<double>(wan[k]), std::cos(angle), 6e-8);
    EXPECT_NEAR(static_cast<double>(wan[32 + k]), std::sin(angle), 6e-8);
    worst = std::max(worst, std::fabs(static_cast<double>(glide[k]) - std::cos(angle)));
  }
  EXPECT_GT(worst, 1e-6);
}

// Cosines first is sines first with the halves exchanged, to the bit; t = 0 gives ones and zeros.
TEST(TimestepConventions, Identities) {
  auto exchanged = waves_of({.width = 6, .order = aulos::SinusoidOrder::sin_first});
  std::rotate(exchanged.begin(), exchanged.begin() + 3, exchanged.end());
  EXPECT_EQ(waves_of(glide_sinusoid(6)), exchanged);
  Context context({.threads = 1});
  EXPECT_EQ(naive::values(sinusoid(context.zeros<float>(Shape<1>{1}), glide_sinusoid(4))),
            (std::vector<float>{1, 1, 0, 0}));
  static_assert(glide_sinusoid().width == 256 && glide_sinusoid() == SinusoidOptions{});
}

}  // namespace
