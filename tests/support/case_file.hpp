// Golden cases made in memory.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "aulos/io/checkpoint.hpp"
#include "aulos/registry.hpp"

namespace case_support {

using aulos::CaseValues;
using aulos::Index;

// A case in memory, as a file has it: tensors of floats or integers under their names.
class File {
 public:
  File& floats(const std::string& name, std::vector<Index> shape, const std::vector<float>& values) {
    return add(name, "F32", shape, values.data(), values.size() * sizeof(float));
  }
  File& integers(const std::string& name, std::vector<Index> shape, const std::vector<std::int64_t>& values) {
    return add(name, "I64", shape, values.data(), values.size() * sizeof(std::int64_t));
  }
  aulos::io::Checkpoint checkpoint(const std::string& config = "{}") const {
    std::string escaped;
    for (const char c : config) escaped += c == '"' ? std::string("\\\"") : std::string(1, c);
    std::string header = "{\"__metadata__\":{\"config\":\"" + escaped + "\"}" + entries_ + "}";
    while (header.size() % 8 != 0) header += ' ';
    std::vector<std::byte> bytes(8 + header.size() + data_.size());
    const std::uint64_t length = header.size();
    std::memcpy(bytes.data(), &length, 8);
    std::memcpy(bytes.data() + 8, header.data(), header.size());
    std::copy(data_.begin(), data_.end(), bytes.end() - static_cast<std::ptrdiff_t>(data_.size()));
    static std::deque<std::vector<std::byte>> kept;  // checkpoints read from them for as long as they live
    return aulos::io::Checkpoint::from_bytes(kept.emplace_back(std::move(bytes)), "case.safetensors");
  }

 private:
  File& add(const std::string& name, const char* dtype, const std::vector<Index>& shape, const void* data,
            std::size_t bytes) {
    std::string text;
    for (const Index n : shape) text += (text.empty() ? "" : ",") + std::to_string(n);
    entries_ += ",\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + text + "],\"data_offsets\":[" +
                std::to_string(data_.size()) + "," + std::to_string(data_.size() + bytes) + "]}";
    data_.resize(data_.size() + bytes);
    std::memcpy(data_.data() + data_.size() - bytes, data, bytes);
    return *this;
  }
  std::string entries_;
  std::vector<std::byte> data_;
};

inline void expect_near(const CaseValues& got, const std::vector<Index>& shape, const std::vector<double>& want) {
  EXPECT_EQ(got.shape, shape);
  EXPECT_FALSE(got.integer);
  ASSERT_EQ(got.floats.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(static_cast<double>(got.floats[i]), want[i], 1e-5) << i;
}

}  // namespace case_support
