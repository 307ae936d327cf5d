#include "outline.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace aulos_examples {

bool covers(Shape shape, double x, double y) {
  const double ax = std::abs(x), ay = std::abs(y);
  switch (shape) {
    case Shape::circle:
      return x * x + y * y <= 1;
    case Shape::square:
      return std::max(ax, ay) <= 0.886;
    case Shape::triangle:
      return y <= 0.9375 && y >= ax * (1.875 / 1.0825) - 0.9375;
    case Shape::star: {
      constexpr double kFifth = 2 * std::numbers::pi / 5, kOuterRadius = 1.15, kInnerRadius = 0.55;
      const double angle = std::fmod(std::abs(std::atan2(x, -y)), kFifth);  // from straight up
      const double folded = std::min(angle, kFifth - angle), r = std::hypot(x, y);
      const double u = r * std::cos(folded), v = r * std::sin(folded);
      const double inner_u = kInnerRadius * std::cos(kFifth / 2), inner_v = kInnerRadius * std::sin(kFifth / 2);
      return (inner_u - kOuterRadius) * v - inner_v * (u - kOuterRadius) >= 0;
    }
    case Shape::cross:
      return std::min(ax, ay) <= 0.4 && std::max(ax, ay) <= 1.05;
  }
  return false;
}

double pixel_coverage(Shape shape, const Outline& outline, int x, int y) {
  constexpr int kSamples = 4;
  constexpr double kReach = 1.5, kCore = 0.46;  // no shape reaches farther from its centre, each covers the core
  const double dx = x + 0.5 - outline.x, dy = y + 0.5 - outline.y, from_centre = std::hypot(dx, dy);
  if (from_centre > kReach * outline.radius + 0.8) return 0;
  if (from_centre < kCore * outline.radius - 0.8) return 1;
  int hits = 0;
  for (int i = 0; i < kSamples; ++i) {
    for (int j = 0; j < kSamples; ++j) {
      const double u = (dx + (j + 0.5) / kSamples - 0.5) / outline.radius;
      const double v = (dy + (i + 0.5) / kSamples - 0.5) / outline.radius;
      hits += covers(shape, u, v) ? 1 : 0;
    }
  }
  return static_cast<double>(hits) / (kSamples * kSamples);
}

}  // namespace aulos_examples
