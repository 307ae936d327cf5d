// compile: -O3 -ffast-math
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstring>

#include "aulos/core/dtype.hpp"

namespace aulos {
namespace {

// The conversions work on bits, so that a consumer's -ffast-math changes nothing.
TEST(DtypeFastMath, NanAndInfinityPassThrough) {
  const volatile std::uint32_t source[] = {0x7f800001, 0x7fc00000, 0xff800000, 0x7f800000, 0x3f800000};
  const std::uint16_t brain[] = {0x7fc0, 0x7fc0, 0xff80, 0x7f80, 0x3f80};
  const std::uint16_t half[] = {0x7e00, 0x7e00, 0xfc00, 0x7c00, 0x3c00};
  for (int i = 0; i < 5; ++i) {
    const std::uint32_t bits = source[i];
    const auto value = std::bit_cast<float>(bits);
    EXPECT_EQ(bf16(value).bits, brain[i]);
    EXPECT_EQ(f16(value).bits, half[i]);
    float back = 0;
    convert(Dtype::f16, reinterpret_cast<const std::byte*>(&half[i]), &back, 1);
    std::uint32_t back_bits = 0;
    std::memcpy(&back_bits, &back, 4);
    EXPECT_EQ(back_bits, i < 2 ? 0x7fc00000u : bits);
  }
}

TEST(DtypeFastMath, SubnormalsOfF16AreExact) {
  for (std::uint16_t bits = 0; bits < 0x400; ++bits) {
    const auto value = static_cast<double>(f16::from_bits(bits));
    EXPECT_EQ(value, static_cast<double>(bits) * 0x1p-24);
    EXPECT_EQ(f16(value).bits, bits);
  }
}

}  // namespace
}  // namespace aulos
