#include "aulos/kernels/gemm_tile.hpp"

#include "tests/kernels/gemm_support.hpp"

namespace {

using namespace gemm_support;
namespace detail = aulos::kernels::detail;
using aulos::kernels::PanelType;

template <class T>
class GemmTile : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(GemmTile, Types);

const Index depths[] = {0, 1, 2, 7, 1535, 1536, 1537, 3072, 3500};

TYPED_TEST(GemmTile, StripSumsInThePromisedOrder) {
  using T = TypeParam;
  constexpr Index rows = detail::gemm_rows, cols = detail::gemm_cols<T>;
  for (const Index k : depths) {
    const auto strip = random<T>(k * rows + 1, 1), panel = random<T>(k * cols + 1, 2);
    for (Index valid = 1; valid <= rows; ++valid) {
      std::vector<T> tile(static_cast<std::size_t>(rows * cols), T(99));
      detail::multiply_strip<T, PanelType::same>(valid, k, strip.data(), panel.data(), tile.data());
      for (Index i = 0; i < valid; ++i) {
        for (Index j = 0; j < cols; j += 5) {
          const T expected = ordered_dot(strip.data() + i, rows, panel.data() + j, cols, k);
          ASSERT_TRUE(same_bits(tile[static_cast<std::size_t>(i * cols + j)], expected)) << k << ' ' << i << ' ' << j;
        }
      }
    }
  }
}

TYPED_TEST(GemmTile, PanelsSideBySide) {
  using T = TypeParam;
  constexpr Index cols = detail::gemm_cols<T>;
  for (const Index k : depths) {
    const Index ldx = k + 3, stride = k * cols + 5;
    const auto x = random<T>(2 * ldx, 3), w = random<T>(2 * stride, 4);
    std::vector<T> tile(static_cast<std::size_t>(4 * cols), T(99));
    detail::multiply_tile<T, PanelType::same, 2, 2, false>(k, x.data(), ldx, w.data(), stride, tile.data());
    for (Index i = 0; i < 2; ++i) {
      for (Index j = 0; j < 2 * cols; ++j) {
        const T expected = ordered_dot(x.data() + i * ldx, 1, w.data() + j / cols * stride + j % cols, cols, k);
        ASSERT_TRUE(same_bits(tile[static_cast<std::size_t>(i * 2 * cols + j)], expected)) << k << ' ' << i << ' ' << j;
      }
    }
  }
}

TEST(GemmTileBf16, WidensColumnPairs) {
  constexpr Index cols = detail::gemm_cols<float>, half = cols / 2, k = 5;
  std::vector<std::uint16_t> panel(static_cast<std::size_t>(k * cols));
  for (Index p = 0; p < k; ++p) {
    for (Index j = 0; j < cols; ++j) {  // column j = 2^(j % 8) (p + 1), exact in bf16
      const float value = static_cast<float>((1 << (j % 8)) * (p + 1)) * (j < half ? 1.0f : -1.0f);
      panel[static_cast<std::size_t>(p * cols + j % half * 2 + j / half)] =
          static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
    }
  }
  const std::vector<float> x(k, 1.0f);
  std::vector<float> tile(static_cast<std::size_t>(cols));
  detail::multiply_tile<float, PanelType::bf16, 1, 1, false>(k, x.data(), k, panel.data(), 0, tile.data());
  for (Index j = 0; j < cols; ++j) {
    EXPECT_EQ(tile[static_cast<std::size_t>(j)], static_cast<float>((1 << (j % 8)) * 15) * (j < half ? 1.0f : -1.0f));
  }
}

}  // namespace
