#include "aulos/kernels/gemm_pack.hpp"

#include <limits>

#include "tests/kernels/gemm_support.hpp"

namespace {

using namespace gemm_support;
namespace kernels = aulos::kernels;
namespace detail = aulos::kernels::detail;
using kernels::PanelType;

template <class T>
class GemmPack : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(GemmPack, Types);

template <class T, int width>
void check_strip(Index lanes, Index k, Index lane_stride, Index k_stride) {
  const auto x = random<T>((lanes - 1) * lane_stride + (k > 0 ? k - 1 : 0) * k_stride + 1, 5);  // nothing to spare
  std::vector<T> out(static_cast<std::size_t>(detail::packed_count<width, T>(width, k)), T(99));
  detail::pack_strip<width>(x.data(), lane_stride, k_stride, lanes, k, out.data());
  for (Index p = 0; p < k; ++p) {
    for (Index lane = 0; lane < width; ++lane) {
      const T expected = lane < lanes ? x[static_cast<std::size_t>(lane * lane_stride + p * k_stride)] : T(0);
      ASSERT_EQ(out[static_cast<std::size_t>(p * width + lane)], expected)
          << lanes << ' ' << k << ' ' << p << ' ' << lane;
    }
  }
}

TYPED_TEST(GemmPack, StripOfAnyStrides) {
  constexpr int rows = detail::gemm_rows, cols = detail::gemm_cols<TypeParam>;
  for (const Index k : {0, 1, 3, 4, 5, 8, 31, 33}) {
    for (Index lanes = 1; lanes <= rows; ++lanes) {
      check_strip<TypeParam, rows>(lanes, k, k + 1, 1);
      check_strip<TypeParam, rows>(lanes, k, 1, rows + 3);
      check_strip<TypeParam, rows>(lanes, k, 2, 2 * rows + 1);
    }
    for (Index lanes = 1; lanes <= cols; ++lanes) {
      check_strip<TypeParam, cols>(lanes, k, k + 1, 1);
      check_strip<TypeParam, cols>(lanes, k, 1, cols);
      check_strip<TypeParam, cols>(lanes, k, 3, 3 * cols + 2);
    }
  }
}

// Rows 4 KiB apart take another way, by blocks of 512 bytes.
TYPED_TEST(GemmPack, StripOfRowsThatShareCacheSets) {
  constexpr int rows = detail::gemm_rows, cols = detail::gemm_cols<TypeParam>;
  constexpr Index ld = 8192 / static_cast<Index>(sizeof(TypeParam));
  for (const Index k : {0, 1, 127, 128, 129, 300}) {
    for (const Index lanes : {1, rows - 1, rows}) check_strip<TypeParam, rows>(lanes, k, ld, 1);
    for (const Index lanes : {1, cols / 2 + 1, cols}) check_strip<TypeParam, cols>(lanes, k, ld, 1);
  }
}

TYPED_TEST(GemmPack, WeightRoundTrip) {
  using T = TypeParam;
  constexpr Index cols = detail::gemm_cols<T>;
  for (const int threads : {1, 3}) {
    aulos::ThreadTeam team(threads);
    for (const Index n : {Index{0}, Index{1}, cols - 1, cols, cols + 1, 3 * cols + 2}) {
      for (const Index k : {0, 1, 5, 64, 67}) {
        for (const auto type : {PanelType::same, PanelType::bf16}) {
          const Index ldw = k + 2;
          const auto w = type == PanelType::same ? random<T>(n * ldw, 6) : random_bf16<T>(n * ldw, 6);
          Bytes panels(kernels::packed_bytes<T>(n, k, type));
          kernels::pack_weight(team.threads(), w.data(), ldw, n, k, type, panels.data());
          EXPECT_TRUE(panels.intact());
          Guarded<T> back(n, k, k + 5, 1, T(9));
          kernels::unpack_weight(team.threads(), panels.data(), type, n, k, back.data(), back.ld());
          for (Index i = 0; i < n; ++i) {
            for (Index p = 0; p < k; ++p) ASSERT_EQ(back.at(i, p), w[static_cast<std::size_t>(i * ldw + p)]);
          }
          EXPECT_TRUE(back.intact());
        }
      }
    }
  }
}

TYPED_TEST(GemmPack, PanelLayoutAndSize) {
  using T = TypeParam;
  constexpr Index cols = detail::gemm_cols<T>, n = cols + 1, k = 9;
  EXPECT_EQ(kernels::packed_bytes<T>(n, k, PanelType::same), static_cast<std::size_t>(2 * cols * k) * sizeof(T));
  EXPECT_EQ(kernels::packed_bytes<T>(n, k, PanelType::bf16), static_cast<std::size_t>(2 * cols * k) * 2);
  const auto w = random<T>(n * k, 7);
  Bytes panels(kernels::packed_bytes<T>(n, k, PanelType::same));
  kernels::pack_weight(aulos::Threads::serial(), w.data(), k, n, k, PanelType::same, panels.data());
  const T* p = static_cast<const T*>(panels.data());
  for (Index i = 0; i < 2 * cols; ++i) {
    for (Index q = 0; q < k; ++q) {
      EXPECT_EQ(p[i / cols * cols * k + q * cols + i % cols], i < n ? w[static_cast<std::size_t>(i * k + q)] : T(0));
    }
  }
}

TEST(GemmPackBf16, RoundsToNearestEven) {
  const float inf = std::numeric_limits<float>::infinity();
  struct {
    float x, expected;
  } const cases[] = {{0.0f, 0.0f},
                     {1.0f, 1.0f},
                     {1.00390625f, 1.0f},        // halfway, to even below
                     {1.01171875f, 1.015625f},   // halfway, to even above
                     {1.00390637f, 1.0078125f},  // just above halfway
                     {-1.01171875f, -1.015625f},
                     {3.4e38f, inf},
                     {3.3895e38f, 3.38953139e38f},  // the largest bf16
                     {1e-45f, 0.0f},                // far below the least bf16
                     {inf, inf},
                     {-inf, -inf}};
  for (const auto& c : cases) {
    Bytes panels(kernels::packed_bytes<float>(1, 1, PanelType::bf16));
    kernels::pack_weight(aulos::Threads::serial(), &c.x, 1, 1, 1, PanelType::bf16, panels.data());
    float back = 5;
    kernels::unpack_weight(aulos::Threads::serial(), panels.data(), PanelType::bf16, 1, 1, &back, 1);
    EXPECT_EQ(back, c.expected) << c.x;
  }
  for (const std::uint32_t bits : {0x7fc00000u, 0xffc00000u, 0x7f800001u, 0x7fffffffu}) {
    const float nan = std::bit_cast<float>(bits);
    Bytes panels(kernels::packed_bytes<float>(1, 1, PanelType::bf16));
    kernels::pack_weight(aulos::Threads::serial(), &nan, 1, 1, 1, PanelType::bf16, panels.data());
    float back = 5;
    kernels::unpack_weight(aulos::Threads::serial(), panels.data(), PanelType::bf16, 1, 1, &back, 1);
    EXPECT_TRUE(std::isnan(back));
  }
}

}  // namespace
