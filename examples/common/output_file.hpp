// Output files are refused before the computing starts where that can be known.
#pragma once

#include <filesystem>
#include <string_view>

namespace aulos_examples {

// Throws aulos::Error, naming the path and the reason, when `path` can't become a file: unknown extension, missing or
// read-only folder, a folder of that name, a device. `extension` is in lower case with its dot (".png", any letter case
// is accepted); empty: any name will do. Nothing is left behind.
void check_output(const std::filesystem::path& path, std::string_view extension = "");

}  // namespace aulos_examples
