// The geometry of the language's shapes, shared by those who draw them and those who recognise them.
#pragma once

#include <array>

#include "prompt.hpp"

namespace aulos_examples {

// Whether (x, y), relative to the centre and in units of the radius, lies in the shape as the training pictures draw it
// (y points down; no shape reaches beyond 1.15 on either axis).
bool covers(Shape shape, double x, double y);

// A shape's place: its centre, from the upper left corner, and its radius, in pixels.
struct Outline {
  double x = 0, y = 0, radius = 0;
};

// Share of pixel (x, y) that the outline covers, by 4x4 samples.
double pixel_coverage(Shape shape, const Outline& outline, int x, int y);

// About each shape at radius 1, in the order of `Shape`. The inscribed circle and the circumscribed one are those about
// the anchor, which is the centre moved down by its kAnchorY.
inline constexpr std::array<double, kShapes.size()> kAnchorY = {0, 0, 0.3125, 0, 0};
inline constexpr std::array<double, kShapes.size()> kInscribed = {1, 0.886, 0.625, 0.55, 0.565685};
inline constexpr std::array<double, kShapes.size()> kCircumscribed = {1, 1.253, 1.25, 1.15, 1.124};

}  // namespace aulos_examples
