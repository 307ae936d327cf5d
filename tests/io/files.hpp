// What the tests of io/ share: files built byte by byte, folders that go away, and the message of an error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "aulos/core/error.hpp"
#include "tests/support/paths.hpp"

namespace aulos_tests {

// A folder of its own, removed at the end.
class Folder {
 public:
  Folder() : path_(fresh_dir()) {}
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(std::string_view name) const { return (path_ / name).string(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The eight bytes of a length.
inline std::string length_field(std::uint64_t length) {
  std::string result(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) result[i] = static_cast<char>(length >> (8 * i) & 255u);
  return result;
}

// A file of this header, whatever it says, and data.
inline std::string safetensors(std::string_view header, std::string_view data = "") {
  return length_field(header.size()).append(header).append(data);
}

template <class T>
std::string raw(const std::vector<T>& values) {
  std::string result(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(result.data(), values.data(), result.size());
  return result;
}

inline std::span<const std::byte> as_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// What fn throws, "" if nothing; another exception than an Error goes through.
template <class Function>
std::string error_of(Function&& fn) {
  try {
    fn();
  } catch (const aulos::Error& error) {
    return error.what();
  }
  return "";
}

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

}  // namespace aulos_tests
