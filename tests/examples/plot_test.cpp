// The SVG of a plot is well-formed whatever it shows, and its points are where they belong.
#include "common/plot.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "aulos/core/error.hpp"
#include "tests/support/paths.hpp"

namespace {

using namespace aulos_examples;

// Tags are balanced and nested, attributes quoted, and text holds no bare & or <.
bool well_formed(const std::string& xml) {
  std::vector<std::string> open;
  for (std::size_t i = 0; i < xml.size();) {
    if (xml[i] == '&') {
      const std::size_t end = xml.find(';', i);
      if (end == std::string::npos || end - i > 6) return false;
      i = end;
      continue;
    }
    if (xml[i] != '<') {
      ++i;
      continue;
    }
    const std::size_t end = xml.find('>', i);
    if (end == std::string::npos) return false;
    const std::string tag = xml.substr(i + 1, end - i - 1);
    i = end + 1;
    if (std::count(tag.begin(), tag.end(), '"') % 2 != 0 || tag.find('<') != std::string::npos) return false;
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
  }
  return open.empty();
}

TEST(Plot, IsWellFormed) {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  for (const Plot& plot : {Plot{}, Plot{"a < b & \"c\"\n", "x", {}}, Plot{"t", "x", {{"one", "red", {{3, 0.5}}}}},
                           Plot{"t", "x", {{"<&>", "#000", {{0, 1}, {1, nan}, {2, infinity}, {3, 0}, {4, -1}}}}},
                           Plot{"t", "x", {{"a", "#000", {{0, 1e-300}, {1e9, 1e300}}}, {"b", "#000", {}}}}}) {
    const std::string svg = to_svg(plot);
    EXPECT_TRUE(well_formed(svg)) << svg;
    EXPECT_EQ(svg.rfind("<svg ", 0), 0U);
    EXPECT_EQ(svg.find("nan"), std::string::npos);
    EXPECT_EQ(svg.find("inf"), std::string::npos);
  }
  EXPECT_FALSE(well_formed("<a><b></a></b>"));
  EXPECT_FALSE(well_formed("<a>x & y</a>"));
}

TEST(Plot, PutsPointsInPlace) {
  const std::string svg = to_svg({"t", "updates", {{"loss", "#19a", {{0, 1}, {50, 0.1}, {100, 0.01}}}}});
  EXPECT_NE(svg.find("points=\"60.0,24.0 370.0,172.0 680.0,320.0 \""), std::string::npos) << svg;
  EXPECT_NE(svg.find(">updates</text>"), std::string::npos);
  EXPECT_NE(svg.find(">0.0100</text>"), std::string::npos);
}

TEST(Plot, WritesWholeFilesOnly) {
  const std::filesystem::path folder = aulos_tests::fresh_dir();
  const auto path = folder / "aulos_plot_test.svg";
  write_svg(path, {"t", "x", {{"a", "#000", {{0, 1}, {1, 2}}}}});
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_EQ(text.str(), to_svg({"t", "x", {{"a", "#000", {{0, 1}, {1, 2}}}}}));
  std::filesystem::remove(path);
  EXPECT_THROW(write_svg(folder / "plot.png", {}), aulos::Error);
  EXPECT_THROW(write_svg(folder / "none" / "plot.svg", {}), aulos::Error);
}

}  // namespace
