#include "aulos/simd/bf16_pairs.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "aulos/core/dtype.hpp"

namespace {

using aulos::Index;
using Batch = aulos::simd::Batch<float>;
constexpr Index width = aulos::simd::lanes<float>;

std::uint32_t rounded(float x) { return aulos::bf16(x).bits; }

// The bits of the pairs.
std::vector<std::uint32_t> bits(Batch pairs) {
  alignas(64) float lane[static_cast<std::size_t>(width)];
  aulos::simd::store(lane, pairs);
  std::vector<std::uint32_t> all;
  for (const float x : lane) all.push_back(std::bit_cast<std::uint32_t>(x));
  return all;
}

std::vector<float> numbers(Index n) {
  std::mt19937 random(1);
  std::vector<float> x(static_cast<std::size_t>(n));
  for (float& y : x)
    y = std::ldexp(std::uniform_real_distribution<float>(-1, 1)(random), static_cast<int>(random() % 40));
  x[0] = std::numeric_limits<float>::infinity();
  x[1] = 1.0f + 0x1p-8f;  // a tie, to even
  x[2] = 1.0f + 0x3p-8f;
  x[3] = std::numeric_limits<float>::max();  // rounds to infinity
  return x;
}

TEST(Bf16Pairs, TwoBatchesInARow) {
  const auto x = numbers(2 * width);
  const auto pairs = bits(aulos::simd::bf16_pairs(aulos::simd::load(x.data()), aulos::simd::load(x.data() + width)));
  for (std::size_t i = 0; i < pairs.size(); ++i)
    EXPECT_EQ(pairs[i], rounded(x[2 * i]) | rounded(x[2 * i + 1]) << 16) << i;
}

TEST(Bf16Pairs, TwoRowsSideBySide) {
  const auto x = numbers(2 * width);
  const auto pairs =
      bits(aulos::simd::interleave_bf16(aulos::simd::load(x.data()), aulos::simd::load(x.data() + width)));
  const auto n = static_cast<std::size_t>(width);
  for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(pairs[i], rounded(x[i]) | rounded(x[n + i]) << 16) << i;
}

TEST(Bf16Pairs, NotANumberStaysOne) {
  const Batch nan(std::numeric_limits<float>::quiet_NaN()), one(1.0f);
  for (const std::uint32_t pair : bits(aulos::simd::interleave_bf16(nan, one))) {
    EXPECT_TRUE(std::isnan(std::bit_cast<float>(pair << 16)));
    EXPECT_EQ(pair >> 16, rounded(1.0f));
  }
}

}  // namespace
