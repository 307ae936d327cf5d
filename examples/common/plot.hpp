// Line plots as SVG.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace aulos_examples {

struct PlotLine {
  std::string label;                              // in the legend
  std::string colour;                             // as SVG takes it: "#1947a8"
  std::vector<std::pair<double, double>> points;  // x, y; those whose y is not above 0 are left out
};

struct Plot {
  std::string title, x_label;
  std::vector<PlotLine> lines;
};

// The plot, y on a logarithmic axis. Without a point to show, the axes are empty.
std::string to_svg(const Plot& plot);

// Throws aulos::Error with path and reason; the file is written whole, or an existing one stays as it was.
void write_svg(const std::filesystem::path& path, const Plot& plot);

}  // namespace aulos_examples
