// The products by tiles, or by what stands for them, of whole numbers: their sums are exact in any order.
#include "aulos/kernels/attention_amx.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <vector>

namespace {

#if defined(__AVX512F__)
using aulos::Index;
using namespace aulos::kernels;

constexpr Index W = tile::panel<float>, S = tile::score_stride<float>;

float pair_of(Index low, Index high) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(static_cast<float>(low)) >> 16 |
                              (std::bit_cast<std::uint32_t>(static_cast<float>(high)) & 0xffff0000u));
}
Index left(Index i, Index k) { return (i * 3 + k) % 7 - 3; }
Index right(Index k, Index j) { return (k * 5 + j * 2) % 9 - 4; }

std::vector<float> filled(Index count) { return std::vector<float>(static_cast<std::size_t>(count), 77.0f); }

class AttentionAmx : public ::testing::Test {
 protected:
  void SetUp() override { aulos::request_tiles(); }

  const tile::Panels<float> panels_ = tile::visible_panels<float>(Causal{0}, 0, 0, 0, 130, 0, 140);
  const aulos::simd::TileScope scope_;
};

TEST_F(AttentionAmx, Scores) {
  for (const Index words : {0, 16, 48}) {
    for (const Index rows : {1, 16, 17, 32, 33, 50}) {
      constexpr Index capacity = 64;
      auto a = filled((words + W) * capacity), columns = filled(tile::key_rows * words), s = filled(capacity * S);
      for (Index w = 0; w < words; ++w) {
        for (Index i = 0; i < rows; ++i) {
          const Index at = w / W * W * capacity + i * W + w % W;
          a[static_cast<std::size_t>(at)] = pair_of(left(i, 2 * w), left(i, 2 * w + 1));
        }
        for (Index j = 0; j < tile::key_rows; ++j) {
          const Index at = j / W * W * words + w * W + j % W;
          columns[static_cast<std::size_t>(at)] = pair_of(right(2 * w, j), right(2 * w + 1, j));
        }
      }
      std::vector<aulos::simd::Batch<float>> top(static_cast<std::size_t>(rows), aulos::simd::Batch<float>(-5.0f));
      Index calls = 0;
      tile::amx_score_product(s.data(), a.data(), capacity, rows, columns.data(), words, panels_, top.data(),
                              [&](const auto&) { ++calls; });
      EXPECT_GE(calls, panels_.size);
      for (Index i = 0; i < rows; ++i) {
        std::vector<float> most(16, -5.0f);
        for (const auto& p : panels_) {
          for (Index j = p.column; j < p.column + p.count; ++j) {
            Index expected = 0;
            for (Index k = 0; k < 2 * words; ++k) expected += left(i, k) * right(k, j);
            ASSERT_EQ(s[static_cast<std::size_t>(i * S + j)], static_cast<float>(expected)) << words << ' ' << i;
            float& x = most[static_cast<std::size_t>(j % 16)];
            if (p.whole()) x = std::max(x, static_cast<float>(expected));
          }
        }
        for (Index l = 0; l < 16; ++l) {
          EXPECT_EQ(top[static_cast<std::size_t>(i)].get(l), most[static_cast<std::size_t>(l)]) << words << ' ' << i;
        }
      }
    }
  }
}

TEST_F(AttentionAmx, WeightedValues) {
  constexpr Index capacity = 64, width = 40, pairs = tile::key_rows / 2;
  for (const Index rows : {1, 16, 17, 32, 50}) {
    auto w = filled(capacity * S), from = filled(2 * W * pairs), to = filled(2 * W * capacity);
    std::vector<float> factor(static_cast<std::size_t>(rows));
    for (Index i = 0; i < rows; ++i) {
      factor[static_cast<std::size_t>(i)] = static_cast<float>(i % 3);
      for (Index p = 0; p < pairs; ++p) {
        w[static_cast<std::size_t>(i * S + p)] = pair_of(left(i, 2 * p), left(i, 2 * p + 1));
      }
    }
    for (Index p = 0; p < pairs; ++p) {
      for (Index c = 0; c < 2 * W; ++c) {
        from[static_cast<std::size_t>(c / W * W * pairs + p * W + c % W)] =
            pair_of(right(2 * p, c), right(2 * p + 1, c));
      }
    }
    tile::amx_key_product(to.data(), capacity, w.data(), rows, from.data(), width, panels_, factor.data());
    for (Index i = 0; i < capacity; ++i) {
      if (i >= rows && i < (rows + 15) / 16 * 16) continue;
      for (Index c = 0; c < (i < rows ? width : 2 * W); ++c) {
        Index expected = i < rows ? 77 * (i % 3) : 77;
        for (const auto& p : panels_) {
          for (Index j = p.column; j < p.column + W && i < rows; ++j) expected += left(i, j) * right(j, c);
        }
        ASSERT_EQ(to[static_cast<std::size_t>(c / W * W * capacity + i * W + c % W)], static_cast<float>(expected))
            << rows << ' ' << i << ' ' << c;
      }
    }
  }
}
#else
TEST(AttentionAmx, NeedsPanelsOfTwoTiles) { EXPECT_FALSE(aulos::simd::has_tiles); }
#endif

}  // namespace
