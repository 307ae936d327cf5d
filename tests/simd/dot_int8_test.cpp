#include "aulos/simd/dot_int8.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

namespace simd = aulos::simd;
using aulos::Index;
using Batch = simd::Batch<float>;

simd::Words words(std::uint32_t value) { return simd::to_bits(Batch(std::bit_cast<float>(value))); }
std::uint32_t first(simd::Words x) { return std::bit_cast<std::uint32_t>(simd::from_bits<Batch>(x).get(0)); }

std::uint32_t sum_of_products(std::uint32_t acc, std::uint32_t a, std::uint32_t b) {
  for (int byte = 0; byte < 32; byte += 8) {
    acc += static_cast<std::uint32_t>(static_cast<std::uint8_t>(a >> byte) * static_cast<std::int8_t>(b >> byte));
  }
  return acc;
}

TEST(DotInt8, IsExactModulo32Bits) {
  for (const std::uint32_t a : {0u, 0xffffffffu, 0x80808080u, 0x01020304u}) {  // nothing saturates
    for (const std::uint32_t b : {0u, 0xffffffffu, 0x80808080u, 0x7f7f7f7fu, 0x7f807f80u}) {
      for (const std::uint32_t acc : {0u, 0x7fffffffu, 0x80000000u}) {
        EXPECT_EQ(first(simd::dot_int8(words(acc), words(a), words(b))), sum_of_products(acc, a, b)) << a << ' ' << b;
      }
    }
  }
  std::uint32_t seed = 5;
  const auto next = [&seed] {
    seed = seed * 1664525u + 1013904223u;
    return (seed ^ seed >> 11) & 0xffbfffffu;  // no signalling NaN on its way through a float
  };
  for (int i = 0; i < 3000; ++i) {
    const std::uint32_t acc = next(), a = next(), b = next();
    EXPECT_EQ(first(simd::dot_int8(words(acc), words(a), words(b))), sum_of_products(acc, a, b));
  }
}

TEST(DotInt8, SignedIntegersToFloat) {
  for (const std::int32_t x : {0, 1, -1, 16777217, -16777219, 2147483647, -2147483647 - 1}) {
    EXPECT_EQ(simd::signed_to_float(words(static_cast<std::uint32_t>(x))).get(0), static_cast<float>(x));
  }
}

TEST(DotInt8, LargestMagnitude) {
  for (Index count = 0; count <= 4 * simd::lanes<float> + 3; ++count) {
    std::vector<float> x(static_cast<std::size_t>(count + 1), -100.0f);
    for (Index i = 0; i < count; ++i) x[static_cast<std::size_t>(i)] = static_cast<float>(i % 5) * -0.25f;
    float* row = x.data();
    EXPECT_EQ(simd::largest_magnitude(row, count), static_cast<float>(std::clamp<Index>(count - 1, 0, 4)) * 0.25f);
    for (Index i = 0; i < count; ++i) {
      const float before = row[i];
      row[i] = -3.0f;
      EXPECT_EQ(simd::largest_magnitude(row, count), 3.0f) << i;
      row[i] = -std::numeric_limits<float>::infinity();
      EXPECT_TRUE(std::isinf(simd::largest_magnitude(row, count)));
      row[i] = std::numeric_limits<float>::quiet_NaN();
      EXPECT_TRUE(std::isnan(simd::largest_magnitude(row, count)));
      row[i] = before;
    }
  }
}

TEST(DotInt8, QuantizesToBytes) {
  std::vector<float> x(80);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0.5f * static_cast<float>(i) - 20.0f;  // ties in every second
  for (const int offset : {0, 128}) {
    for (Index count = 0; count <= 70; ++count) {
      std::vector<std::uint8_t> y(static_cast<std::size_t>((count + 3) / 4 * 4 + 1), 0x5a);
      simd::quantize(x.data(), count, 3.0f, offset, y.data());
      EXPECT_EQ(y.back(), 0x5a);
      for (std::size_t i = 0; i + 1 < y.size(); ++i) {
        const int expected = static_cast<Index>(i) < count ? static_cast<int>(std::nearbyint(x[i] * 3.0f)) + offset : 0;
        EXPECT_EQ(y[i], static_cast<std::uint8_t>(expected)) << i;
      }
    }
  }
}

}  // namespace
