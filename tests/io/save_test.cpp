#include "aulos/io/save.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <clocale>
#include <cstring>
#include <filesystem>
#include <locale>
#include <string>
#include <thread>
#include <vector>

#include "aulos/io/checkpoint.hpp"
#include "tests/io/faults.hpp"
#include "tests/io/files.hpp"

namespace aulos::io {
namespace {

using aulos_tests::as_bytes;
using aulos_tests::contains;
using aulos_tests::error_of;
using aulos_tests::faults;
using aulos_tests::Folder;
using aulos_tests::raw;
using aulos_tests::read_file;
using aulos_tests::safetensors;
using aulos_tests::write_file;
namespace fs = std::filesystem;

struct SaveTest : testing::Test {
  void TearDown() override { faults().reset(); }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()));
  }
  Folder folder;
};

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

const std::string three_bytes = "abc";
const std::string four_floats = raw<float>({1, 2, 3, 4});
const std::string two_doubles = raw<double>({5, 6});
const std::string two_halves = raw<std::uint16_t>({0x3c00, 0x4000});

std::vector<SaveTensor> some_tensors() {
  return {{"u8", Dtype::u8, {3}, as_bytes(three_bytes)},
          {"z", Dtype::f32, {2, 2}, as_bytes(four_floats)},
          {"half", Dtype::f16, {2}, as_bytes(two_halves)},
          {"a", Dtype::f32, {4}, as_bytes(four_floats)},
          {"double", Dtype::f64, {2}, as_bytes(two_doubles)},
          {"empty", Dtype::i64, {0, 7}, {}},
          {"scalar", Dtype::f32, {}, as_bytes(four_floats).subspan(0, 4)}};
}

TEST_F(SaveTest, WritesTheBytesOfTheFormat) {
  const std::vector<SaveTensor> tensors = {{"w", Dtype::bf16, {2}, as_bytes(two_halves)},
                                           {"v", Dtype::f32, {1}, as_bytes(four_floats).subspan(0, 4)}};
  const std::string header = R"({"__metadata__":{"format":"pt"},"v":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                             R"("w":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]}})";
  const std::string padded = header + std::string((64 - (8 + header.size()) % 64) % 64, ' ');
  EXPECT_EQ(text_of(serialize(tensors, {{"format", "pt"}})), safetensors(padded, raw<float>({1}) + two_halves));
}

TEST_F(SaveTest, OrdersByElementSizeThenNameAndAligns) {
  const std::vector<std::byte> bytes = serialize(some_tensors());
  const Checkpoint checkpoint = Checkpoint::from_bytes(bytes);
  std::vector<std::string> order;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    order.emplace_back(tensor.name);
    EXPECT_EQ(tensor.offset % (bits(tensor.dtype) / 8), 0) << tensor.name;
  }
  EXPECT_EQ(order, (std::vector<std::string>{"double", "empty", "a", "scalar", "z", "half", "u8"}));
  EXPECT_EQ(checkpoint.values<double>("z"), (std::vector<double>{1, 2, 3, 4}));
  EXPECT_EQ(checkpoint.values<float>("scalar"), std::vector<float>{1});
}

TEST_F(SaveTest, TheDataBeginsOnACacheLine) {
  for (std::size_t n = 0; n < 20; ++n) {
    const std::vector<std::byte> bytes = serialize({}, {{"k", std::string(n, 'v')}});
    EXPECT_EQ(bytes.size() % 64, 0u);
    EXPECT_EQ(Checkpoint::from_bytes(bytes).metadata().at("k"), std::string(n, 'v'));
  }
  EXPECT_EQ(text_of(serialize({})), safetensors("{}" + std::string(54, ' ')));
}

TEST_F(SaveTest, SavingWhatWasLoadedGivesTheSameBytes) {
  const Metadata metadata = {
      {"config", R"({"a":"b\n"})"}, {"quote\"backslash\\", "line\nbreak\x01"}, {"\xc3\xa9", "\xe2\x82\xac"}, {"", ""}};
  save(folder / "first", some_tensors(), metadata);
  const Checkpoint loaded = Checkpoint::open(folder / "first", {.mode = Mode::map});
  EXPECT_EQ(loaded.metadata(), metadata);
  std::vector<SaveTensor> again;
  for (const TensorInfo& tensor : loaded.tensors()) {
    again.push_back(
        {std::string(tensor.name), tensor.dtype, {tensor.shape.begin(), tensor.shape.end()}, loaded.view(tensor)});
  }
  save(folder / "second", again, loaded.metadata());
  EXPECT_EQ(read_file(folder / "first"), read_file(folder / "second"));
  EXPECT_EQ(text_of(serialize(again, loaded.metadata())), read_file(folder / "first"));
}

TEST_F(SaveTest, EveryDtypeAndOddNamesSurvive) {
  const std::string data(64, '\x5a');
  std::vector<SaveTensor> tensors;
  for (std::size_t i = 0; i < 22; ++i) {
    const auto dtype = static_cast<Dtype>(i);
    tensors.push_back({"t\n\"\\/\x1b" + std::to_string(i) + "\xf0\x9f\x8e\xb6",
                       dtype,
                       {2, 4},
                       as_bytes(data).subspan(0, static_cast<std::size_t>(bits(dtype)))});
  }
  tensors.push_back({"", Dtype::u8, {1}, as_bytes(data).subspan(0, 1)});
  const std::vector<std::byte> bytes = serialize(tensors);
  const Checkpoint checkpoint = Checkpoint::from_bytes(bytes);
  for (const SaveTensor& tensor : tensors) EXPECT_EQ(checkpoint.info(tensor.name).dtype, tensor.dtype);
}

TEST_F(SaveTest, FillGivesThePieces) {
  std::vector<float> values(200'001);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.25f;
  const std::vector<SaveTensor> tensors = {
      {"small", Dtype::f64, {2}}, {"large", Dtype::bf16, {3, 66'667}}, {"none", Dtype::f32, {0}}};
  Index next = 0;
  save(folder / "m", tensors, [&](Index tensor, Index offset, std::span<std::byte> destination) {
    if (tensor == 0) {
      std::memcpy(destination.data(), two_doubles.data(), destination.size());
      return;
    }
    ASSERT_EQ(tensor, 1);
    ASSERT_EQ(offset, next);
    next += static_cast<Index>(destination.size());
    convert(values.data() + offset / 2, Dtype::bf16, destination.data(), static_cast<Index>(destination.size()) / 2);
  });
  const Checkpoint checkpoint = Checkpoint::open(folder / "m");
  const std::vector<float> read = checkpoint.values<float>("large");
  ASSERT_EQ(read.size(), values.size());
  for (std::size_t i = 0; i < read.size(); ++i) ASSERT_EQ(read[i], static_cast<float>(bf16(values[i])));
  EXPECT_EQ(checkpoint.values<double>("small"), (std::vector<double>{5, 6}));
}

TEST_F(SaveTest, WhatFillThrowsLeavesTheOldFile) {
  write_file(folder / "m", "old");
  const std::vector<SaveTensor> tensors = {{"w", Dtype::f32, {4}}};
  EXPECT_THROW(save(folder / "m", tensors, [](Index, Index, std::span<std::byte>) { throw std::bad_alloc(); }),
               std::bad_alloc);
  EXPECT_EQ(read_file(folder / "m"), "old");
  EXPECT_EQ(files(), 1u);
}

TEST_F(SaveTest, RefusesWhatTheFormatCannotHold) {
  const auto message = [&](std::vector<SaveTensor> tensors, const Metadata& metadata = {}) {
    const std::string in_memory = error_of([&] { serialize(tensors, metadata); });
    const std::string in_file = error_of([&] { save(folder / "m", tensors, metadata); });
    EXPECT_EQ(in_memory.substr(in_memory.find(": ")), in_file.substr(in_file.find(": ")));
    EXPECT_EQ(files(), 0u);
    return in_memory;
  };
  const auto w = [&](std::string name, Dtype dtype, std::vector<Index> shape, std::size_t size) {
    return SaveTensor{std::move(name), dtype, std::move(shape), as_bytes(four_floats).subspan(0, size)};
  };
  EXPECT_TRUE(
      contains(message({w("w", Dtype::f32, {2}, 12)}), "tensor 'w': expected 8 bytes of data for F32 [2], got 12"));
  EXPECT_TRUE(contains(message({w("w", Dtype::f32, {2}, 8), w("w", Dtype::f64, {1}, 8)}), "the name 'w' occurs twice"));
  EXPECT_TRUE(contains(message({w("__metadata__", Dtype::f32, {2}, 8)}), "the name '__metadata__' is reserved"));
  EXPECT_TRUE(contains(message({w("a\xff", Dtype::f32, {2}, 8)}), "the name 'a\\xff' is not UTF-8"));
  EXPECT_TRUE(contains(message({w(std::string(65'537, 'n'), Dtype::f32, {2}, 8)}), "exceeds 65536 bytes"));
  EXPECT_TRUE(contains(message({w("w", Dtype::f32, {-1}, 0)}), "is negative or overflows"));
  EXPECT_TRUE(contains(message({w("w", Dtype::f32, {INT64_MAX, 4}, 0)}), "is negative or overflows"));
  EXPECT_TRUE(contains(message({w("w", Dtype::f4, {3}, 2)}), "F4 [3] is not a whole number of bytes"));
  EXPECT_TRUE(contains(message({w("w", Dtype::f32, std::vector<Index>(65, 1), 4)}), "more than 64 dimensions"));
  EXPECT_TRUE(contains(message({}, {{"k\x80", "v"}}), "the metadata key 'k\\x80' is not UTF-8"));
  EXPECT_TRUE(contains(message({}, {{"k", "\xc3"}}), "the metadata value '\\xc3' is not UTF-8"));
  EXPECT_TRUE(
      contains(message({}, {{"k", std::string(100'000'000, 'v')}}), "expected a header of at most 100000000 bytes"));
}

TEST_F(SaveTest, SavesOverTheFileThatIsMapped) {
  write_file(folder / "m", text_of(serialize(some_tensors())));
  fs::create_symlink("m", folder / "link");
  fs::create_hard_link(folder / "m", folder / "hard");
  for (const char* name : {"m", "./m", "link", "hard"}) {
    const Checkpoint loaded = Checkpoint::open(folder / "m", {.mode = Mode::map});
    const std::vector<float> before = loaded.values<float>("z");
    std::vector<SaveTensor> tensors;
    for (const TensorInfo& tensor : loaded.tensors()) {
      tensors.push_back(
          {std::string(tensor.name), tensor.dtype, {tensor.shape.begin(), tensor.shape.end()}, loaded.view(tensor)});
    }
    faults().write_error = ENOSPC;
    EXPECT_TRUE(contains(error_of([&] { save(folder / name, tensors); }), "No space left on device"));
    faults().reset();
    save(folder / name, tensors);
    EXPECT_EQ(loaded.values<float>("z"), before);
    EXPECT_EQ(Checkpoint::open(folder / name).values<float>("z"), before);
    EXPECT_EQ(files(), 3u);
  }
}

// kill -9 at fifty moments: always a whole file, the old one or the new one.
TEST_F(SaveTest, KilledSavesLeaveAWholeFile) {
  const std::string ones(1'000'000, '\x01');
  const std::string twos(1'000'000, '\x02');
  const std::vector<SaveTensor> a = {{"w", Dtype::u8, {1'000'000}, as_bytes(ones)}};
  const std::vector<SaveTensor> b = {{"w", Dtype::u8, {1'000'000}, as_bytes(twos)}};
  save(folder / "m", a);
  for (int i = 0; i < 50; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (;;) save(folder / "m", b), save(folder / "m", a);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(i * 97 % 3000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const std::vector<std::uint8_t> values = Checkpoint::open(folder / "m").values<std::uint8_t>("w");
    ASSERT_EQ(values, std::vector<std::uint8_t>(1'000'000, values[0]));
  }
  save(folder / "m", a);
  EXPECT_EQ(files(), 1u);
}

struct DecimalComma : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

TEST_F(SaveTest, LocaleChangesNothing) {
  const std::string data(1'000'000, 'x');
  const std::vector<SaveTensor> tensors = {{"w", Dtype::u8, {1'000, 1'000}, as_bytes(data)}};
  const std::string expected = text_of(serialize(tensors, {{"k", "0.5"}}));
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new DecimalComma));
  const std::vector<std::byte> bytes = serialize(tensors, {{"k", "0.5"}});
  const std::string shape = shape_text(Checkpoint::from_bytes(bytes).info("w").shape);
  std::locale::global(before);
  EXPECT_EQ(text_of(bytes), expected);
  EXPECT_EQ(shape, "[1000, 1000]");
}

}  // namespace
}  // namespace aulos::io
