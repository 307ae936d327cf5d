#include "aulos/io/metadata.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

using aulos::io::Metadata;

std::string keys_of(const Metadata& metadata) {
  std::string keys;
  for (const auto& [key, value] : metadata) keys += key + '=' + value + ' ';
  return keys;
}

TEST(Metadata, IsSortedWhateverTheOrder) {
  const Metadata metadata{{"b", "2"}, {"c", "3"}, {"a", "1"}, {"", "0"}};
  EXPECT_EQ(keys_of(metadata), "=0 a=1 b=2 c=3 ");
  EXPECT_EQ(metadata, (Metadata{{"c", "3"}, {"", "0"}, {"b", "2"}, {"a", "1"}}));
  EXPECT_EQ(metadata.size(), 4u);
  EXPECT_FALSE(metadata.empty());
  EXPECT_TRUE(Metadata().empty());
}

TEST(Metadata, FindsWhatIsThere) {
  const Metadata metadata{{"config", "{}"}, {"format", "pt"}};
  ASSERT_NE(metadata.find("format"), nullptr);
  EXPECT_EQ(*metadata.find("format"), "pt");
  EXPECT_EQ(metadata.at("config"), "{}");
  for (const char* absent : {"", "a", "configs", "d", "z"}) EXPECT_EQ(metadata.find(absent), nullptr) << absent;
  try {
    metadata.at("who");
    FAIL();
  } catch (const aulos::CheckpointError& error) {
    EXPECT_STREQ(error.what(), "the metadata has no key 'who'");
  }
}

TEST(Metadata, AddKeepsAndSetReplaces) {
  Metadata metadata{{"k", "first"}, {"k", "second"}};
  EXPECT_EQ(keys_of(metadata), "k=first ");
  EXPECT_FALSE(metadata.add("k", "third"));
  EXPECT_EQ(metadata.at("k"), "first");
  metadata.set("k", "fourth");
  metadata.set("a", "new");
  EXPECT_EQ(keys_of(metadata), "a=new k=fourth ");
}

TEST(Metadata, FromPairsInAnyOrderTheFirstOfEqualKeysCounts) {
  std::vector<Metadata::Pair> pairs{{"z", "1"}, {"a", "2"}, {"z", "3"}, {"a", "4"}, {"m", "5"}};
  EXPECT_EQ(keys_of(Metadata(std::move(pairs))), "a=2 m=5 z=1 ");
}

TEST(Metadata, MergeKeepsItsOwnValues) {
  Metadata metadata{{"b", "mine"}, {"d", "mine"}};
  metadata.merge({{"a", "other"}, {"b", "other"}, {"e", "other"}});
  EXPECT_EQ(keys_of(metadata), "a=other b=mine d=mine e=other ");
}

}  // namespace
