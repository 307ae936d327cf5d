// Strips by tiles, or by what stands for them; the whole products are in gemm_product_test.cpp.
#include "aulos/kernels/gemm_amx.hpp"

#include <gtest/gtest.h>

#include "aulos/kernels/gemm_product.hpp"
#include "tests/kernels/gemm_support.hpp"

namespace {

namespace detail = aulos::kernels::detail;
using aulos::Index;
using aulos::Numeric;

TEST(GemmAmx, TilesAreUsedWhereTheBuildHasThem) {
  EXPECT_EQ(detail::Bf16Product::rows == 32, aulos::simd::has_tiles);
  EXPECT_EQ(detail::Int8Product::rows == 32, aulos::simd::has_tiles);
}

#if defined(__AVX512F__)
// Whole numbers, whose sums are exact in any order; infinity behind the panel and the strip's rows.
TEST(GemmAmx, StripsOfAnySize) {
  aulos::simd::request_tiles();
  const aulos::simd::TileScope scope;
  const auto pair = [](float low, float high) {
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(low) >> 16 |
                                (std::bit_cast<std::uint32_t>(high) & 0xffff0000u));
  };
  const auto a = [](Index i, Index p) { return static_cast<float>((i * 3 + p) % 7 - 3); };
  const auto b = [](Index p, Index j) { return static_cast<float>((p * 5 + j) % 9 - 4); };
  for (const Index depth : {1, 15, 16, 17, 31, 32, 50}) {
    for (const Index valid : {1, 2, 15, 16, 17, 31, 32}) {
      std::vector<float> strip(static_cast<std::size_t>(32 * detail::amx_depth(depth)));
      std::vector<float> panel(static_cast<std::size_t>((depth + 16) * 32), pair(INFINITY, INFINITY));
      for (Index p = 0; p < depth; ++p) {
        for (Index i = 0; i < valid; ++i) {
          strip[static_cast<std::size_t>(detail::amx_place(i, p) + p % 16)] = pair(a(i, 2 * p), a(i, 2 * p + 1));
        }
        for (Index j = 0; j < 32; ++j) panel[static_cast<std::size_t>(p * 32 + j)] = pair(b(2 * p, j), b(2 * p + 1, j));
      }
      const std::vector<float> bias(32, 0.5f);
      gemm_support::Guarded<float> y(valid, 32, 35, 1, 100.0f);
      detail::multiply_amx_strip<Numeric::bf16>(valid, depth, strip.data(), panel.data(),
                                                {y.data(), y.ld(), bias.data(), true});
      for (Index i = 0; i < valid; ++i) {
        for (Index j = 0; j < 32; ++j) {
          float expected = 100.5f;
          for (Index p = 0; p < 2 * depth; ++p) expected += a(i, p) * b(p, j);
          ASSERT_EQ(y.at(i, j), expected) << depth << ' ' << valid << ' ' << i << ' ' << j;
        }
      }
      EXPECT_TRUE(y.intact());
    }
  }
}
#endif

}  // namespace
