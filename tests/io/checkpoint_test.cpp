#include "aulos/io/checkpoint.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/io/faults.hpp"
#include "tests/io/files.hpp"
#include "tests/support/sanitized.hpp"

namespace aulos::io {
namespace {

using aulos_tests::as_bytes;
using aulos_tests::contains;
using aulos_tests::error_of;
using aulos_tests::faults;
using aulos_tests::Folder;
using aulos_tests::raw;
using aulos_tests::safetensors;
using aulos_tests::write_file;
namespace fs = std::filesystem;

struct CheckpointTest : testing::Test {
  void TearDown() override { faults().reset(); }
  Folder folder;
};

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape, std::size_t begin,
                  std::size_t end) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":[)" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}

std::string one(const std::string& name, const std::string& dtype, const std::string& shape, const std::string& data) {
  return safetensors("{" + entry(name, dtype, shape, 0, data.size()) + "}", data);
}

// Elements 1, 2, 3 in every dtype that has them, as bits.
struct Sample {
  const char* dtype;
  std::string data;
  bool is_float;
  bool is_integer;
};

std::vector<Sample> samples() {
  return {{"F64", raw<double>({1, 2, 3}), true, false},
          {"F32", raw<float>({1, 2, 3}), true, false},
          {"F16", raw<std::uint16_t>({0x3c00, 0x4000, 0x4200}), true, false},
          {"BF16", raw<std::uint16_t>({0x3f80, 0x4000, 0x4040}), true, false},
          {"F8_E4M3", raw<std::uint8_t>({0x38, 0x40, 0x44}), true, false},
          {"F8_E5M2", raw<std::uint8_t>({0x3c, 0x40, 0x42}), true, false},
          {"I8", raw<std::int8_t>({1, 2, 3}), false, true},
          {"U8", raw<std::uint8_t>({1, 2, 3}), false, true},
          {"I16", raw<std::int16_t>({1, 2, 3}), false, true},
          {"U16", raw<std::uint16_t>({1, 2, 3}), false, true},
          {"I32", raw<std::int32_t>({1, 2, 3}), false, true},
          {"U32", raw<std::uint32_t>({1, 2, 3}), false, true},
          {"I64", raw<std::int64_t>({1, 2, 3}), false, true},
          {"U64", raw<std::uint64_t>({1, 2, 3}), false, true},
          {"C64", raw<float>({1, 0, 2, 0, 3, 0}), false, false},
          {"F8_E8M0", raw<std::uint8_t>({127, 128, 129}), false, false},
          {"F8_E4M3FNUZ", raw<std::uint8_t>({1, 2, 3}), false, false}};
}

class CheckpointDtype : public testing::TestWithParam<Sample> {};

// The data starts at every address modulo 8, in memory, read and mapped.
TEST_P(CheckpointDtype, ReadsFromEveryAlignment) {
  const Sample& sample = GetParam();
  const Folder folder;
  for (std::size_t shift = 0; shift < 8; ++shift) {
    const std::string text =
        "{" + entry("w", sample.dtype, "[3]", 0, sample.data.size()) + "}" + std::string(shift, ' ');
    const std::string bytes = safetensors(text, sample.data);
    const std::string path = folder / "w.safetensors";
    write_file(path, bytes);
    for (const Checkpoint& checkpoint : {Checkpoint::from_bytes(as_bytes(bytes)), Checkpoint::open(path),
                                         Checkpoint::open(path, {.mode = Mode::map})}) {
      std::string copy(sample.data.size(), '?');
      checkpoint.read_bytes(checkpoint.info("w"), std::as_writable_bytes(std::span(copy)));
      EXPECT_EQ(copy, sample.data);
      if (sample.is_float) {
        float part[2] = {};
        checkpoint.read(checkpoint.info("w"), 1, part, 2);
        EXPECT_EQ(part[0], 2);
        EXPECT_EQ(part[1], 3);
        EXPECT_EQ(checkpoint.values<float>("w"), (std::vector<float>{1, 2, 3}));
        EXPECT_EQ(checkpoint.values<double>("w"), (std::vector<double>{1, 2, 3}));
      } else {
        EXPECT_TRUE(contains(error_of([&] { checkpoint.values<float>("w"); }),
                             "tensor 'w': can't read " + std::string(sample.dtype) + " [3] as F32"));
      }
      if (sample.is_integer) {
        std::int64_t last = 0;
        checkpoint.read(checkpoint.info("w"), 2, &last, 1);
        EXPECT_EQ(last, 3);
        EXPECT_EQ(checkpoint.values<std::int64_t>("w"), (std::vector<std::int64_t>{1, 2, 3}));
      } else {
        EXPECT_NE(error_of([&] { checkpoint.values<std::int64_t>("w"); }), "");
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Each, CheckpointDtype, testing::ValuesIn(samples()),
                         [](const auto& param_info) { return std::string(param_info.param.dtype); });

TEST_F(CheckpointTest, MixedTensorsBehindOneAnother) {
  std::string data = raw<std::uint8_t>({1, 2, 3}) + raw<float>({1, 2, 3, 4, 5}) + raw<double>({0.5, -0.25}) +
                     raw<std::uint16_t>({0x3f80, 0x4000, 0x4040});
  const std::string bytes =
      safetensors("{" + entry("u", "U8", "[3]", 0, 3) + "," + entry("f", "F32", "[5]", 3, 23) + "," +
                      entry("d", "F64", "[2]", 23, 39) + "," + entry("b", "BF16", "[3]", 39, 45) + "}",
                  data);
  write_file(folder / "m", bytes);
  for (const Mode mode : {Mode::read, Mode::map}) {
    const Checkpoint checkpoint = Checkpoint::open(folder / "m", {.mode = mode});
    EXPECT_EQ(checkpoint.values<float>("f"), (std::vector<float>{1, 2, 3, 4, 5}));
    EXPECT_EQ(checkpoint.values<double>("d"), (std::vector<double>{0.5, -0.25}));
    EXPECT_EQ(checkpoint.values<float>("b"), (std::vector<float>{1, 2, 3}));
    EXPECT_EQ(checkpoint.values<std::uint8_t>("u"), (std::vector<std::uint8_t>{1, 2, 3}));
  }
}

TEST_F(CheckpointTest, PayloadsOfNanAreKept) {
  const std::vector<std::uint32_t> bits = {0x7f800001, 0xffc12345, 0x7f800000, 0x80000001};
  const std::string bytes = one("w", "F32", "[4]", raw(bits));
  const std::vector<float> values = Checkpoint::from_bytes(as_bytes(bytes)).values<float>("w");
  EXPECT_EQ(std::memcmp(values.data(), bits.data(), 16), 0);
}

TEST_F(CheckpointTest, LargeTensorsAreConvertedInPieces) {
  std::vector<double> values(100'003);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i) + 0.5;
  write_file(folder / "m", one("w", "F64", "[100003]", raw(values)));
  faults().max_transfer = 10'007;
  faults().interrupts = true;
  const std::vector<float> read = Checkpoint::open(folder / "m").values<float>("w");
  ASSERT_EQ(read.size(), values.size());
  for (std::size_t i = 0; i < read.size(); ++i) ASSERT_EQ(static_cast<double>(read[i]), values[i]);
}

TEST_F(CheckpointTest, PartsAreThoseOfTheWhole) {
  std::vector<double> values(100'003);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i) + 0.5;
  write_file(folder / "m", one("w", "F64", "[100003]", raw(values)));
  for (const Mode mode : {Mode::read, Mode::map}) {
    const Checkpoint file = Checkpoint::open(folder / "m", {.mode = mode});
    for (const auto& [first, count] :
         {std::pair<Index, Index>{0, 100'003}, {1, 40'000}, {99'999, 4}, {50'000, 0}, {100'003, 0}}) {
      std::vector<float> part(static_cast<std::size_t>(count) + 1, -1);
      std::vector<double> same(static_cast<std::size_t>(count) + 1, -1);
      file.read(file.info("w"), first, part.data(), count);
      file.read(file.info("w"), first, same.data(), count);
      for (Index i = 0; i < count; ++i) {
        const auto at = static_cast<std::size_t>(i);
        ASSERT_EQ(static_cast<double>(part[at]), values[static_cast<std::size_t>(first + i)]);
        ASSERT_EQ(same[at], values[static_cast<std::size_t>(first + i)]);
      }
      EXPECT_EQ(part.back(), -1);
      EXPECT_EQ(same.back(), -1);
    }
  }
}

TEST_F(CheckpointTest, IntegersOutOfRangeAreNamed) {
  const std::string truth = one("w", "BOOL", "[3]", raw<std::uint8_t>({0, 1, 2}));
  EXPECT_TRUE(contains(error_of([&] { Checkpoint::from_bytes(as_bytes(truth)).values<std::int64_t>("w"); }),
                       "tensor 'w': element 2 of BOOL [3] is neither 0 nor 1"));
  const std::string large = one("w", "U64", "[2]", raw<std::uint64_t>({7, 1ull << 63}));
  EXPECT_TRUE(contains(error_of([&] { Checkpoint::from_bytes(as_bytes(large)).values<std::int64_t>("w"); }),
                       "tensor 'w': element 1 of U64 [2] exceeds 2^63 - 1"));
  const std::string negative = one("w", "I32", "[2]", raw<std::int32_t>({-7, INT32_MIN}));
  EXPECT_EQ(Checkpoint::from_bytes(as_bytes(negative)).values<std::int64_t>("w"),
            (std::vector<std::int64_t>{-7, INT32_MIN}));
}

TEST_F(CheckpointTest, UnknownNamesGetTheNearest) {
  const std::string bytes = one("fc1.weight", "F32", "[1]", raw<float>({1}));
  const Checkpoint checkpoint = Checkpoint::from_bytes(as_bytes(bytes), "the-file");
  EXPECT_EQ(error_of([&] { checkpoint.info("fc1.wieght"); }),
            "the-file: has no tensor 'fc1.wieght', the nearest is 'fc1.weight'");
  EXPECT_EQ(error_of([&] { checkpoint.info("embedding"); }), "the-file: has no tensor 'embedding'");
  EXPECT_EQ(checkpoint.find("fc1"), nullptr);
}

TEST_F(CheckpointTest, WrongRoomIsRefused) {
  const std::string bytes = one("w", "F32", "[2]", raw<float>({1, 2}));
  const Checkpoint checkpoint = Checkpoint::from_bytes(as_bytes(bytes));
  float values[3] = {7, 7, 7};
  EXPECT_TRUE(contains(error_of([&] { checkpoint.read(checkpoint.info("w"), values, 3); }),
                       "tensor 'w': expected room for 2 elements of F32 [2], got 3"));
  EXPECT_TRUE(contains(
      error_of([&] { checkpoint.read_bytes(checkpoint.info("w"), std::as_writable_bytes(std::span(values))); }),
      "expected room for 8 bytes, got 12"));
  for (const auto& part : {std::pair<Index, Index>{1, 2}, {-1, 1}, {0, -1}, {3, 0}, {INT64_MAX, 2}}) {
    EXPECT_TRUE(contains(error_of([&] { checkpoint.read(checkpoint.info("w"), part.first, values, part.second); }),
                         "tensor 'w': expected a part of its 2 elements, got " + std::to_string(part.second) +
                             " from " + std::to_string(part.first) + " on"));
  }
  EXPECT_EQ(values[0], 7);
}

TEST_F(CheckpointTest, ZeroElementTensors) {
  const std::string bytes =
      safetensors("{" + entry("a", "F32", "[0]", 0, 0) + "," + entry("b", "F32", "[2]", 0, 8) + "," +
                      entry("c", "F64", "[2,0]", 8, 8) + "," + entry("d", "BF16", "[0,3]", 8, 8) + "}",
                  raw<float>({1, 2}));
  write_file(folder / "m", bytes);
  for (const Checkpoint& checkpoint : {Checkpoint::from_bytes(as_bytes(bytes)), Checkpoint::open(folder / "m"),
                                       Checkpoint::open(folder / "m", {.mode = Mode::map})}) {
    for (const char* name : {"a", "c", "d"}) {
      EXPECT_EQ(checkpoint.info(name).count, 0);
      EXPECT_TRUE(checkpoint.values<float>(name).empty());
      checkpoint.read<double>(checkpoint.info(name), nullptr, 0);
      checkpoint.read_bytes(checkpoint.info(name), {});
    }
    EXPECT_EQ(checkpoint.values<float>("b"), (std::vector<float>{1, 2}));
  }
}

TEST_F(CheckpointTest, ViewsNeedAMapping) {
  const std::string data = raw<float>({1, 2});
  write_file(folder / "m", one("w", "F32", "[2]", data));
  std::span<const std::byte> view;
  std::optional<Checkpoint> copy;
  {
    const Checkpoint mapped = Checkpoint::open(folder / "m", {.mode = Mode::map});
    EXPECT_TRUE(mapped.is_mapped());
    copy = mapped;
    view = mapped.view(mapped.info("w"));
  }
  fs::remove(folder / "m");  // the copy keeps the mapping
  EXPECT_EQ(std::memcmp(view.data(), data.data(), data.size()), 0);
  write_file(folder / "m", one("w", "F32", "[2]", data));
  const Checkpoint read = Checkpoint::open(folder / "m");
  EXPECT_FALSE(read.is_mapped());
  EXPECT_TRUE(contains(error_of([&] { read.view(read.info("w")); }), "tensor 'w': no view, the file isn't mapped"));
}

TEST_F(CheckpointTest, FileSystemsWithoutMappingAreRead) {
  if (AULOS_TEST_THREAD_SANITIZED) GTEST_SKIP() << "mmap can't be made to fail";
  write_file(folder / "m", one("w", "F32", "[2]", raw<float>({1, 2})));
  for (const int error : {ENODEV, ENOMEM}) {
    faults().map_error = error;
    const Checkpoint checkpoint = Checkpoint::open(folder / "m", {.mode = Mode::map});
    EXPECT_FALSE(checkpoint.is_mapped());
    EXPECT_EQ(checkpoint.values<float>("w"), (std::vector<float>{1, 2}));
  }
}

TEST_F(CheckpointTest, ReadModeSurvivesReplacementUnlinkingAndTruncation) {
  write_file(folder / "m", one("w", "F32", "[2]", raw<float>({1, 2})));
  const Checkpoint checkpoint = Checkpoint::open(folder / "m");
  write_file(folder / "n", one("w", "F32", "[2]", raw<float>({8, 9})));
  fs::rename(folder / "n", folder / "m");
  EXPECT_EQ(checkpoint.values<float>("w"), (std::vector<float>{1, 2}));
  fs::remove(folder / "m");
  EXPECT_EQ(checkpoint.values<float>("w"), (std::vector<float>{1, 2}));
  write_file(folder / "m", one("w", "F32", "[2]", raw<float>({1, 2})));
  const Checkpoint shrunk = Checkpoint::open(folder / "m");
  fs::resize_file(folder / "m", fs::file_size(folder / "m") - 3);
  const std::string message = error_of([&] { shrunk.values<float>("w"); });
  EXPECT_TRUE(contains(message, "ended early at byte") && contains(message, "in tensor 'w'")) << message;
}

TEST_F(CheckpointTest, GrownFileIsStillTheOneThatWasOpened) {
  write_file(folder / "m", one("w", "F32", "[2]", raw<float>({1, 2})));
  const Checkpoint checkpoint = Checkpoint::open(folder / "m", {.mode = Mode::map});
  std::ofstream(folder / "m", std::ios::app) << "more";
  EXPECT_EQ(checkpoint.values<float>("w"), (std::vector<float>{1, 2}));
}

TEST_F(CheckpointTest, NoDescriptorOutlivesTheCheckpoint) {
  const auto count = [] { return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()); };
  write_file(folder / "m", one("w", "F32", "[2]", raw<float>({1, 2})));
  write_file(folder / "bad", "junk");
  const auto before = count();
  {
    const Checkpoint mapped = Checkpoint::open(folder / "m", {.mode = Mode::map});
    EXPECT_EQ(count(), before) << "a mapping needs no descriptor";
    const Checkpoint read = Checkpoint::open(folder / "m");
    EXPECT_EQ(count(), before + 1);
    EXPECT_NE(error_of([&] { Checkpoint::open(folder / "bad"); }), "");
    EXPECT_EQ(count(), before + 1);
  }
  EXPECT_EQ(count(), before);
}

Index resident_bytes() {
  std::ifstream file("/proc/self/statm");
  Index total = 0;
  Index resident = 0;
  file >> total >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

// 5 GiB, sparse: only the header and the tensor that is asked for are read.
TEST_F(CheckpointTest, BeyondFourGigabytes) {
  const std::size_t large = std::size_t{4'500} << 20;
  const std::string header = "{" + entry("large", "U8", "[4500,1048576]", 0, large) + "," +
                             entry("small", "F32", "[2]", large, large + 8) + "}";
  const std::string start = safetensors(header);
  write_file(folder / "m", start);
  const int fd = ::open((folder / "m").c_str(), O_WRONLY);
  ASSERT_EQ(::ftruncate(fd, static_cast<off_t>(start.size() + large + 8)), 0);
  const std::string values = raw<float>({1, 2});
  ASSERT_EQ(::pwrite(fd, values.data(), 8, static_cast<off_t>(start.size() + large)), 8);
  ::close(fd);
  const Index before = resident_bytes();
  for (const Mode mode : {Mode::read, Mode::map}) {
    const Checkpoint checkpoint = Checkpoint::open(folder / "m", {.mode = mode});
    EXPECT_EQ(checkpoint.info("large").bytes, static_cast<Index>(large));
    EXPECT_EQ(checkpoint.values<float>("small"), (std::vector<float>{1, 2}));
    EXPECT_LT(resident_bytes() - before, Index{32} << 20);
  }
}

TEST_F(CheckpointTest, EightThreadsReadAtOnce) {
  std::vector<std::uint16_t> bits(200'000);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i % 0x7c00);
  write_file(folder / "m", one("w", "F16", "[200000]", raw(bits)));
  const Checkpoint checkpoint = Checkpoint::open(folder / "m");
  const std::vector<float> expected = checkpoint.values<float>("w");
  std::atomic<int> differences{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) differences += checkpoint.values<float>("w") != expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(differences, 0);
}

TEST_F(CheckpointTest, GoldenFilesOpen) {
  int files = 0;
  for (const fs::path& root : {aulos_tests::golden_dir(), aulos_tests::more_golden_dir()}) {
    if (!fs::exists(root)) continue;
    for (const auto& item : fs::recursive_directory_iterator(root)) {
      if (item.path().extension() != ".safetensors" || ++files > 40) continue;
      const Checkpoint checkpoint = Checkpoint::open(item.path().string());
      EXPECT_EQ(checkpoint.metadata().at("format"), "golden-1") << item.path();
      for (const TensorInfo& tensor : checkpoint.tensors()) {
        if (is_convertible(tensor.dtype)) checkpoint.values<float>(tensor.name);
        if (is_integer(tensor.dtype)) checkpoint.values<std::int64_t>(tensor.name);
      }
    }
  }
  if (files == 0) GTEST_SKIP() << "no golden cases";
}

}  // namespace
}  // namespace aulos::io
