#include "aulos/kernels/attention_mask.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <vector>

namespace {

using aulos::Index;
using namespace aulos::kernels;

// What a mask says of one pair, read from each lane in turn.
template <class T, class Mask>
bool kept(const Mask& mask, Index b, Index h, Index i, Index j, Index nk) {
  bool answer = false;
  for (Index lane = 0; lane < aulos::simd::lanes<T> && lane <= j; ++lane) {
    const Keys<T> keys{j - lane, std::min(aulos::simd::lanes<T>, nk - (j - lane))};
    const auto x = aulos::simd::select(mask(b, h, i, keys), aulos::simd::Batch<T>(T(1)), aulos::simd::Batch<T>(T(0)));
    const bool here = x.get(lane) != T(0);
    EXPECT_TRUE(lane == 0 || here == answer) << i << " " << j << " lane " << lane;
    answer = here;
  }
  return answer;
}

// The mask against `keep`, lane by lane, and its block() against all pairs of the block.
template <class Mask, class Keep>
void expect_mask(const Mask& mask, const Keep& keep, Index nq = 9, Index nk = 37) {
  for (Index b = 0; b < 2; ++b) {
    for (Index h = 0; h < 2; ++h) {
      for (Index i = 0; i < nq; ++i) {
        for (Index j = 0; j < nk; ++j) {
          ASSERT_EQ((kept<float>(mask, b, h, i, j, nk)), keep(b, h, i, j)) << i << " " << j;
          ASSERT_EQ((kept<double>(mask, b, h, i, j, nk)), keep(b, h, i, j)) << i << " " << j;
        }
      }
      for (Index i0 = 0; i0 < nq; ++i0) {
        for (Index i1 = i0 + 1; i1 <= nq; i1 += 3) {
          for (Index j0 = 0; j0 < nk; j0 += 2) {
            for (Index j1 = j0 + 1; j1 <= nk; j1 += 5) {
              Index count = 0;
              for (Index i = i0; i < i1; ++i) {
                for (Index j = j0; j < j1; ++j) count += keep(b, h, i, j);
              }
              const Visible visible = visible_block(mask, b, h, i0, i1, j0, j1);
              const Index pairs = (i1 - i0) * (j1 - j0);
              const bool tight = std::is_same_v<Mask, Causal> || std::is_same_v<Mask, SlidingWindow>;
              ASSERT_TRUE(visible != Visible::none || count == 0) << i0 << " " << i1 << " " << j0 << " " << j1;
              ASSERT_TRUE(visible != Visible::all || count == pairs) << i0 << " " << i1 << " " << j0 << " " << j1;
              ASSERT_TRUE(!tight || visible != Visible::some || count < pairs) << i0 << " " << i1 << " " << j0;
            }
          }
        }
      }
    }
  }
}

TEST(AttentionMask, KeepsWhatItSays) {
  expect_mask(NoMask{}, [](Index, Index, Index, Index) { return true; });
  for (const Index offset : {-20, -3, 0, 5, 28, 100}) {
    expect_mask(Causal{offset}, [&](Index, Index, Index i, Index j) { return j <= i + offset; });
    expect_mask(SlidingWindow{3, 2, offset},
                [&](Index, Index, Index i, Index j) { return j >= i + offset - 3 && j <= i + offset + 2; });
    expect_mask(SlidingWindow{0, 0, offset}, [&](Index, Index, Index i, Index j) { return j == i + offset; });
  }
  std::mt19937 random(3);
  std::vector<std::uint8_t> flags(2 * 2 * 9 * 37);
  for (auto& x : flags) x = static_cast<std::uint8_t>(random() % 3 == 0 ? 0 : random() % 255 + 1);
  for (Index j = 10; j < 20; ++j) flags[static_cast<std::size_t>(j)] = 0, flags[static_cast<std::size_t>(37 + j)] = 1;
  auto flag = [&](Index at) { return flags[static_cast<std::size_t>(at)] != 0; };
  expect_mask(KeyMask{flags.data(), 37, KeyFlag::keep},
              [&](Index b, Index, Index, Index j) { return flag(b * 37 + j); });
  expect_mask(KeyMask{flags.data(), 0, KeyFlag::drop}, [&](Index, Index, Index, Index j) { return !flag(j); });
  expect_mask(PairMask{flags.data(), 2 * 9 * 37, 9 * 37, 37},
              [&](Index b, Index h, Index i, Index j) { return flag(((b * 2 + h) * 9 + i) * 37 + j); });
  expect_mask(PairMask{flags.data(), 0, 37, 0}, [&](Index, Index h, Index, Index j) { return flag(h * 37 + j); });
  std::vector<std::int32_t> query(18), key(74);
  for (auto& x : query) x = static_cast<std::int32_t>(random() % 3);
  for (auto& x : key) x = static_cast<std::int32_t>(random() % 3);
  expect_mask(SegmentMask{query.data(), key.data(), 9, 37}, [&](Index b, Index, Index i, Index j) {
    return query[static_cast<std::size_t>(b * 9 + i)] == key[static_cast<std::size_t>(b * 37 + j)];
  });
  expect_mask(MaskBoth{Causal{12}, KeyMask{flags.data(), 37, KeyFlag::keep}},
              [&](Index b, Index, Index i, Index j) { return j <= i + 12 && flag(b * 37 + j); });
  expect_mask(MaskBoth{NoMask{}, SlidingWindow{4, 4, 0}},
              [](Index, Index, Index i, Index j) { return std::abs(i - j) <= 4; });
}

}  // namespace
