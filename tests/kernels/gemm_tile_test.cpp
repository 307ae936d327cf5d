#include "aulos/kernels/gemm_tile.hpp"

#include <algorithm>

#include "tests/kernels/gemm_support.hpp"

namespace {

using namespace gemm_support;
namespace detail = aulos::kernels::detail;
using aulos::Numeric;

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
      detail::multiply_strip<T, Numeric::exact>(valid, k, strip.data(), panel.data(), tile.data());
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
    detail::multiply_tile<T, Numeric::exact, 2, 2, false>(k, x.data(), ldx, w.data(), stride, tile.data());
    for (Index i = 0; i < 2; ++i) {
      for (Index j = 0; j < 2 * cols; ++j) {
        const T expected = ordered_dot(x.data() + i * ldx, 1, w.data() + j / cols * stride + j % cols, cols, k);
        ASSERT_TRUE(same_bits(tile[static_cast<std::size_t>(i * 2 * cols + j)], expected)) << k << ' ' << i << ' ' << j;
      }
    }
  }
}

// bf16 panels [k / 2][columns][2], widened: the same sums as of floats, also of an odd number.
template <detail::PairOrder order>
void check_pairs() {
  constexpr Index rows = detail::gemm_rows, cols = detail::gemm_cols<float>;
  for (const Index k : depths) {
    const auto strip = random<float>(k * rows + 1, 8), panel = random_bf16<float>(k * cols + 1, 9);
    std::vector<std::uint16_t> pairs(static_cast<std::size_t>((k + 1) / 2 * 2 * cols + 1), 0x7f80);  // infinity
    for (Index p = 0; p < k; ++p) {
      for (Index j = 0; j < cols; ++j) {
        pairs[static_cast<std::size_t>((p / 2 * cols + j) * 2 + p % 2)] = static_cast<std::uint16_t>(
            std::bit_cast<std::uint32_t>(panel[static_cast<std::size_t>(p * cols + j)]) >> 16);
      }
    }
    // The order of the strip and the panel in which the promised sum is that of the tile.
    auto a = strip, b = panel;
    for (Index p = 0; order == detail::PairOrder::upper_first && p + 1 < k; p += 2) {
      std::swap_ranges(a.begin() + p * rows, a.begin() + (p + 1) * rows, a.begin() + (p + 1) * rows);
      std::swap_ranges(b.begin() + p * cols, b.begin() + (p + 1) * cols, b.begin() + (p + 1) * cols);
    }
    for (Index valid = 1; valid <= rows; ++valid) {
      std::vector<float> tile(static_cast<std::size_t>(rows * cols), 99.0f);
      detail::multiply_strip<float, Numeric::bf16, order>(valid, k, strip.data(), pairs.data(), tile.data());
      for (Index i = 0; i < valid; ++i) {
        for (Index j = 0; j < cols; j += 3) {
          const float expected = ordered_dot(a.data() + i, rows, b.data() + j, cols, k);
          ASSERT_TRUE(same_bits(tile[static_cast<std::size_t>(i * cols + j)], expected)) << k << ' ' << i << ' ' << j;
        }
      }
    }
  }
}

TEST(GemmTileBf16, PairsInOrder) { check_pairs<detail::PairOrder::ascending>(); }
TEST(GemmTileBf16, UpperOfEachPairFirst) { check_pairs<detail::PairOrder::upper_first>(); }

// A chunk added to those before.
TYPED_TEST(GemmTile, ChunksAddUp) {
  using T = TypeParam;
  constexpr Index rows = detail::gemm_rows, cols = detail::gemm_cols<T>, k = 2000;
  const auto strip = random<T>(k * rows, 10), panel = random<T>(k * cols, 11);
  std::vector<T> tile(static_cast<std::size_t>(rows * cols), T(99));
  detail::multiply_strip<T, Numeric::exact>(rows, 1536, strip.data(), panel.data(), tile.data());
  detail::multiply_strip<T, Numeric::exact>(rows, k - 1536, strip.data() + 1536 * rows, panel.data() + 1536 * cols,
                                            detail::TileOut<T>(tile.data(), 0, nullptr, true));
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < cols; ++j) {
      const T expected = ordered_dot(strip.data() + i, rows, panel.data() + j, cols, k);
      ASSERT_TRUE(same_bits(tile[static_cast<std::size_t>(i * cols + j)], expected)) << i << ' ' << j;
    }
  }
}

}  // namespace
