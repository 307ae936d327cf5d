#include "aulos/simd/dot_bf16.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

namespace simd = aulos::simd;
using aulos::Index;
using Batch = simd::Batch<float>;

constexpr float inf = std::numeric_limits<float>::infinity();

// The nearest of the two neighbours, ties to the even one.
float nearest_bf16(float x) {
  if (!std::isfinite(x)) return x;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x), below = bits & 0xffff0000u, rest = bits & 0xffffu;
  const bool up = rest > 0x8000u || (rest == 0x8000u && (below & 0x10000u) != 0);
  return std::bit_cast<float>(below + (up ? 0x10000u : 0u));
}

std::vector<float> numbers() {
  std::vector<float> x = {0.0f,    -0.0f,      1.0f, 1.00390625f, 1.01171875f, 1.00390637f, -1.01171875f,
                          3.4e38f, 3.3895e38f, inf,  -inf,        1.2e-38f,    -3.0f};
  std::uint32_t seed = 1;
  for (int i = 0; i < 4000; ++i) {
    seed = seed * 1664525u + 1013904223u;
    const float v = std::bit_cast<float>(seed);
    x.push_back(std::abs(v) >= 0x1p-126f && std::isfinite(v) ? v : 1.5f);
  }
  return x;
}

TEST(DotBf16, RoundsToNearestEven) {
  const auto x = numbers();
  for (std::size_t i = 0; i + static_cast<std::size_t>(simd::lanes<float>) <= x.size(); ++i) {
    const Batch y = simd::round_bf16(simd::load(x.data() + i));
    EXPECT_EQ(std::bit_cast<std::uint32_t>(y.get(0)), std::bit_cast<std::uint32_t>(nearest_bf16(x[i]))) << x[i];
  }
  EXPECT_EQ(simd::round_bf16(Batch(1e-40f)).get(0), nearest_bf16(1e-40f));
  for (const std::uint32_t bits : {0x7fc00000u, 0xffc00000u, 0x7f800001u, 0x7fffffffu, 0xffffffffu}) {
    EXPECT_TRUE(std::isnan(simd::round_bf16(Batch(std::bit_cast<float>(bits))).get(0)));
  }
}

TEST(DotBf16, RowsBecomePairs) {
  const auto x = numbers();
  for (Index count = 0; count <= 4 * simd::lanes<float> + 3; ++count) {
    for (Index offset = 0; offset < 3; ++offset) {
      std::vector<float> pairs(static_cast<std::size_t>((count + 1) / 2 + 1), -77.0f);
      simd::round_to_pairs(x.data() + offset, count, pairs.data());
      EXPECT_EQ(pairs.back(), -77.0f);
      for (Index i = 0; i < (count + 1) / 2 * 2; ++i) {
        const auto word = std::bit_cast<std::uint32_t>(pairs[static_cast<std::size_t>(i / 2)]);
        const float expected = i < count ? nearest_bf16(x[static_cast<std::size_t>(offset + i)]) : 0.0f;
        EXPECT_EQ(i % 2 == 0 ? word << 16 : word & 0xffff0000u, std::bit_cast<std::uint32_t>(expected));
      }
    }
  }
  const float odd[3] = {1, std::bit_cast<float>(0x7f800001u), -std::numeric_limits<float>::quiet_NaN()};
  float pairs[2];
  simd::round_to_pairs(odd, 3, pairs);
  EXPECT_TRUE(std::isnan(std::bit_cast<float>(std::bit_cast<std::uint32_t>(pairs[0]) & 0xffff0000u)));
  EXPECT_TRUE(std::isnan(std::bit_cast<float>(std::bit_cast<std::uint32_t>(pairs[1]) << 16)));
}

TEST(DotBf16, UpperProductFirst) {
  std::uint32_t seed = 3;
  const auto word = [&seed] {  // two numbers of magnitudes from 2^-8 to 2^8
    seed = seed * 1664525u + 1013904223u;
    return (seed & 0x87ff87ffu) | 0x3c003c00u;
  };
  const auto upper = [](std::uint32_t w) { return std::bit_cast<float>(w & 0xffff0000u); };
  const auto lower = [](std::uint32_t w) { return std::bit_cast<float>(w << 16); };
  const auto fused = [](float x, float y, float z) { return simd::has_fma ? std::fma(x, y, z) : x * y + z; };
  for (int i = 0; i < 5000; ++i) {
    const std::uint32_t a = word(), b = word();
    const float acc = upper(word());
    const Batch sum = simd::dot_bf16(Batch(acc), simd::to_bits(Batch(std::bit_cast<float>(a))),
                                     simd::to_bits(Batch(std::bit_cast<float>(b))));
    EXPECT_EQ(sum.get(simd::lanes<float> - 1), fused(lower(a), lower(b), fused(upper(a), upper(b), acc)));
    EXPECT_EQ(simd::upper_bf16(simd::to_bits(Batch(std::bit_cast<float>(a)))).get(0), upper(a));
    EXPECT_EQ(simd::lower_bf16(simd::to_bits(Batch(std::bit_cast<float>(a)))).get(0), lower(a));
  }
}

}  // namespace
