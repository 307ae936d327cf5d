#include "aulos/core/sorted_indices.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace {

using aulos::sorted_indices;

TEST(SortedIndices, OrdersByTheFunctionAndEqualOnesByIndex) {
  const std::vector<int> values{3, 1, 2, 1, 3, 0};
  const auto order =
      sorted_indices(values.size(), [&](std::uint32_t a, std::uint32_t b) { return values[a] < values[b]; });
  EXPECT_EQ(order, (std::vector<std::uint32_t>{5, 1, 3, 2, 0, 4}));
}

TEST(SortedIndices, OfManyEqualOnesIsTheIdentity) {
  const auto order = sorted_indices(1000, [](std::uint32_t, std::uint32_t) { return false; });
  for (std::uint32_t i = 0; i < 1000; ++i) ASSERT_EQ(order[i], i);
}

TEST(SortedIndices, OfNothingIsEmpty) {
  EXPECT_TRUE(sorted_indices(0, [](std::uint32_t, std::uint32_t) { return true; }).empty());
}

TEST(SortedIndices, AgreesWithCountingOnScrambledValues) {
  std::vector<std::uint32_t> values(5000);
  std::uint32_t state = 1;
  for (auto& value : values) value = (state = state * 1664525U + 1013904223U) >> 20;  // with repeats
  const auto order =
      sorted_indices(values.size(), [&](std::uint32_t a, std::uint32_t b) { return values[a] > values[b]; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const bool falls = values[order[i - 1]] > values[order[i]];
    ASSERT_TRUE(falls || (values[order[i - 1]] == values[order[i]] && order[i - 1] < order[i])) << i;
  }
}

}  // namespace
