#include "aulos/kernels/attention_sides.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace {

using aulos::Index;
using namespace aulos::kernels;

TEST(AttentionSides, RowsOfBothLayouts) {
  float memory[1];
  const auto tokens = tokens_major(memory, 5, 3, 4);  // [2, 5, 3, 4]
  EXPECT_EQ(tokens.at(1, 2, 1) - memory, ((1 * 5 + 2) * 3 + 1) * 4);
  const auto heads = heads_major(memory, 5, 3, 4);  // [2, 3, 5, 4]
  EXPECT_EQ(heads.at(1, 2, 1) - memory, ((1 * 3 + 1) * 5 + 2) * 4);
  EXPECT_TRUE(tokens);
  EXPECT_FALSE(HeadRows<float>{});
}

struct Piece {
  std::size_t side;
  Index local, offset, count;
  bool operator==(const Piece&) const = default;
};

std::vector<Piece> runs(std::vector<Index> lengths, Index first, Index n) {
  std::vector<AttentionSide<float>> sides(lengths.size());
  for (std::size_t s = 0; s < lengths.size(); ++s) sides[s].nk = lengths[s];
  std::vector<Piece> all;
  for_each_run(std::span<const AttentionSide<float>>(sides), &AttentionSide<float>::nk, first, n,
               [&](std::size_t s, Index local, Index offset, Index count) {
                 all.push_back({s, local, offset, count});
               });
  return all;
}

TEST(AttentionSides, RunsOfTheJointSequence) {
  EXPECT_EQ(runs({5, 3}, 0, 8), (std::vector<Piece>{{0, 0, 0, 5}, {1, 0, 5, 3}}));
  EXPECT_EQ(runs({5, 0, 3}, 4, 3), (std::vector<Piece>{{0, 4, 0, 1}, {2, 0, 1, 2}}));
  EXPECT_EQ(runs({5, 3}, 6, 1), (std::vector<Piece>{{1, 1, 0, 1}}));
  EXPECT_EQ(runs({0, 0}, 0, 0), std::vector<Piece>{});
  EXPECT_EQ(runs({}, 0, 0), std::vector<Piece>{});
}

TEST(AttentionSides, CountsAndGroups) {
  std::vector<AttentionSide<double>> sides(2);
  sides[0].nq = 3, sides[0].nk = 4, sides[1].nk = 5;
  EXPECT_EQ(count_queries(std::span<const AttentionSide<double>>(sides)), 3);
  EXPECT_EQ(count_keys(std::span<const AttentionSide<double>>(sides)), 9);
  EXPECT_EQ((AttentionShape{1, 8, 2, 4, 4, 1.0}.heads_per_group()), 4);
  EXPECT_EQ((AttentionShape{1, 0, 0, 4, 4, 1.0}.heads_per_group()), 0);
}

TEST(AttentionSides, BundlesAndIslands) {
  const auto shape = [](Index heads, Index groups, Index value_groups) {
    return AttentionShape{1, heads, groups, 4, 4, 1.0, value_groups};
  };
  EXPECT_EQ((AttentionShape{1, 8, 2, 4, 4, 1.0}.value_groups), 2);
  EXPECT_EQ(shape(12, 4, 4).heads_per_bundle(), 3);
  EXPECT_EQ(shape(12, 4, 4).heads_per_island(), 3);
  EXPECT_EQ(shape(12, 12, 6).bundles(), 12);  // 1 head to a key, 2 to a value
  EXPECT_EQ(shape(12, 12, 6).islands(), 6);
  EXPECT_EQ(shape(12, 4, 6).heads_per_bundle(), 1);  // 3 to a key, 2 to a value
  EXPECT_EQ(shape(12, 4, 6).heads_per_island(), 6);
  EXPECT_EQ(shape(0, 1, 2).bundles(), 0);
  EXPECT_EQ(shape(0, 0, 0).islands(), 0);
}

}  // namespace
