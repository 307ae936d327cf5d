// compile: -O0
// A load that fails half-way leaves the model with its old weights: SD3 in one file and in shards.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "tests/models/sd3_support.hpp"
#include "tests/support/paths.hpp"

namespace {

std::atomic<int> reads_until_error{std::numeric_limits<int>::max()};

}  // namespace

// Stands between this test program and the C library.
extern "C" ssize_t pread(int fd, void* data, size_t size, off_t offset) {
  static const auto real = reinterpret_cast<ssize_t (*)(int, void*, size_t, off_t)>(dlsym(RTLD_NEXT, "pread"));
  if (reads_until_error-- <= 0) return errno = EIO, -1;
  return real(fd, data, size, offset);
}

namespace {

namespace fs = std::filesystem;
using aulos::Dtype;
using aulos::Index;
using aulos::io::Checkpoint;
using aulos_tests::random_sd3;
using aulos_tests::SD3;
using aulos_tests::small_sd35;

// Before a load, and what it would give.
const SD3& before() {
  static const SD3 model = random_sd3(small_sd35(), 1);
  return model;
}
const SD3& other() {
  static const SD3 model = random_sd3(small_sd35(), 2);
  return model;
}

constexpr int never = std::numeric_limits<int>::max();

std::vector<std::vector<float>> weights(const SD3& model) {
  std::vector<std::vector<float>> all;
  aulos::nn::for_each_parameter(model,
                                [&](const auto& p) { all.emplace_back(p.any().data(), p.any().data() + p.count()); });
  return all;
}

// A model on disk in several shards of consecutive tensors, or in one file.
class Files {
 public:
  // `reshaped`: the last tensor has another shape.
  enum class Last { right, reshaped };

  explicit Files(const SD3& model, std::size_t shards, Last last = Last::right) : folder_(aulos_tests::fresh_dir()) {
    std::vector<aulos::io::SaveTensor> tensors;
    aulos::nn::for_each_parameter(model, [&](const auto& p) {
      tensors.push_back(
          {p.name, Dtype::f32, p.shape, std::as_bytes(std::span(p.any().data(), static_cast<std::size_t>(p.count())))});
    });
    if (last == Last::reshaped) tensors.back().shape.push_back(1);
    std::string map;
    const std::size_t each = (tensors.size() + shards - 1) / shards;
    for (std::size_t s = 0; s < shards; ++s) {
      const auto begin = tensors.begin() + static_cast<std::ptrdiff_t>(s * each);
      const auto end = tensors.begin() + static_cast<std::ptrdiff_t>(std::min(tensors.size(), (s + 1) * each));
      const std::string name = "shard" + std::to_string(s) + ".safetensors";
      last_ = (folder_ / name).string();
      aulos::io::save(last_, std::vector<aulos::io::SaveTensor>(begin, end));
      for (auto t = begin; t != end; ++t) map += (map.empty() ? "\"" : ",\"") + t->name + "\":\"" + name + '"';
    }
    path_ = last_;
    if (shards == 1) return;
    path_ = (folder_ / "model.safetensors.index.json").string();
    std::ofstream(path_) << R"({"weight_map":{)" << map << "}}";
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  ~Files() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  const std::string& path() const { return path_; }
  // Cuts the end off the file that holds the last tensor.
  void truncate() const { fs::resize_file(last_, fs::file_size(last_) - 3); }

 private:
  fs::path folder_;
  std::string path_, last_;
};

class SD3FailedLoad : public testing::TestWithParam<std::size_t> {
 protected:
  void TearDown() override { reads_until_error = never; }

  // load(model) must fail with this text and leave the model alone, rows or panels.
  template <class F>
  void expect_unchanged(const std::string& text, const F& load) const {
    for (const bool packed : {false, true}) {
      SD3 model = before();
      if (packed) aulos::nn::pack(model);
      try {
        load(model);
        ADD_FAILURE() << text;
      } catch (const aulos::Error& error) {
        EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
      }
      reads_until_error = never;
      if (packed) aulos::nn::unpack(model);
      EXPECT_EQ(weights(model), old_) << text << (packed ? ", packed" : "");
    }
  }

  const std::vector<std::vector<float>> old_ = weights(before());
};

TEST_P(SD3FailedLoad, DiskErrorsAtAnyRead) {
  const Files files(other(), GetParam());
  const Checkpoint checkpoint = Checkpoint::open(files.path());
  SD3 model = before();
  reads_until_error = never;
  aulos::nn::load_parameters(model, checkpoint);
  EXPECT_EQ(weights(model), weights(other()));  // what would have been loaded
  const int reads = never - reads_until_error;
  ASSERT_GE(reads, static_cast<int>(old_.size()));
  for (const int good : {0, reads / 2, reads - 1})
    expect_unchanged("Input/output error", [&](SD3& into) {
      reads_until_error = good;
      aulos::nn::load_parameters(into, checkpoint);
    });
}

TEST_P(SD3FailedLoad, FilesThatEndEarly) {
  const Files files(other(), GetParam());
  const Checkpoint checkpoint = Checkpoint::open(files.path());
  files.truncate();  // after the header was read: found only at the last tensor
  expect_unchanged(GetParam() == 1 ? "ended early" : "",
                   [&](SD3& into) { aulos::nn::load_parameters(into, checkpoint); });
  expect_unchanged("", [&](SD3& into) { into = SD3::load(files.path()); });
}

TEST_P(SD3FailedLoad, AWrongShapeInTheLastTensor) {
  const Files files(other(), GetParam(), Files::Last::reshaped);
  const Checkpoint checkpoint = Checkpoint::open(files.path());
  expect_unchanged("1 of wrong shape", [&](SD3& into) { aulos::nn::load_parameters(into, checkpoint); });
  expect_unchanged("", [&](SD3& into) { into = SD3::load(files.path()); });
}

INSTANTIATE_TEST_SUITE_P(Shards, SD3FailedLoad, testing::Values(1, 3));

}  // namespace
