// compile: -O2
#include "aulos/simd/convert.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace {

namespace simd = aulos::simd;
using aulos::bf16;
using aulos::f16;
using aulos::Index;
using simd::Batch;

template <class Half>
class ConvertOf : public ::testing::Test {};
using Halves = ::testing::Types<bf16, f16>;
TYPED_TEST_SUITE(ConvertOf, Halves);

TYPED_TEST(ConvertOf, EveryPatternWidensAsTheScalarConversionAndComesBack) {
  using Half = TypeParam;
  std::vector<Half> x(65536);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = Half::from_bits(static_cast<std::uint16_t>(i));
  std::vector<float> y(x.size());
  std::vector<double> z(x.size());
  std::vector<Half> back(x.size()), back_double(x.size());
  simd::convert(x.data(), y.data(), Index(x.size()));
  simd::convert(x.data(), z.data(), Index(x.size()));
  simd::convert(y.data(), back.data(), Index(x.size()));
  simd::convert(z.data(), back_double.data(), Index(x.size()));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float want = static_cast<float>(x[i]);
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(y[i]) && std::isnan(z[i]) && std::isnan(static_cast<float>(back[i]))) << i;
      continue;
    }
    ASSERT_EQ(std::bit_cast<std::uint32_t>(y[i]), std::bit_cast<std::uint32_t>(want)) << i;
    ASSERT_EQ(z[i], static_cast<double>(want)) << i;
    ASSERT_EQ(back[i].bits, x[i].bits) << i;
    ASSERT_EQ(back_double[i].bits, x[i].bits) << i;
  }
}

// 2^24 floats at a stride that meets every exponent, both neighbours of every tie, infinities and NaN.
TYPED_TEST(ConvertOf, NarrowsAsTheScalarConversion) {
  using Half = TypeParam;
  std::vector<float> x;
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += 2039) {
    x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  }
  for (std::uint32_t half = 0; half < 65536; ++half) {
    const float a = static_cast<float>(Half::from_bits(static_cast<std::uint16_t>(half)));
    const float b = static_cast<float>(Half::from_bits(static_cast<std::uint16_t>(half + 1)));
    const float tie = a / 2 + b / 2;
    for (const float value : {a, tie, std::nextafter(tie, a), std::nextafter(tie, b)}) x.push_back(value);
  }
  for (const std::uint32_t bits : {0x7F7FFFFFu, 0x7F800000u, 0xFF800000u, 0x7F800001u, 0xFF800001u, 0x7FFFFFFFu}) {
    x.push_back(std::bit_cast<float>(bits));
  }
  std::vector<Half> y(x.size());
  simd::convert(x.data(), y.data(), Index(x.size()));
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(y[i].bits, Half(x[i]).bits) << std::hex << std::bit_cast<std::uint32_t>(x[i]);
  }
}

TYPED_TEST(ConvertOf, BodyAndTailAgreeAtEveryLength) {
  using Half = TypeParam;
  for (Index length = 0; length <= 67; ++length) {
    std::vector<float> x(static_cast<std::size_t>(length)), back(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i)) * 1e-5f;
    if (length > 0) x[static_cast<std::size_t>(length) / 2] = std::numeric_limits<float>::quiet_NaN();
    std::vector<Half> y(x.size());
    simd::convert(x.data(), y.data(), length);
    simd::convert(y.data(), back.data(), length);
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(y[i].bits, Half(x[i]).bits) << i << " of " << length;
      ASSERT_EQ(std::bit_cast<std::uint32_t>(back[i]), std::bit_cast<std::uint32_t>(static_cast<float>(y[i])));
    }
  }
}

TEST(Convert, Bf16RoundsToTheNearestEven) {
  const auto bits_of = [](std::uint32_t bits) {
    const float x = std::bit_cast<float>(bits);
    std::vector<float> many(33, x);
    std::vector<bf16> y(33);
    simd::convert(many.data(), y.data(), 33);
    EXPECT_EQ(y[0].bits, y[32].bits);
    return y[0].bits;
  };
  EXPECT_EQ(bits_of(0x3E89CCD5), 0x3E8A);
  EXPECT_EQ(bits_of(0x3F808000), 0x3F80);
  EXPECT_EQ(bits_of(0x3F818000), 0x3F82);
  EXPECT_EQ(bits_of(0x7F7FFFFF), 0x7F80);
  EXPECT_EQ(bits_of(0xFF800000), 0xFF80);
  EXPECT_EQ(bits_of(0x80000000), 0x8000);
  EXPECT_GT(bits_of(0x7F800001) & 0x7FFF, 0x7F80);
  EXPECT_GT(bits_of(0xFF800001) & 0x7FFF, 0x7F80);
}

TEST(Convert, AFloatBatchIsTwoHalvesOfDoubles) {
  constexpr Index width = simd::lanes<float>, half = simd::lanes<double>;
  const Batch<float> x = simd::iota<float>(0.1f);
  const simd::Doubles<float> wide = simd::widen(x);
  for (Index i = 0; i < half; ++i) {
    EXPECT_EQ(wide.part[0].get(i), static_cast<double>(x.get(i)));
    EXPECT_EQ(wide.part[1].get(i), static_cast<double>(x.get(i + half)));
  }
  const Batch<double> third(1.0 / 3.0);
  const Batch<float> y = simd::narrow(simd::Doubles<float>{{wide.part[0] * third, wide.part[1] * third}});
  for (Index i = 0; i < width; ++i) {
    EXPECT_EQ(y.get(i), static_cast<float>(static_cast<double>(x.get(i)) * (1.0 / 3.0)));
  }
}

}  // namespace
