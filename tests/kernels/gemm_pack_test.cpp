#include "aulos/kernels/gemm_pack.hpp"

#include <algorithm>
#include <limits>

#include "tests/kernels/gemm_support.hpp"
#include "tests/kernels/thread_counts.hpp"

namespace {

using namespace gemm_support;
namespace kernels = aulos::kernels;
namespace detail = aulos::kernels::detail;
using aulos::Numeric;

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
  for (const int threads : aulos_test::thread_counts) {
    aulos::ThreadTeam& team = aulos_test::team_of(threads);
    for (const Index n : {Index{0}, Index{1}, cols - 1, cols, cols + 1, 3 * cols + 2}) {
      for (const Index k : {0, 1, 5, 64, 67, 300}) {
        for (const auto storage : {Numeric::exact, Numeric::bf16, Numeric::int8}) {
          const Index ldw = k + 2;
          const auto w = storage == Numeric::exact ? random<T>(n * ldw, 6) : random_bf16<T>(n * ldw, 6);
          Bytes panels(kernels::packed_bytes<T>(n, k, storage));
          kernels::pack_weight(team.threads(), w.data(), ldw, n, k, storage, panels.data());
          EXPECT_TRUE(panels.intact());
          Guarded<T> back(n, k, k + 5, 1, T(9));
          kernels::unpack_weight(team.threads(), panels.data(), storage, n, k, back.data(), back.ld());
          for (Index i = 0; i < n; ++i) {
            T largest = 0;
            for (Index p = 0; p < k; ++p) {
              largest = std::max(largest, std::abs(w[static_cast<std::size_t>(i * ldw + p)]));
            }
            // 8 bits: half a step.
            const T bound = storage == Numeric::int8 ? largest / T(127) * T(0.50001) : T(0);
            for (Index p = 0; p < k; ++p) {
              ASSERT_LE(std::abs(back.at(i, p) - w[static_cast<std::size_t>(i * ldw + p)]), bound) << i << ' ' << p;
            }
          }
          EXPECT_TRUE(back.intact());
        }
      }
    }
  }
}

// Element (column i, depth p) of panels that hold `group` numbers of a column side by side.
template <class T>
Index place(Index i, Index p, Index k, Index group) {
  constexpr Index cols = detail::gemm_cols<T>;
  const Index depth = (k + group - 1) / group;
  return ((i / cols * depth + p / group) * cols + i % cols) * group + p % group;
}

TYPED_TEST(GemmPack, PanelLayoutAndSize) {
  using T = TypeParam;
  constexpr Index cols = detail::gemm_cols<T>, n = cols + 1, k = 9;
  EXPECT_EQ(kernels::packed_bytes<T>(n, k, Numeric::exact), static_cast<std::size_t>(2 * cols * k) * sizeof(T));
  EXPECT_EQ(kernels::packed_bytes<T>(n, k, Numeric::bf16), static_cast<std::size_t>(2 * cols * 10) * 2);
  EXPECT_EQ(kernels::packed_bytes<T>(n, k, Numeric::int8), static_cast<std::size_t>(2 * cols * (12 + 8)));
  auto w = random_bf16<T>(n * k, 7);
  for (Index i = 0; i < n; ++i) {  // whole numbers of 1/127 of the largest, which is 1
    for (Index p = 0; p < k; ++p) w[static_cast<std::size_t>(i * k + p)] = T(1) / T(128) * T(i % 5 + p);
    w[static_cast<std::size_t>(i * k + i % k)] = T(-127) / T(128);
  }
  const auto value = [&](Index i, Index p) { return i < n && p < k ? w[static_cast<std::size_t>(i * k + p)] : T(0); };
  for (const auto storage : {Numeric::exact, Numeric::bf16, Numeric::int8}) {
    Bytes panels(kernels::packed_bytes<T>(n, k, storage));
    kernels::pack_weight(aulos::Threads::serial(), w.data(), k, n, k, storage, panels.data());
    for (Index i = 0; i < 2 * cols; ++i) {
      if (storage == Numeric::exact) {
        const T* p = static_cast<const T*>(panels.data());
        for (Index q = 0; q < k; ++q) EXPECT_EQ(p[place<T>(i, q, k, 1)], value(i, q));
      } else if (storage == Numeric::bf16) {
        const auto* p = static_cast<const std::uint16_t*>(panels.data());
        for (Index q = 0; q < 10; ++q) {
          const float stored = std::bit_cast<float>(static_cast<std::uint32_t>(p[place<T>(i, q, k, 2)]) << 16);
          EXPECT_EQ(static_cast<T>(stored), value(i, q)) << i << ' ' << q;
        }
      } else {
        const auto* p = static_cast<const std::int8_t*>(panels.data());
        const detail::Int8Columns<T> columns(panels.data(), n, k);
        int sum = 0;
        for (Index q = 0; q < 12; ++q) {
          const int stored = p[place<T>(i, q, k, 4)];
          EXPECT_EQ(T(stored) / T(128), value(i, q)) << i << ' ' << q;
          sum += stored;
        }
        if (i < n) {
          EXPECT_EQ(columns.steps[i], 1.0f / 128.0f);
        }
        EXPECT_EQ(columns.offsets[i], static_cast<std::uint32_t>(128 * sum));
      }
    }
  }
}

TEST(GemmPackInt8, AColumnThatIsNotFiniteBecomesNaN) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const float w[3][3] = {{1, nan, 2}, {1, 2, 4}, {-inf, 0, 0}};
  float back[3][3];
  Bytes panels(kernels::packed_bytes<float>(3, 3, Numeric::int8));
  kernels::pack_weight(aulos::Threads::serial(), w[0], 3, 3, 3, Numeric::int8, panels.data());
  kernels::unpack_weight(aulos::Threads::serial(), panels.data(), Numeric::int8, 3, 3, back[0], 3);
  for (int p = 0; p < 3; ++p) {
    EXPECT_TRUE(std::isnan(back[0][p]));
    EXPECT_NEAR(back[1][p], w[1][p], 4.0f / 250.0f);
    EXPECT_TRUE(std::isnan(back[2][p]));
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
    Bytes panels(kernels::packed_bytes<float>(1, 1, Numeric::bf16));
    kernels::pack_weight(aulos::Threads::serial(), &c.x, 1, 1, 1, Numeric::bf16, panels.data());
    float back = 5;
    kernels::unpack_weight(aulos::Threads::serial(), panels.data(), Numeric::bf16, 1, 1, &back, 1);
    EXPECT_EQ(back, c.expected) << c.x;
  }
  for (const std::uint32_t bits : {0x7fc00000u, 0xffc00000u, 0x7f800001u, 0x7fffffffu}) {
    const float nan = std::bit_cast<float>(bits);
    Bytes panels(kernels::packed_bytes<float>(1, 1, Numeric::bf16));
    kernels::pack_weight(aulos::Threads::serial(), &nan, 1, 1, 1, Numeric::bf16, panels.data());
    float back = 5;
    kernels::unpack_weight(aulos::Threads::serial(), panels.data(), Numeric::bf16, 1, 1, &back, 1);
    EXPECT_TRUE(std::isnan(back));
  }
}

}  // namespace
