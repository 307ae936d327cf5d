// That the examples leave no op out: the names of operations that the headers of ops/ pass on all stand in one of them.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include "ops/all_ops.hpp"
#include "support/paths.hpp"

namespace {

namespace fs = std::filesystem;

// Names in `Op op("a", ..)`, `Op op(c ? "a" : "b", ..)`, `Op::over("a", ..)`, `context.run("a", ..)`.
std::set<std::string> names_in(const std::string& text) {
  static const std::regex call(R"re((?:\bOp \w+\(|\bOp::over\(|\.run\()(?:[^",;()]*\? )?"(\w+)"(?: : "(\w+)")?)re");
  std::set<std::string> names;
  for (std::sregex_iterator i(text.begin(), text.end(), call), end; i != end; ++i) {
    names.insert((*i)[1]);
    if ((*i)[2].matched) names.insert((*i)[2]);
  }
  return names;
}

TEST(AllOps, HaveAnExample) {
  EXPECT_EQ(names_in(R"(Op op("a", x); const Op op(d ? "b" : "c", x); Op::over("d", f); c.run("e_backward", k))"),
            (std::set<std::string>{"a", "b", "c", "d", "e_backward"}));
  std::size_t found = 0;
  for (const auto& entry : fs::directory_iterator(aulos_tests::source_dir() / "include" / "aulos" / "ops")) {
    if (entry.path().filename() == "op.hpp") continue;  // its comment shows an op
    std::ifstream file(entry.path());
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    for (const std::string& name : names_in(text)) {
      ++found;
      EXPECT_EQ(aulos_test::example_operations().count(name), 1u)
          << name << " of " << entry.path().filename() << " has no example in all_ops_*_test.cpp";
    }
  }
  EXPECT_GT(found, 80u);
}

}  // namespace
