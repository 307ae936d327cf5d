#include "bench/peers/chart.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string_view>

#include "bench/peers/work.hpp"

namespace peers {
namespace {

constexpr const char *ours_colour = "#1f6feb", *peer_colour = "#b0b7c0", *text_colour = "#24292f",
                     *line_colour = "#d0d7de";
constexpr double width = 900, margin = 70, roof_height = 360, bar_step = 20, label_width = 290;

std::string format(const char* pattern, double value) {
  char text[64];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}
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

// Bytes that any implementation has to move: every operand and the result once.
double least_bytes(const Work& work, const std::string& dtype) {
  double weights = 0, rest = static_cast<double>(work.results);
  for (const Input& input : work.inputs) {
    (input.name.ends_with("weight") ? weights : rest) += static_cast<double>(input.count());
  }
  const double element = dtype == "f32" ? 4 : dtype == "bf16" ? 2 : 1;
  return element * weights + 4 * rest;
}

void roofline(Svg& svg, const std::vector<Measurement>& measurements) {
  struct Point {
    double intensity, rate;
    std::string title;
  };
  std::vector<Point> points;
  std::map<std::string, double> peaks;  // by instruction
  double memory = 0;                    // bytes a second
  for (const Measurement& m : measurements) {
    const auto owned = OwnedWork::parse(m.ours.work);
    if (!owned) continue;
    const Work& work = owned->work();
    for (const Row& row : m.memory) {
      if (row.peer == "copy") memory = std::max(memory, 2 * work.copied / row.median_s);
    }
    if (m.ours.gflops <= 0) continue;
    peaks[m.ours.instruction] = std::max(peaks[m.ours.instruction], m.ours.peak);
    points.push_back({work.flops / least_bytes(work, m.ours.dtype), m.ours.gflops, m.ours.work + " " + m.ours.dtype});
  }
  if (points.empty()) return;
  double most = 0, top = 0, least = 1e30, bottom = 1e30;
  for (const Point& p : points) {
    most = std::max(most, p.intensity * 2), least = std::min(least, p.intensity / 2);
    bottom = std::min(bottom, p.rate / 2);
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
  for (const Point& p : points) svg.dot(x(p.intensity), y(p.rate), ours_colour, p.title + format(": %.0f", p.rate));
}

double bars(Svg& svg, const std::vector<Measurement>& measurements, double top) {
  const double left = label_width, right = width - 2 * margin;
  const auto x = [&](double share) { return left + (right - left) * std::min(share, 1.0); };
  svg.text(left, top, "share of the peak:");
  svg.bar(left + 120, top - 10, 12, 12, ours_colour);
  svg.text(left + 136, top, "aulos");
  svg.bar(left + 186, top - 10, 12, 12, peer_colour);
  svg.text(left + 202, top, "the best peer, by name");
  double y = top + 14;
  const auto counted = [](const Measurement& m) { return m.ours.gflops > 0; };
  const double end =
      y + bar_step * static_cast<double>(std::count_if(measurements.begin(), measurements.end(), counted));
  for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    svg.line(x(share), y, x(share), end, line_colour);
    svg.text(x(share), end + 14, format("%.0f %%", 100 * share), "middle");
  }
  for (const Measurement& m : measurements) {
    if (!counted(m)) continue;
    svg.text(left - 8, y + 12, m.ours.work + " " + m.ours.dtype, "end");
    svg.bar(left, y, x(m.ours.peak_share) - left, 8, ours_colour);
    if (!m.peers.empty()) {
      const Row& best = m.peers.front();
      // Of the times of the same rounds: their ratio is steadier than two medians.
      const double share = best.ratio > 0 ? m.ours.peak_share / best.ratio : best.peak_share;
      svg.bar(left, y + 8, x(share) - left, 8, peer_colour);
      svg.text(x(std::max(share, m.ours.peak_share)) + 5, y + 12, best.peer);
    }
    y += bar_step;
  }
  return end + 24;
}

}  // namespace

std::string chart(const std::vector<Measurement>& measurements) {
  std::vector<Measurement> alone;
  std::copy_if(measurements.begin(), measurements.end(), std::back_inserter(alone),
               [](const Measurement& m) { return m.ours.threads == 1; });
  Svg svg;
  roofline(svg, alone);
  return svg.take(bars(svg, alone, roof_height + 24));
}

}  // namespace peers
