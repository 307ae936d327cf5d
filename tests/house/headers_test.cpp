// The rules that every header of include/ keeps: who may include whom, one test per header, length, and no state.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/house/source.hpp"
#include "tests/support/paths.hpp"

namespace {

namespace fs = std::filesystem;
using aulos_tests::Include;
using aulos_tests::Source;
using aulos_tests::source_dir;

// A header includes from its own floor or below.
const std::map<std::string, int> floors{
    {"core", 0},  {"simd", 1},      {"io", 1},           {"kernels", 2},     {"autograd", 2},  {"ops", 3},
    {"nn", 4},    {"attention", 4}, {"conditioning", 4}, {"diffusion", 4},   {"stream", 5},    {"path", 5},
    {"train", 5}, {"explain", 5},   {"models", 6},       {"distributed", 6}, {"aulos.hpp", 6}, {"registry.hpp", 7},
};

// Folders that see less than all of the floors below them.
const std::map<std::string, std::set<std::string>> narrow{
    {"io", {"core", "io"}},
    {"kernels", {"core", "simd", "kernels"}},
};

// What a header must not include: costly to compile, or not in the compilers that we support.
const std::set<std::string> banned{"iostream", "regex", "ranges", "format", "source_location", "random"};

struct Header {
  std::string path;    // below include/, as others include it
  std::string folder;  // "core"; the file name for those that stand in no folder
  Source source;
};

std::string folder_of(const std::string& path) {
  const auto begin = path.find('/') + 1;
  return path.substr(begin, path.find('/', begin) - begin);
}

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

const std::vector<Header>& headers() {
  static const std::vector<Header> all = [] {
    std::vector<Header> found;
    const fs::path root = source_dir() / "include";
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      if (!entry.is_regular_file()) continue;
      const std::string path = fs::relative(entry.path(), root).generic_string();
      found.push_back({path, folder_of(path), aulos_tests::read_source(text_of(entry.path()))});
    }
    std::sort(found.begin(), found.end(), [](const Header& a, const Header& b) { return a.path < b.path; });
    return found;
  }();
  return all;
}

bool starts_with(const std::string& text, const std::string& start) { return text.rfind(start, 0) == 0; }

// The reason why `header` must not include `include`, or nothing.
std::string include_fault(const Header& header, const Include& include) {
  if (starts_with(include.path, "xsimd")) return header.folder == "simd" ? "" : "only simd/ includes xsimd";
  if (banned.count(include.path) != 0) return "this standard header is banned from include/";
  const bool ours = starts_with(include.path, "aulos/");
  if (!ours && include.path.find("json") != std::string::npos) return "no JSON library in a header";
  if (!include.quoted) return ours ? "ours are included with quotes" : "";
  if (!ours) return "ours are included by their path from include/";
  if (!fs::exists(source_dir() / "include" / include.path)) return "there is no such header";
  const std::string folder = folder_of(include.path);
  if (floors.count(folder) == 0) return "this folder has no floor";
  if (floors.at(folder) > floors.at(header.folder)) return "the edge climbs the floors";
  if (folder == "aulos.hpp") return "a header names what it needs, not the umbrella";
  if (const auto found = narrow.find(header.folder); found != narrow.end() && found->second.count(folder) == 0) {
    return header.folder + "/ must not know " + folder + "/";
  }
  return "";
}

TEST(HouseHeaders, AreFound) { EXPECT_GE(headers().size(), 5U); }

TEST(HouseHeaders, StandOnAFloor) {
  for (const auto& header : headers()) {
    EXPECT_TRUE(starts_with(header.path, "aulos/")) << header.path;
    EXPECT_EQ(fs::path(header.path).extension(), ".hpp") << header.path;
    EXPECT_EQ(floors.count(header.folder), 1U) << header.path << " belongs to no floor";
  }
}

TEST(HouseHeaders, IncludeFromTheirFloorOrBelow) {
  for (const auto& header : headers()) {
    if (floors.count(header.folder) == 0) continue;
    for (const auto& include : header.source.includes) {
      const std::string fault = include_fault(header, include);
      EXPECT_EQ(fault, "") << header.path << ":" << include.line << " includes " << include.path;
    }
  }
}

TEST(HouseHeaders, TheRulesOfInclusionFindFaults) {
  const auto fault = [](const std::string& path, const Include& include) {
    return include_fault({path, folder_of(path), {}}, include);
  };
  EXPECT_EQ(fault("aulos/simd/x.hpp", {"xsimd/xsimd.hpp"}), "");
  EXPECT_EQ(fault("aulos/simd/x.hpp", {"aulos/core/config.hpp", true}), "");
  EXPECT_EQ(fault("aulos/kernels/naive/x.hpp", {"aulos/simd/batch.hpp", true}), "");
  EXPECT_EQ(fault("aulos/core/x.hpp", {"vector"}), "");
  EXPECT_NE(fault("aulos/core/x.hpp", {"xsimd/xsimd.hpp"}), "");
  EXPECT_NE(fault("aulos/core/x.hpp", {"aulos/simd/batch.hpp", true}), "");
  EXPECT_NE(fault("aulos/core/x.hpp", {"aulos/core/no_such.hpp", true}), "");
  EXPECT_NE(fault("aulos/core/x.hpp", {"config.hpp", true}), "");
  EXPECT_NE(fault("aulos/core/x.hpp", {"aulos/core/config.hpp"}), "");
  EXPECT_NE(fault("aulos/io/x.hpp", {"aulos/simd/batch.hpp", true}), "");
  EXPECT_NE(fault("aulos/models/x.hpp", {"regex"}), "");
  EXPECT_NE(fault("aulos/models/x.hpp", {"nlohmann/json.hpp"}), "");
}

TEST(HouseHeaders, HaveATestEach) {
  for (const auto& header : headers()) {
    if (header.folder == "aulos.hpp" || header.folder == "models") continue;  // all tests; the golden cases
    if (starts_with(header.path, "aulos/kernels/naive/")) continue;           // the tests of their fast twins
    const fs::path below = fs::path(header.path).lexically_relative("aulos");
    const fs::path test = below.parent_path() / (below.stem().string() + "_test.cpp");
    EXPECT_TRUE(fs::exists(source_dir() / "tests" / test)) << header.path << " has no tests/" << test.generic_string();
  }
}

TEST(HouseHeaders, AreShort) {
  for (const auto& header : headers()) EXPECT_LE(header.source.lines, 600) << header.path;
}

TEST(HouseHeaders, BeginWithWhatTheyAreAndAreIncludedOnce) {
  for (const auto& header : headers()) {
    const std::string text = text_of(source_dir() / "include" / header.path);
    EXPECT_TRUE(starts_with(text, "// ")) << header.path << " does not begin with a comment that says what it is";
    EXPECT_NE(text.find("\n#pragma once\n"), std::string::npos) << header.path;
  }
}

TEST(HouseHeaders, HoldNoStateAndNoPrivateCopies) {
  for (const auto& header : headers()) {
    for (const auto& fault : aulos_tests::scope_faults(header.source)) ADD_FAILURE() << header.path << ", " << fault;
  }
}

// The umbrella holds every floor below models/, and neither models/, distributed/ nor the registry.
TEST(HouseHeaders, TheUmbrellaIsComplete) {
  std::map<std::string, const Header*> by_path;
  for (const auto& header : headers()) by_path[header.path] = &header;
  if (by_path.count("aulos/aulos.hpp") == 0) GTEST_SKIP() << "no aulos/aulos.hpp yet";

  std::set<std::string> held;
  std::vector<std::string> open{"aulos/aulos.hpp"};
  while (!open.empty()) {
    const std::string path = open.back();
    open.pop_back();
    if (by_path.count(path) == 0 || !held.insert(path).second) continue;
    for (const auto& include : by_path[path]->source.includes) open.push_back(include.path);
  }
  for (const auto& header : headers()) {
    if (header.path == "aulos/aulos.hpp" || starts_with(header.path, "aulos/kernels/naive/")) continue;
    const bool below_models = floors.at(header.folder) < floors.at("models");
    EXPECT_EQ(held.count(header.path), below_models ? 1U : 0U) << header.path;
  }
}

}  // namespace
