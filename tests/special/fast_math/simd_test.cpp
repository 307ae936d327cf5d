// Built with -ffast-math: what users with that flag get is as accurate, and -inf still masks.
#include <gtest/gtest.h>

#include <bit>
#include <vector>

#include "aulos/kernels/norm.hpp"
#include "aulos/kernels/softmax.hpp"
#include "aulos/simd/activations.hpp"
#include "aulos/simd/convert.hpp"

namespace {

namespace kernels = aulos::kernels;
namespace simd = aulos::simd;
using aulos::Index;

// Not through std::numeric_limits: the compiler may assume that no infinity exists.
float from(std::uint32_t bits) {
  volatile std::uint32_t hidden = bits;
  return std::bit_cast<float>(static_cast<std::uint32_t>(hidden));
}

TEST(FastMath, FunctionsKeepTheirAccuracy) {
  struct Row {
    double x, exp, tanh, log, erf, silu, gelu, gelu_tanh, softplus;
  };
  // Closed forms to 17 digits (mpmath).
  const Row rows[] = {
      {-40.0, 4.248354255291589e-18, -1.0, 0.0, -1.0, -1.6993417021166356e-16, 0.0, 0.0, 4.248354255291589e-18},
      {-9.25, 9.6111652061394694e-5, -0.99999998152510085, 0.0, -1.0, -0.00088894734337013403, 0.0, 0.0,
       9.610703363248456e-5},
      {-4.5, 0.011108996538242306, -0.99975321084802754, 0.0, -0.99999999980338396, -0.04944124183766931,
       -1.5289529061285272e-5, -5.1367374119586498e-6, 0.011047744848593816},
      {-2.0, 0.13533528323661269, -0.96402758007581688, 0.0, -0.99532226501895273, -0.23840584404423511,
       -0.045500263896358414, -0.045402305912224981, 0.1269280110429725},
      {-0.75, 0.47236655274101471, -0.63514895238728732, 0.0, -0.71115563365351513, -0.24061597561845527,
       -0.16997051428265115, -0.1700394448343797, 0.38687100611489994},
      {-0.0010000000474974513, 0.99900049978592501, -0.00099999971416420381, 0.0, -0.0011283788445643173,
       -0.00049975002374581026, -0.00049960108149691712, -0.00049960108149724622, 0.69264730553620325},
      {9.9999997473787516e-6, 1.0000100000497475, 9.9999997470454183e-6, -11.512925490232354, 1.1283791385526446e-5,
       5.0000248736881125e-6, 5.0000397679153997e-6, 5.0000397679153997e-6, 0.693152180572319},
      {0.5, 1.6487212707001281, 0.46211715726000976, -0.69314718055994531, 0.52049987781304654, 0.31122966560092728,
       0.34573123063700655, 0.34571400982514392, 0.97407698418010668},
      {0.625, 1.8682459574322224, 0.55459972234938229, -0.47000362924573555, 0.62324088218841797, 0.4070967904162839,
       0.45875904434456217, 0.45872114995760052, 1.0537006782765186},
      {1.0, 2.7182818284590452, 0.76159415595576489, 0.0, 0.84270079294971487, 0.73105857863000488, 0.84134474606854295,
       0.8411919906082767, 1.3132616875182228},
      {3.0, 20.085536923187668, 0.99505475368673045, 1.0986122886681097, 0.99997790950300141, 2.8577223804672997,
       2.9959503059051097, 2.996362607918227, 3.0485873515737421},
      {12.0, 162754.79141900392, 0.99999999992449731, 2.4849066497880003, 1.0, 11.999926269904773, 12.0, 12.0,
       12.000006144193478},
      {80.0, 5.5406223843935101e+34, 1.0, 4.3820266346738816, 1.0, 80.0, 80.0, 80.0, 80.0},
  };
  const auto near = [](float got, double want) { EXPECT_NEAR(static_cast<double>(got), want, 6e-7 * std::abs(want)); };
  for (const Row& r : rows) {
    const simd::Batch<float> x(static_cast<float>(r.x));
    SCOPED_TRACE(r.x);
    near(simd::exp(x).get(1), r.exp);
    near(simd::tanh(x).get(1), r.tanh);
    if (r.x > 0) near(simd::log(x).get(1), r.log);
    near(simd::erf(x).get(1), r.erf);
    near(simd::silu(x).get(1), r.silu);
    if (r.x > -4.7) near(simd::gelu(x).get(1), r.gelu);  // beyond, the promise is an absolute one
    if (r.x > -4.7) near(simd::gelu_tanh(x).get(1), r.gelu_tanh);
    near(simd::Softplus{}(x).get(1), r.softplus);
  }
}

TEST(FastMath, MinusInfinityMasksInSoftmax) {
  const float minus_infinity = from(0xFF800000u);
  for (const Index n : {1, 7, 16, 33, 100}) {
    std::vector<float> x(static_cast<std::size_t>(2 * n)), y(x.size()), lse(2);
    for (Index c = 0; c < n; ++c) {
      x[static_cast<std::size_t>(c)] = c % 2 == 0 ? 1.0f : minus_infinity;
      x[static_cast<std::size_t>(n + c)] = minus_infinity;
    }
    aulos::ThreadTeam team(1);
    kernels::softmax<float>(team.threads(), 2, n, {x.data(), n}, {y.data(), n});
    kernels::logsumexp<float>(team.threads(), 2, n, {x.data(), n}, lse.data());
    const float share = 1.0f / static_cast<float>((n + 1) / 2);
    for (Index c = 0; c < n; ++c) {
      EXPECT_NEAR(y[static_cast<std::size_t>(c)], c % 2 == 0 ? share : 0.0f, 1e-7f) << c << " of " << n;
      EXPECT_EQ(std::bit_cast<std::uint32_t>(y[static_cast<std::size_t>(n + c)]), 0u) << c << " of " << n;
    }
    EXPECT_EQ(std::bit_cast<std::uint32_t>(lse[1]), 0xFF800000u);
  }
}

TEST(FastMath, ALargeMeanCostsNothing) {
  std::vector<float> x(33), y(33);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 40000.0f + static_cast<float>(i % 4);
  x[32] = 40001.5f;
  aulos::ThreadTeam team(1);
  kernels::layer_norm<float>(team.threads(), {1, 32, 1e-5}, {.x = {x.data(), 32}}, {y.data(), 32});
  const float want[] = {-1.341635f, -0.447212f, 0.447212f, 1.341635f};
  for (std::size_t i = 0; i < 32; ++i) EXPECT_NEAR(y[i], want[i % 4], 3e-6f);
}

TEST(FastMath, ConversionsKeepInfinityAndNan) {
  for (const std::uint32_t bits : {0x7F800000u, 0xFF800000u, 0x7F800001u, 0xFF800001u, 0x7F7FFFFFu, 0x3F808000u}) {
    std::vector<float> x(35, from(bits));
    std::vector<aulos::bf16> b(x.size());
    std::vector<aulos::f16> h(x.size());
    simd::convert(x.data(), b.data(), Index(x.size()));
    simd::convert(x.data(), h.data(), Index(x.size()));
    const bool nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ((b[i].bits & 0x7FFFu) > 0x7F80u, nan) << std::hex << bits;
      EXPECT_EQ((h[i].bits & 0x7FFFu) > 0x7C00u, nan) << std::hex << bits;
      EXPECT_EQ(b[i].bits, b[0].bits);
      EXPECT_EQ(h[i].bits, h[0].bits);
    }
    if (!nan) {
      EXPECT_EQ(b[0].bits & 0x7FFFu, bits == 0x3F808000u ? 0x3F80u : 0x7F80u);
    }
  }
}

}  // namespace
