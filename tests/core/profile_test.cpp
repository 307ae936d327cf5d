#include "aulos/core/profile.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace {

using aulos::ProfileRecord;

TEST(Profile, CostsPerElement) {
  const aulos::Cost cost = aulos::cost_per_element<double>(1000, 3, 2);
  EXPECT_EQ(cost.flops, 3000);
  EXPECT_EQ(cost.bytes, 16000);
  EXPECT_EQ(cost.scratch, 0u);
  EXPECT_EQ(aulos::cost_per_element<float>(aulos::Index{1} << 40, 1, 1).bytes, 4398046511104.0);
}

TEST(Profile, AddsUpByOperationSlowestFirst) {
  const std::string copy = "linear";  // another address, the same text
  const std::vector<ProfileRecord> records{
      {"linear", "a", 1, 10, 100}, {"softmax", "a", 5, 1, 2}, {copy.c_str(), "b", 2, 20, 200}, {"gelu", "", 0.5, 3, 4}};
  const auto rows = aulos::summarise(records);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].operation, "softmax");
  EXPECT_EQ(rows[0].calls, 1);
  EXPECT_EQ(rows[1].operation, "linear");
  EXPECT_EQ(rows[1].calls, 2);
  EXPECT_EQ(rows[1].seconds, 3);
  EXPECT_EQ(rows[1].flops, 30);
  EXPECT_EQ(rows[1].bytes, 300);
  EXPECT_EQ(rows[2].operation, "gelu");
  EXPECT_TRUE(aulos::summarise({}).empty());
}

}  // namespace
