#include "aulos/simd/amx.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>

namespace {

namespace simd = aulos::simd;

TEST(Amx, AskingForTilesIsRepeatable) {
  EXPECT_NO_THROW(simd::request_tiles());
  EXPECT_NO_THROW(simd::request_tiles());
}

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AMX_INT8__)
std::uint32_t pair_of(int k0, int k1) {  // as bf16
  return std::bit_cast<std::uint32_t>(static_cast<float>(k0)) >> 16 |
         (std::bit_cast<std::uint32_t>(static_cast<float>(k1)) & 0xffff0000u);
}

TEST(Amx, TilesMultiplyPairs) {
  simd::request_tiles();
  alignas(64) std::uint32_t a[16][16], b[16][16];
  alignas(64) float sum[16][16];
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j) {
      a[i][j] = pair_of(i - j, i + j);
      b[i][j] = pair_of(i % 5 - 2, j % 3);
    }
  }
  {
    const simd::TileScope tiles;
    simd::zero_tile<1>();
    simd::load_tile<4>(a, 64);
    simd::load_tile<6>(b, 64);
    simd::multiply_tiles_bf16<1, 4, 6>();
    simd::multiply_tiles_bf16<1, 4, 6>();
    simd::store_tile<1>(sum, 64);
  }
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j) {
      int expected = 0;
      for (int p = 0; p < 16; ++p) expected += 2 * ((i - p) * (p % 5 - 2) + (i + p) * (j % 3));
      EXPECT_EQ(sum[i][j], static_cast<float>(expected)) << i << ' ' << j;
    }
  }
}

TEST(Amx, TilesMultiplyUnsignedBySigned) {
  simd::request_tiles();
  alignas(64) std::uint8_t a[16][64];
  alignas(64) std::int8_t b[16][64];
  alignas(64) std::int32_t sum[16][16];
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 64; ++j) {
      a[i][j] = static_cast<std::uint8_t>(255 - i - j);
      b[i][j] = static_cast<std::int8_t>(j % 2 == 0 ? -128 + i : 127 - j);
    }
  }
  {
    const simd::TileScope tiles;
    simd::zero_tile<3>();
    simd::load_tile<5>(a, 64);
    simd::load_tile<7>(b, 64);
    simd::multiply_tiles_int8<3, 5, 7>();
    simd::store_tile<3>(sum, 64);
  }
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j) {
      int expected = 0;
      for (int p = 0; p < 16; ++p) {
        for (int byte = 0; byte < 4; ++byte) expected += a[i][4 * p + byte] * b[p][4 * j + byte];
      }
      EXPECT_EQ(sum[i][j], expected) << i << ' ' << j;
    }
  }
}
#endif

}  // namespace
