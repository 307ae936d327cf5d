#include "aulos/core/philox.hpp"

#include <gtest/gtest.h>

namespace {

using Block = std::array<std::uint32_t, 4>;

// The known-answer vectors that Random123 publishes (kat_vectors, philox4x32 10).
TEST(PhiloxTest, KnownAnswers) {
  EXPECT_EQ(aulos::philox4x32({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(aulos::philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(aulos::philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(PhiloxTest, IsAConstantExpression) { static_assert(aulos::philox4x32({0, 0, 0, 0}, {0, 0})[0] == 0x6627e8d5); }

TEST(PhiloxTest, EveryWordOfCounterAndKeyCounts) {
  const Block zero = aulos::philox4x32({0, 0, 0, 0}, {0, 0});
  for (std::size_t word = 0; word < 4; ++word) {
    Block counter{};
    counter[word] = 1;
    EXPECT_NE(aulos::philox4x32(counter, {0, 0}), zero);
  }
  EXPECT_NE(aulos::philox4x32({0, 0, 0, 0}, {1, 0}), zero);
  EXPECT_NE(aulos::philox4x32({0, 0, 0, 0}, {0, 1}), zero);
}

}  // namespace
