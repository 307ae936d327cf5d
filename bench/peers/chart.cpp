#include "bench/peers/chart.hpp"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "bench/peers/text.hpp"

namespace peers {
namespace {

constexpr const char *ours_colour = "#1f6feb", *peer_colour = "#b0b7c0", *text_colour = "#24292f",
                     *line_colour = "#d0d7de";
constexpr double width = 900, margin = 70, roof_height = 360, bar_step = 20, label_width = 290;

std::string number(double value) { return format("%.1f", value); }

class Svg {
 public:
  void line(double x0, double y0, double x1, double y1, std::string_view colour, double thickness = 1) {
    body_ += "<line x1=\"" + number(x0) + "\" y1=\"" + number(y0) + "\" x2=\"" + number(x1) + "\" y2=\"" + number(y1) +
             "\" stroke=\"" + std::string(colour) + "\" stroke-width=\"" + number(thickness) + "\"/>\n";
  }
  void bar(double x, double y, double w, double h, std::string_view colour) {
    body_ += "<rect x=\"" + number(x) + "\" y=\"" + number(y) + "\" width=\"" + number(w) + "\" height=\"" + number(h) +
             "\" fill=\"" + std::string(colour) + "\"/>\n";
  }
  void dot(double x, double y, std::string_view colour, const std::string& title) {
    body_ += "<circle cx=\"" + number(x) + "\" cy=\"" + number(y) + "\" r=\"4\" fill=\"" + std::string(colour) +
             "\"><title>" + title + "</title></circle>\n";
  }
  void text(double x, double y, const std::string& text, const char* anchor = "start") {
    body_ +=
        "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor + "\">" + text + "</text>\n";
  }
  std::string take(double height) {
    return "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + number(width) + " " + number(height) +
           "\" font-family=\"sans-serif\" font-size=\"12\" fill=\"" + text_colour +
           "\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n" + body_ + "</svg>\n";
  }

 private:
  std::string body_;
};

void roofline(Svg& svg, const Chart& chart) {
  const auto& peaks = chart.peaks;
  const auto& points = chart.points;
  const double memory = chart.memory;
  if (points.empty()) return;
  double most = 0, top = 0, least = 1e30, bottom = 1e30;
  for (const Chart::Point& p : points) {
    most = std::max(most, p.intensity * 2), least = std::min(least, p.intensity / 2);
    bottom = std::min(bottom, p.gflops / 2);
  }
  for (const auto& [instruction, peak] : peaks) top = std::max(top, peak * 2);
  const auto x = [&](double intensity) {
    return margin + (width - 2 * margin) * std::log(intensity / least) / std::log(most / least);
  };
  const auto y = [&](double rate) {
    return 30 + (roof_height - 70) * (1 - std::log(rate / bottom) / std::log(top / bottom));
  };
  for (double decade = std::pow(10, std::ceil(std::log10(bottom))); decade < top; decade *= 10) {
    svg.line(margin, y(decade), width - margin, y(decade), line_colour);
    svg.text(margin - 6, y(decade) + 4, format("%g", decade), "end");
  }
  for (double decade = std::pow(10, std::ceil(std::log10(least))); decade < most; decade *= 10) {
    svg.line(x(decade), 30, x(decade), roof_height - 40, line_colour);
    svg.text(x(decade), roof_height - 24, format("%g", decade), "middle");
  }
  svg.text(width / 2, roof_height - 8, "operations per byte that must be moved", "middle");
  svg.text(margin, 18, "GFLOP/s of one thread under the peaks of the instructions and the rate of copying");
  for (const auto& [instruction, peak] : peaks) {
    const double ridge = memory > 0 ? std::clamp(peak * 1e9 / memory, least, most) : least;
    svg.line(x(ridge), y(peak), width - margin, y(peak), text_colour, 1.5);
    svg.text(width - margin, y(peak) - 5, instruction + format(" %.0f", peak), "end");
  }
  if (memory > 0) {
    const double begin = std::max(least, bottom * 1e9 / memory), end = std::min(most, top * 0.5e9 / memory);
    if (end > begin) svg.line(x(begin), y(begin * memory / 1e9), x(end), y(end * memory / 1e9), text_colour, 1.5);
  }
  for (const Chart::Point& p : points)
    svg.dot(x(p.intensity), y(p.gflops), ours_colour, p.title + format(": %.0f", p.gflops));
}

double bars(Svg& svg, const std::vector<Chart::Bar>& bars, double top) {
  const double left = label_width, right = width - 2 * margin;
  const auto x = [&](double share) { return left + (right - left) * std::min(share, 1.0); };
  const bool peers = std::any_of(bars.begin(), bars.end(), [](const Chart::Bar& bar) { return bar.peer_share > 0; });
  svg.text(left, top, "share of the peak:");
  svg.bar(left + 120, top - 10, 12, 12, ours_colour);
  svg.text(left + 136, top, "aulos");
  if (peers) {
    svg.bar(left + 186, top - 10, 12, 12, peer_colour);
    svg.text(left + 202, top, "the best peer, by name");
  }
  double y = top + 14;
  const double end = y + bar_step * static_cast<double>(bars.size());
  for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    svg.line(x(share), y, x(share), end, line_colour);
    svg.text(x(share), end + 14, format("%.0f %%", 100 * share), "middle");
  }
  for (const Chart::Bar& bar : bars) {
    svg.text(left - 8, y + 12, bar.label, "end");
    svg.bar(left, y, x(bar.share) - left, peers ? 8 : 14, ours_colour);
    if (bar.peer_share > 0) {
      svg.bar(left, y + 8, x(bar.peer_share) - left, 8, peer_colour);
      svg.text(x(std::max(bar.share, bar.peer_share)) + 5, y + 12, bar.peer);
    }
    y += bar_step;
  }
  return end + 24;
}

}  // namespace

std::string draw(const Chart& chart) {
  Svg svg;
  roofline(svg, chart);
  return svg.take(bars(svg, chart.bars, chart.points.empty() ? 24 : roof_height + 24));
}

}  // namespace peers
