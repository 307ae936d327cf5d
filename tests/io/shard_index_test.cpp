#include "aulos/io/shard_index.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "aulos/io/checkpoint.hpp"
#include "tests/io/files.hpp"

namespace aulos::io {
namespace {

using aulos_tests::contains;
using aulos_tests::error_of;
using aulos_tests::Folder;
using aulos_tests::raw;
using aulos_tests::safetensors;
using aulos_tests::write_file;
namespace fs = std::filesystem;

TEST(ShardIndex, NamesThatStayInTheFolder) {
  for (const char* good : {"a.safetensors", "sub/ok.safetensors", "a/b/c", "...", "..a", "a..", ".hidden", "a b",
                           "model-00001-of-00002.safetensors"}) {
    EXPECT_TRUE(is_plain_relative_path(good)) << good;
  }
  using namespace std::string_view_literals;
  for (const std::string_view bad :
       {""sv, "."sv, ".."sv, "../x"sv, "a/../../x"sv, "a/.."sv, "a/./b"sv, "/etc/passwd"sv, "a//b"sv, "a/"sv, "\\x"sv,
        "..\\x"sv, "a\\b"sv, "C:x"sv, "c:/x"sv, "a\0b"sv, "\0"sv}) {
    EXPECT_FALSE(is_plain_relative_path(bad)) << quote(bad);
  }
}

TEST(ShardIndex, ReadsFilesAndEntries) {
  const ShardIndex index = parse_shard_index(
      "i",
      R"({"metadata":{"total_size":7},"weight_map":{"x":"b.safetensors","y":"a.safetensors","z":"b.safetensors"},"extra":0})");
  EXPECT_EQ(index.files, (std::vector<std::string>{"b.safetensors", "a.safetensors"}));
  ASSERT_EQ(index.entries.size(), 3u);
  EXPECT_EQ(index.entries[1].first, "y");
  EXPECT_EQ(index.entries[1].second, 1u);
  EXPECT_EQ(index.entries[2].second, 0u);
}

TEST(ShardIndex, BadTextNamesTheFile) {
  const auto message = [](const char* text) { return error_of([&] { parse_shard_index("the-index", text); }); };
  EXPECT_EQ(message("[]"), "the-index: expected an object, got an array");
  EXPECT_EQ(message("{}"), "the-index: expected an object 'weight_map', got none");
  EXPECT_EQ(message(R"({"weight_map":[]})"), "the-index: expected an object 'weight_map', got an array");
  EXPECT_EQ(message(R"({"weight_map":{"x":3}})"), "the-index: entry 'x': expected the name of a shard, got an integer");
  EXPECT_TRUE(contains(message(R"({"weight_map":{"x":"a","x":"b"}})"), "the-index: byte 30: duplicate key 'x'"));
  EXPECT_TRUE(contains(message("{"), "the-index: byte 1: "));
}

// Shards that stand in a folder; the index's text is each test's own.
struct Shards : testing::Test {
  void SetUp() override {
    write_file(folder / "a.safetensors", one("x", {1.0f}));
    write_file(folder / "b.safetensors", one("y", {2.0f, 3.0f}));
  }
  static std::string one(const std::string& name, const std::vector<float>& values) {
    const std::string n = std::to_string(values.size());
    return safetensors(R"({"__metadata__":{"format":"pt","of":")" + name + R"("},")" + name +
                           R"(":{"dtype":"F32","shape":[)" + n + R"(],"data_offsets":[0,)" +
                           std::to_string(4 * values.size()) + "]}}",
                       raw(values));
  }
  std::string index(const std::string& map) {
    write_file(folder / "m.safetensors.index.json", R"({"metadata":{"total_size":1},"weight_map":)" + map + "}");
    return folder / "m.safetensors.index.json";
  }
  Folder folder;
};

TEST_F(Shards, OpenAsOneCheckpoint) {
  const std::string path = index(R"({"x":"a.safetensors","y":"b.safetensors"})");
  for (const Mode mode : {Mode::read, Mode::map}) {
    const Checkpoint checkpoint = Checkpoint::open(path, {.mode = mode});
    EXPECT_EQ(checkpoint.tensors().size(), 2u);
    EXPECT_EQ(checkpoint.values<float>("x"), std::vector<float>{1.0f});
    EXPECT_EQ(checkpoint.values<double>("y"), (std::vector<double>{2.0, 3.0}));
    EXPECT_EQ(checkpoint.is_mapped(), mode == Mode::map);
    EXPECT_EQ(checkpoint.metadata().at("of"), "x");
  }
}

TEST_F(Shards, SubfoldersAndSymbolicLinksAreTheOwnersBusiness) {
  fs::create_directory(folder / "blobs");
  fs::create_directory(folder / "snapshot");
  fs::rename(folder / "a.safetensors", folder / "blobs/0123");
  fs::create_symlink("../blobs/0123", folder / "snapshot/a.safetensors");
  write_file(folder / "snapshot/m.safetensors.index.json", R"({"weight_map":{"x":"a.safetensors"}})");
  EXPECT_EQ(Checkpoint::open(folder / "snapshot/m.safetensors.index.json").values<float>("x")[0], 1.0f);
  EXPECT_EQ(error_of([&] { Checkpoint::open(index(R"({"x":"snapshot/a.safetensors"})")); }), "");
}

TEST_F(Shards, NamesThatLeaveTheFolderAreListedBeforeAnythingIsOpened) {
  const std::string message = error_of([&] {
    Checkpoint::open(
        index(R"({"p":"../x.safetensors","q":"absent.safetensors","r":"/abs","s":"","t":"a/../../x","u":"a\u0000"})"));
  });
  for (const char* part :
       {"5 problems", "entry 'p': expected a shard inside the index's folder, got '../x.safetensors'", "entry 'r'",
        "entry 's'", "entry 't'", "entry 'u': expected a shard inside the index's folder, got 'a\\u{0000}'"}) {
    EXPECT_TRUE(contains(message, part)) << part << "\n" << message;
  }
  EXPECT_FALSE(contains(message, "absent.safetensors")) << message;
}

TEST_F(Shards, AllProblemsAtOnce) {
  write_file(folder / "c.safetensors", one("x", {9.0f}));
  write_file(folder / "broken.safetensors", "GGUF and so on");
  const std::string message = error_of([&] {
    Checkpoint::open(
        index(R"({"x":"a.safetensors","gone":"b.safetensors","x2":"c.safetensors","m":"absent.safetensors",)"
              R"("n":"broken.safetensors","y":"a.safetensors"})"));
  });
  for (const char* part : {"6 problems", "shard 'absent.safetensors': ", "No such file or directory",
                           "shard 'broken.safetensors': ", "a GGUF file",
                           "tensor 'x' is in two shards, 'a.safetensors' and 'c.safetensors'",
                           "tensor 'gone' is listed in shard 'b.safetensors', which lacks it",
                           "tensor 'x2' is listed in shard 'c.safetensors', which lacks it",
                           "tensor 'y' is listed in shard 'a.safetensors', but is in 'b.safetensors'"}) {
    EXPECT_TRUE(contains(message, part)) << part << "\n" << message;
  }
}

TEST_F(Shards, IndexThatNamesItself) {
  EXPECT_TRUE(
      contains(error_of([&] { Checkpoint::open(index(R"({"x":"m.safetensors.index.json"})")); }), "got JSON text"));
}

TEST_F(Shards, EmptyIndex) { EXPECT_EQ(Checkpoint::open(index("{}")).tensors().size(), 0u); }

TEST_F(Shards, ManyShardsHoldNoDescriptors) {
  std::string map;
  for (int i = 0; i < 3000; ++i) {
    const std::string name = "t" + std::to_string(i);
    write_file(folder / (name + ".safetensors"), one(name, {static_cast<float>(i)}));
    map += (i == 0 ? "{\"" : ",\"") + name + "\":\"" + name + ".safetensors\"";
  }
  const Checkpoint checkpoint = Checkpoint::open(index(map + "}"));
  EXPECT_LT(std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()), 200);
  EXPECT_EQ(checkpoint.values<float>("t2999")[0], 2999.0f);
  write_file(folder / "other", one("t7", {7.5f}));
  fs::rename(folder / "other", folder / "t7.safetensors");
  EXPECT_TRUE(contains(error_of([&] { checkpoint.values<float>("t7"); }),
                       "t7.safetensors: changed since its header was read, in tensor 't7'"));
}

}  // namespace
}  // namespace aulos::io
