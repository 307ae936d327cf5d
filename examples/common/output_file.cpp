#include "output_file.hpp"

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <system_error>

#include "aulos/core/error.hpp"

namespace aulos_examples {
namespace {

namespace fs = std::filesystem;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

[[noreturn]] void refuse(const fs::path& path, const std::string& reason) {
  throw aulos::Error("cannot write " + path.string() + ": " + reason);
}

std::string reason_of(int error) { return std::generic_category().message(error); }

// Where the bytes finally go: the end of a chain of links.
fs::path destination(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_symlink(path, ignored)) return path;
  std::error_code error;
  const fs::path end = fs::weakly_canonical(path, error);
  if (error) refuse(path, error.message());
  return end;
}

bool is_special(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  return fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status);
}

fs::path partial_of(const fs::path& path) { return fs::path(path).concat(".partial"); }

// Writes and closes; errno of the first failure, 0 if there was none.
int write_all(File file, std::span<const std::uint8_t> bytes) {
  errno = 0;
  const bool written = bytes.empty() || std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size();
  const int write_error = errno;
  const bool closed = std::fclose(file.release()) == 0;
  if (!written) return write_error != 0 ? write_error : EIO;
  return closed ? 0 : (errno != 0 ? errno : EIO);
}

File open_for_writing(const fs::path& path, const char* mode, const fs::path& named) {
  errno = 0;
  File file(std::fopen(path.string().c_str(), mode));
  if (!file) refuse(named, reason_of(errno != 0 ? errno : EIO));
  return file;
}

// A file left by an interrupted run is removed first; "x" then refuses whatever else took the name.
File open_partial(const fs::path& partial, const fs::path& named) {
  std::error_code ignored;
  fs::remove(partial, ignored);
  return open_for_writing(partial, "wbx", named);
}

}  // namespace

void check_output(const fs::path& path, std::string_view extension) {
  if (path.empty()) throw aulos::Error("cannot write: the output path is empty");
  std::string got = path.extension().string();
  for (char& letter : got) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  if (got != extension) {
    refuse(path, got.empty() ? "no extension, expected " + std::string(extension)
                             : "unknown extension " + got + ", expected " + std::string(extension));
  }
  const fs::path end = destination(path);
  std::error_code error;
  if (fs::is_directory(end, error)) refuse(path, "it is a folder");
  if (is_special(end)) {
    if (fs::is_character_file(end, error))
      open_for_writing(end, "wb", path);  // opening a pipe would wait for its reader
    return;
  }
  const fs::path folder = end.has_parent_path() ? end.parent_path() : fs::path(".");
  const fs::file_status status = fs::status(folder, error);
  if (!fs::exists(status)) {
    const bool missing = status.type() == fs::file_type::not_found;
    refuse(path, missing ? "the folder " + folder.string() + " does not exist" : error.message());
  }
  if (!fs::is_directory(status)) refuse(path, folder.string() + " is not a folder");
  if (fs::exists(end, error)) open_for_writing(end, "ab", path);  // a write-protected file is not replaced
  open_partial(partial_of(end), path);
  fs::remove(partial_of(end), error);
}

void write_file(const fs::path& path, std::span<const std::uint8_t> bytes) {
  const fs::path end = destination(path);
  if (is_special(end)) {
    if (const int error = write_all(open_for_writing(end, "wb", path), bytes); error != 0) {
      refuse(path, reason_of(error));
    }
    return;
  }
  const fs::path partial = partial_of(end);
  std::string reason;
  if (const int error = write_all(open_partial(partial, path), bytes); error != 0) {
    reason = reason_of(error);
  } else {
    std::error_code failed;
    fs::rename(partial, end, failed);
    if (!failed) return;
    reason = failed.message();
  }
  std::error_code ignored;
  fs::remove(partial, ignored);
  refuse(path, reason);
}

}  // namespace aulos_examples
