#include "aulos/simd/amx.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>

namespace {

namespace simd = aulos::simd;

TEST(Amx, AskingForTilesIsRepeatable) {
  EXPECT_NO_THROW(aulos::request_tiles());
  EXPECT_NO_THROW(aulos::request_tiles());
}

std::uint32_t pair_of(int k0, int k1) {  // as bf16
  return std::bit_cast<std::uint32_t>(static_cast<float>(k0)) >> 16 |
         (std::bit_cast<std::uint32_t>(static_cast<float>(k1)) & 0xffff0000u);
}

TEST(Amx, TilesMultiplyPairs) {
  aulos::request_tiles();
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
  aulos::request_tiles();
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
// The order of a sum: lower and upper products each for itself, from 0, then both, then what the tile held.
TEST(Amx, PairsAreSummedInTheOrderOfTheInstruction) {
  aulos::request_tiles();
  alignas(64) std::uint32_t a[16][16] = {}, b[16][16] = {};
  alignas(64) float sum[16][16] = {};
  const auto one = [](float x) { return std::bit_cast<std::uint32_t>(x) >> 16; };
  for (auto& row : b) row[0] = one(1) | one(1) << 16;
  a[0][0] = one(1) | one(0x1p-24f) << 16;  // 1 + (2^-24 + 2^-24): the upper products meet first
  a[0][1] = one(0x1p-24f) << 16;
  a[1][0] = one(1);  // (1 + 2^-24) + 2^-24
  a[1][1] = a[1][2] = one(0x1p-24f);
  a[2][0] = one(0x1p-24f) | one(0x1p-24f) << 16;  // 1 + (2^-24 + 2^-24), 1 from the tile
  sum[2][0] = 1;
  a[3][0] = one(0x1p-127f);  // denormal
  sum[4][0] = 0x1p-140f;
  a[5][0] = one(0x1p-126f) | one(-0x1.8p-126f) << 16;  // their sum is denormal
  {
    const simd::TileScope tiles;
    simd::load_tile<0>(sum, 64);
    simd::load_tile<5>(a, 64);
    simd::load_tile<7>(b, 64);
    simd::multiply_tiles_bf16<0, 5, 7>();
    simd::store_tile<0>(sum, 64);
  }
  EXPECT_EQ(sum[0][0], 1 + 0x1p-23f);
  EXPECT_EQ(sum[1][0], 1.0f);
  EXPECT_EQ(sum[2][0], 1 + 0x1p-23f);
  for (int i = 3; i < 6; ++i) EXPECT_EQ(std::bit_cast<std::uint32_t>(sum[i][0]) << 1, 0u) << i;
}

template <int halves>
void expect_block() {
  constexpr int rows = 16 * halves, a_stride = 20, b_stride = 36, c_stride = 48;
  alignas(64) float a[rows * a_stride], b[16 * b_stride], c[32 * c_stride];
  const auto left = [](int i, int k) { return (i * 3 + k) % 7 - 3; };
  const auto right = [](int k, int j) { return (k * 5 + j) % 9 - 4; };
  for (int p = 0; p < 16; ++p) {
    for (int i = 0; i < rows; ++i) {
      a[i * a_stride + p] = std::bit_cast<float>(pair_of(left(i, 2 * p), left(i, 2 * p + 1)));
    }
    for (int j = 0; j < 32; ++j) {
      b[p * b_stride + j] = std::bit_cast<float>(pair_of(right(2 * p, j), right(2 * p + 1, j)));
    }
  }
  for (float& x : c) x = 77;
  {
    const simd::TileScope tiles;
    using Block = simd::TileBlock<aulos::Numeric::bf16, halves>;
    Block::zero();
    Block::add(a, a_stride * 4, b, b_stride * 4);
    Block::add(a, a_stride * 4, b, b_stride * 4);
    Block::store(c, c_stride * 4);
  }
  for (int i = 0; i < 32; ++i) {
    for (int j = 0; j < c_stride; ++j) {
      int expected = i < rows && j < 32 ? 0 : 77;
      for (int k = 0; k < 32 && i < rows && j < 32; ++k) expected += 2 * left(i, k) * right(k, j);
      EXPECT_EQ(c[i * c_stride + j], static_cast<float>(expected)) << i << ' ' << j;
    }
  }
}

TEST(Amx, BlocksOfOneAndTwoRowsOfTiles) {
  aulos::request_tiles();
  expect_block<1>();
  expect_block<2>();
}

}  // namespace
