// Output files: refused before the computing starts where that can be known, and never half-written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace aulos_examples {

// Throws aulos::Error, naming the path and the reason, when `path` can't become a file: unknown extension, missing or
// read-only folder, a folder of that name. `extension` is in lower case with its dot (".png"); upper case is accepted.
void check_output(const std::filesystem::path& path, std::string_view extension);

// Replaces `path` by `bytes` through a sibling file `PATH.partial` and a rename; a link is followed, and what is not a
// regular file (a pipe, a device) is written in place. On failure throws aulos::Error and leaves `path` as it was.
void write_file(const std::filesystem::path& path, std::span<const std::uint8_t> bytes);

}  // namespace aulos_examples
