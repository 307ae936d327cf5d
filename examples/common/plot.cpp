#include "plot.hpp"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "aulos/io/file.hpp"
#include "output_file.hpp"
#include "progress.hpp"

namespace aulos_examples {
namespace {

constexpr double kLeft = 60, kRight = 680, kTop = 24, kBottom = 320;

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '&')
      result += "&amp;";
    else if (c == '<')
      result += "&lt;";
    else if (c == '"')
      result += "&quot;";
    else if (static_cast<unsigned char>(c) >= ' ')
      result += c;
  }
  return result;
}

std::string text(double x, double y, std::string_view anchor, std::string_view what) {
  return "<text x=\"" + format_number(x, 1) + "\" y=\"" + format_number(y, 1) + "\" text-anchor=\"" +
         std::string(anchor) + "\">" + escaped(what) + "</text>\n";
}

bool visible(const std::pair<double, double>& point) {
  return std::isfinite(point.first) && std::isfinite(point.second) && point.second > 0;
}

// The axes: x from the first to the last point, log10 y from and to whole tenths.
struct Frame {
  double x0 = 0, x1 = 1, low = -1, high = 0;

  explicit Frame(const Plot& plot) {
    bool first = true;
    for (const PlotLine& line : plot.lines) {
      for (const auto& point : line.points) {
        if (!visible(point)) continue;
        const double level = std::log10(point.second);
        x0 = first ? point.first : std::min(x0, point.first);
        x1 = first ? point.first : std::max(x1, point.first);
        low = first ? level : std::min(low, level);
        high = first ? level : std::max(high, level);
        first = false;
      }
    }
    low = std::floor(10 * low) / 10;
    high = std::max(std::ceil(10 * high) / 10, low + 0.1);
    if (!(x1 > x0)) x1 = x0 + 1;
  }
  double x(double value) const { return kLeft + (kRight - kLeft) * (value - x0) / (x1 - x0); }
  double y(double level) const { return kTop + (kBottom - kTop) * (high - level) / (high - low); }
};

// Three significant digits of a level, as many as two neighbours on the axis need to differ.
std::string tick(double level) {
  const int decimals = std::max(0, 2 - static_cast<int>(std::floor(level)));
  return format_number(std::pow(10.0, level), std::min(decimals, 9));
}

}  // namespace

std::string to_svg(const Plot& plot) {
  constexpr int kTicks = 5;
  const Frame frame(plot);
  std::string svg =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 700 370\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"700\" height=\"370\" fill=\"white\"/>\n";
  for (int i = 0; i <= kTicks; ++i) {
    const double share = static_cast<double>(i) / kTicks;
    const double value = frame.x0 + (frame.x1 - frame.x0) * share, level = frame.low + (frame.high - frame.low) * share;
    const std::string x = format_number(frame.x(value), 1), y = format_number(frame.y(level), 1);
    svg += "<path d=\"M60 " + y + "H680M" + x + " 24V320\" stroke=\"#ddd\"/>\n";
    svg += text(kLeft - 6, frame.y(level) + 4, "end", tick(level));
    svg += text(frame.x(value), kBottom + 16, "middle", format_number(value, 0));
  }
  double legend = kTop + 16;
  for (const PlotLine& line : plot.lines) {
    svg += "<polyline fill=\"none\" stroke=\"" + escaped(line.colour) + "\" points=\"";
    for (const auto& point : line.points) {
      if (visible(point))
        svg += format_number(frame.x(point.first), 1) + "," + format_number(frame.y(std::log10(point.second)), 1) + " ";
    }
    svg += "\"/>\n<path d=\"M560 " + format_number(legend - 4, 1) + "h20\" stroke=\"" + escaped(line.colour) + "\"/>\n";
    svg += text(586, legend, "start", line.label);
    legend += 16;
  }
  svg += text((kLeft + kRight) / 2, kBottom + 36, "middle", plot.x_label) + text(kLeft, 16, "start", plot.title);
  return svg + "</svg>\n";
}

void write_svg(const std::filesystem::path& path, const Plot& plot) {
  check_output(path, ".svg");
  aulos::io::AtomicFile file(path.string());
  file.write(to_svg(plot));
  file.commit();
}

}  // namespace aulos_examples
