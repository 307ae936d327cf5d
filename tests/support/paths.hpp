// Where the tests find files, whatever folder they are run in.
#pragma once

#include <filesystem>

namespace aulos_tests {

// The root of the repository.
std::filesystem::path source_dir();

// The golden cases that are part of the repository.
std::filesystem::path golden_dir();

// Further golden cases (AULOS_GOLDEN_DIR); may not exist.
std::filesystem::path more_golden_dir();

// A fresh, empty folder for a test's files; a new one at each call.
std::filesystem::path fresh_dir();

}  // namespace aulos_tests
