#include "aulos/kernels/gemm_dot.hpp"

#include "tests/kernels/gemm_support.hpp"

namespace {

using namespace gemm_support;
namespace detail = aulos::kernels::detail;
namespace simd = aulos::simd;

std::vector<float> random_words(Index count, std::uint32_t seed, bool pairs) {
  std::vector<float> x(static_cast<std::size_t>(count));
  for (float& v : x) {
    seed = seed * 1664525u + 1013904223u;
    // Bytes at will; bf16 between 1 and 4 with either sign.
    v = std::bit_cast<float>(pairs ? (seed & 0x807f807fu) | 0x3f803f80u : seed ^ seed >> 13);
  }
  return x;
}

float upper(float word) { return std::bit_cast<float>(std::bit_cast<std::uint32_t>(word) & 0xffff0000u); }
float lower(float word) { return std::bit_cast<float>(std::bit_cast<std::uint32_t>(word) << 16); }

float fused(float a, float b, float c) { return simd::has_fma ? std::fma(a, b, c) : static_cast<float>(a * b) + c; }

// The sums in the promised order, as bits.
template <class Dot>
float expected_sum(const float* a, Index a_stride, const float* b, Index b_stride, Index depth) {
  if constexpr (std::is_same_v<Dot, detail::Bf16Dot>) {
    float sum = 0;
    for (Index begin = 0; begin < depth; begin += 768) {
      float acc = 0;
      for (Index p = begin; p < std::min<Index>(depth, begin + 768); ++p) {
        const float x = a[p * a_stride], w = b[p * b_stride];
        acc = fused(lower(x), lower(w), fused(upper(x), upper(w), acc));
      }
      sum = begin == 0 ? acc : sum + acc;
    }
    return sum;
  } else {
    std::uint32_t sum = 0;
    for (Index p = 0; p < depth; ++p) {
      const auto x = std::bit_cast<std::uint32_t>(a[p * a_stride]), w = std::bit_cast<std::uint32_t>(b[p * b_stride]);
      for (int byte = 0; byte < 4; ++byte) {
        const int product = static_cast<std::uint8_t>(x >> 8 * byte) * static_cast<std::int8_t>(w >> 8 * byte);
        sum += static_cast<std::uint32_t>(product);
      }
    }
    return std::bit_cast<float>(sum);
  }
}

// The words of row i of a strip.
std::vector<float> strip_row(const std::vector<float>& strip, Index i, Index depth) {
  std::vector<float> row;
  for (Index p = 0; p < depth; ++p) {
    row.push_back(strip[static_cast<std::size_t>((p / 16 * detail::gemm_rows + i) * 16 + p % 16)]);
  }
  return row;
}

template <class Dot>
class GemmDot : public ::testing::Test {};
using Dots = ::testing::Types<detail::Bf16Dot, detail::Int8Dot>;
TYPED_TEST_SUITE(GemmDot, Dots);

template <class Dot>
constexpr bool pairs = std::is_same_v<Dot, detail::Bf16Dot>;

TYPED_TEST(GemmDot, StripsSumInThePromisedOrder) {
  using Dot = TypeParam;
  constexpr Index rows = detail::gemm_rows, cols = detail::gemm_cols<float>;
  for (const Index depth : {0, 1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 128, 129, 767, 768, 769, 1536, 1700}) {
    const auto strip = random_words(detail::strip_depth(depth) * rows + 1, 1, pairs<Dot>);
    const auto panel = random_words(depth * cols + 1, 2, pairs<Dot>);
    for (Index valid = 1; valid <= rows; ++valid) {
      std::vector<float> tile(static_cast<std::size_t>(rows * cols), 99.0f);
      detail::multiply_word_strip<Dot>(valid, depth, strip.data(), panel.data(), tile.data());
      for (Index i = 0; i < valid; ++i) {
        const auto row = strip_row(strip, i, depth);
        for (Index j = 0; j < cols; j += 3) {
          const float expected = expected_sum<Dot>(row.data(), 1, panel.data() + j, cols, depth);
          ASSERT_TRUE(same_bits(tile[static_cast<std::size_t>(i * cols + j)], expected)) << depth << ' ' << i;
        }
      }
    }
  }
}

TYPED_TEST(GemmDot, HalfAStripTimesTwoPanelsIsTheSame) {
  using Dot = TypeParam;
  constexpr Index rows = detail::gemm_rows, half = rows / 2, cols = detail::gemm_cols<float>;
  for (const Index depth : {1, 16, 17, 130}) {
    const Index stride = depth * cols;
    const auto strip = random_words(detail::strip_depth(depth) * rows, 5, pairs<Dot>);
    const auto panels = random_words(2 * stride, 6, pairs<Dot>);
    for (Index part = 0; part < 2; ++part) {
      std::vector<float> tile(static_cast<std::size_t>(half * 2 * cols), 99.0f);
      detail::multiply_words<Dot, half, 2, true>(depth, strip.data() + part * half * 16, 1, panels.data(), stride,
                                                 tile.data());
      for (Index i = 0; i < half; ++i) {
        const auto row = strip_row(strip, part * half + i, depth);
        for (Index j = 0; j < 2 * cols; ++j) {
          const float* column = panels.data() + j / cols * stride + j % cols;
          const float expected = expected_sum<Dot>(row.data(), 1, column, cols, depth);
          ASSERT_TRUE(same_bits(tile[static_cast<std::size_t>(i * 2 * cols + j)], expected)) << depth << ' ' << i;
        }
      }
    }
  }
}

TYPED_TEST(GemmDot, PanelsSideBySideAndChunksAddUp) {
  using Dot = TypeParam;
  constexpr Index cols = detail::gemm_cols<float>, depth = 900, ld = depth + 3, stride = depth * cols + 5;
  const auto x = random_words(2 * ld, 3, pairs<Dot>), w = random_words(2 * stride, 4, pairs<Dot>);
  std::vector<float> tile(static_cast<std::size_t>(4 * cols), 99.0f);
  detail::multiply_words<Dot, 2, 2, false>(768, x.data(), ld, w.data(), stride, tile.data());
  detail::multiply_words<Dot, 2, 2, false>(depth - 768, x.data() + 768, ld, w.data() + 768 * cols, stride,
                                           detail::TileOut<float>(tile.data(), 0, nullptr, true));
  for (Index i = 0; i < 2; ++i) {
    for (Index j = 0; j < 2 * cols; ++j) {
      const float* column = w.data() + j / cols * stride + j % cols;
      const float expected = expected_sum<Dot>(x.data() + i * ld, 1, column, cols, depth);
      ASSERT_TRUE(same_bits(tile[static_cast<std::size_t>(i * 2 * cols + j)], expected)) << i << ' ' << j;
    }
  }
}

}  // namespace
