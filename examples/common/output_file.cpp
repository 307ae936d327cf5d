#include "output_file.hpp"

#include <string>
#include <system_error>

#include "aulos/core/error.hpp"
#include "aulos/io/file.hpp"

namespace aulos_examples {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const fs::path& path, const std::string& reason) {
  throw aulos::Error("cannot write " + path.string() + ": " + reason);
}

std::string lower_case(std::string text) {
  for (char& letter : text) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  return text;
}

}  // namespace

void check_output(const fs::path& path, std::string_view extension) {
  if (path.empty()) throw aulos::Error("cannot write: the output path is empty");
  const std::string got = path.extension().string();
  if (!extension.empty() && lower_case(got) != extension) {
    refuse(path, (got.empty() ? "no extension" : "unknown extension " + got) + ", expected " + std::string(extension));
  }
  std::error_code error;
  if (fs::is_directory(path, error)) refuse(path, "it is a folder");
  if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory) {
    refuse(path, error.message());  // a name that is too long, say
  }
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const fs::file_status status = fs::status(folder, error);
  if (status.type() == fs::file_type::not_found) refuse(path, "the folder " + folder.string() + " does not exist");
  if (fs::exists(status) && !fs::is_directory(status)) refuse(path, folder.string() + " is not a folder");
  const aulos::io::AtomicFile probe(path.string());  // makes its temporary file, and removes it
}

}  // namespace aulos_examples
