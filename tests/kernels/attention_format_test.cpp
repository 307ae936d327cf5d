#include "aulos/kernels/attention_format.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <random>
#include <vector>

#include "aulos/core/dtype.hpp"

namespace {

using aulos::Index;
using namespace aulos::kernels;

template <class Format>
class AttentionFormat : public ::testing::Test {};
#if defined(__AVX512F__)
using Formats = ::testing::Types<tile::ExactFormat<float>, tile::ExactFormat<double>, tile::RoundedFormat,
                                 tile::PairFormat, tile::AmxFormat>;
#else
using Formats =
    ::testing::Types<tile::ExactFormat<float>, tile::ExactFormat<double>, tile::RoundedFormat, tile::PairFormat>;
#endif
TYPED_TEST_SUITE(AttentionFormat, Formats);

template <class T>
std::vector<T> numbers(Index n) {
  std::vector<T> x(static_cast<std::size_t>(n));
  std::mt19937 random(1);
  for (T& v : x) v = static_cast<T>(std::uniform_real_distribution<double>(-1, 1)(random));
  return x;
}

// What the format makes of x, and number n of a row of elements `stride` apart.
template <class Format, class T>
double held(T x) {
  if constexpr (std::is_same_v<Format, tile::ExactFormat<T>>) {
    return static_cast<double>(x);
  } else {
    return static_cast<double>(static_cast<float>(aulos::bf16(static_cast<float>(x))));
  }
}
template <class Format, class T>
double number(const T* elements, Index stride, Index n) {
  const T x = elements[n / Format::terms * stride];
  if constexpr (Format::terms == 1) {
    return static_cast<double>(x);
  } else {
    const std::uint32_t pair = std::bit_cast<std::uint32_t>(x);
    return static_cast<double>(std::bit_cast<float>(n % 2 == 0 ? pair << 16 : pair & 0xffff0000u));
  }
}

constexpr auto nothing_ahead = [](Index) {};

TYPED_TEST(AttentionFormat, PacksQueries) {
  using Format = TypeParam;
  using T = typename Format::Number;
  constexpr Index W = tile::panel<T>, first = 3, n = 7;
  for (const Index width : {Index{1}, W - 1, W, W + 1, 2 * W + 5, 4 * W + 3}) {
    const auto from = numbers<T>(n * (width + 2));
    std::vector<T> to(static_cast<std::size_t>(Format::query_rows * tile::round_up<T>(Format::elements(width))), T(77));
    Format::pack_queries(to.data(), first, from.data(), width + 2, n, width, T(2));
    for (Index r = 0; r < n; ++r) {
      for (Index c = 0; c < width; ++c) {
        const Index element = c / Format::terms;
        const T* at = to.data() + element / W * W * Format::query_rows + (first + r) * W + element % W;
        ASSERT_EQ(number<Format>(at, 0, c % Format::terms),
                  held<Format>(T(2) * from[static_cast<std::size_t>(r * (width + 2) + c)]))
            << width << ", " << r << ", " << c;
      }
    }
    EXPECT_EQ(to[static_cast<std::size_t>((first - 1) * W)], T(77));
    EXPECT_EQ(to[static_cast<std::size_t>((first + n) * W)], T(77));
  }
}

TYPED_TEST(AttentionFormat, PacksKeys) {
  using Format = TypeParam;
  using T = typename Format::Number;
  constexpr Index W = tile::panel<T>, L = tile::lanes<T>;
  for (const Index width : {Index{1}, Index{2}, L - 1, L, 3 * W + 5, 9 * L + 1}) {
    for (const Index n : {Index{1}, L - 1, L, L + 1, W - 3}) {
      const Index first = W - n;
      const auto from = numbers<T>(n * (width + 2));
      std::vector<T> to(static_cast<std::size_t>(W * Format::elements(width)), T(77));
      Format::pack_keys(to.data(), first, from.data(), width + 2, n, width, nothing_ahead);
      for (Index r = 0; r < n; ++r) {
        for (Index c = 0; c < width; ++c) {
          ASSERT_EQ(number<Format>(to.data() + first + r, W, c),
                    held<Format>(from[static_cast<std::size_t>(r * (width + 2) + c)]))
              << width << ", " << n << ", " << r << ", " << c;
        }
      }
      EXPECT_EQ(to[static_cast<std::size_t>(first - 1)], T(77));
    }
  }
}

// In two parts, of which the second may begin within a pair; what completes the last pair is 0.
TYPED_TEST(AttentionFormat, PacksValues) {
  using Format = TypeParam;
  using T = typename Format::Number;
  constexpr Index W = tile::panel<T>, L = tile::lanes<T>, capacity = Format::elements(tile::key_rows);
  for (const Index width : {Index{1}, L, W - 1, W, 2 * W + 3}) {
    for (const Index cut : {0, 1, 2, 5}) {
      const Index n = 9, stride = width + 1;
      const auto from = numbers<T>(n * stride);
      std::vector<T> to(static_cast<std::size_t>(tile::round_up<T>(width) * capacity), T(77));
      Format::pack_values(to.data(), 0, from.data(), stride, cut, width, nothing_ahead);
      Format::pack_values(to.data(), cut, from.data() + cut * stride, stride, n - cut, width, nothing_ahead);
      for (Index c = 0; c < width; ++c) {
        const T* column = to.data() + c / W * W * capacity + c % W;
        for (Index r = 0; r < n; ++r) {
          ASSERT_EQ(number<Format>(column, W, r), held<Format>(from[static_cast<std::size_t>(r * stride + c)]))
              << width << ", " << cut << ", " << r << ", " << c;
        }
        if (Format::terms == 2) {
          EXPECT_EQ(number<Format>(column, W, n), 0.0);
        }
      }
    }
  }
}

TYPED_TEST(AttentionFormat, StoresWeightsAndMultiplies) {
  using Format = TypeParam;
  using T = typename Format::Number;
  constexpr Index W = tile::panel<T>, L = tile::lanes<T>;
  const auto x = numbers<T>(2 * W);
  std::vector<T> row(static_cast<std::size_t>(2 * W), T(0));
  const auto at = [&](Index i) { return aulos::simd::load(x.data() + i); };
  Format::store_weights(row.data(), 0, at(0), at(L));
  Format::store_weights(row.data(), W, at(W));
  for (Index j = 0; j < W + L; ++j) {
    ASSERT_EQ(number<Format>(row.data(), 1, j), held<Format>(x[static_cast<std::size_t>(j)])) << j;
  }
  const auto weights = aulos::simd::load(row.data());
  const auto sum = Format::dot(weights, weights, tile::Batch<T>(T(3)));
  for (Index l = 0; l < L; ++l) {
    double expected = 3;
    for (Index n = 0; n < Format::terms; ++n) {
      expected += std::pow(held<Format>(x[static_cast<std::size_t>(l * Format::terms + n)]), 2);
    }
    EXPECT_NEAR(static_cast<double>(sum.get(l)), expected, 1e-6) << l;
  }
}

#if defined(__AVX512F__)
// What tiles read beyond the numbers is zero.
TEST(AttentionAmxFormat, FillsWholeTiles) {
  using Format = tile::AmxFormat;
  constexpr Index W = tile::panel<float>, width = 37, words = 32, capacity = Format::elements(tile::key_rows);
  EXPECT_EQ(Format::elements(width), words);
  const auto from = numbers<float>(7 * width);
  std::vector<float> q(static_cast<std::size_t>(Format::query_rows * W), 77.0f);
  Format::pack_queries(q.data(), 0, from.data(), width, 7, width, 1.0f);
  std::vector<float> k(static_cast<std::size_t>(words * W), 77.0f);
  Format::pack_keys(k.data(), 0, from.data(), width, 7, width, nothing_ahead);
  std::vector<float> v(static_cast<std::size_t>(2 * capacity * W), 77.0f);
  Format::pack_values(v.data(), 32, from.data(), width, 7, width, nothing_ahead);
  for (Index w = 19; w < words; ++w) {
    for (Index r = 0; r < 7; ++r) EXPECT_EQ(q[static_cast<std::size_t>(r * W + w)], 0.0f) << w;
    for (Index j = 0; j < W; ++j) EXPECT_EQ(k[static_cast<std::size_t>(w * W + j)], 0.0f) << w;
  }
  for (Index pair = 20; pair < 32; ++pair) {
    for (const Index c : {0, 31, 32, 37, 63}) {
      EXPECT_EQ(v[static_cast<std::size_t>(c / W * W * capacity + pair * W + c % W)], 0.0f) << pair << ' ' << c;
    }
  }
  EXPECT_EQ(v[static_cast<std::size_t>(32 * W)], 77.0f);
}
#endif

}  // namespace
