// Splits a picture of flat colours into its regions.
#pragma once

#include <array>
#include <vector>

#include "picture.hpp"
#include "prompt.hpp"

namespace aulos_examples {

// The colours of the training pictures, in the order of `Colour`.
inline constexpr std::array<Rgb, kColours.size()> kPalette = {{{225, 25, 25},
                                                               {0, 150, 60},
                                                               {25, 75, 225},
                                                               {255, 225, 0},
                                                               {255, 135, 0},
                                                               {145, 40, 180},
                                                               {255, 255, 255},
                                                               {0, 0, 0}}};

using MeanColour = std::array<double, 3>;

double distance(const MeanColour& a, const MeanColour& b);
MeanColour mean_colour(Rgb pixel);
Colour nearest_colour(const MeanColour& colour);

struct Region {
  Colour colour{};     // nearest palette colour of the mean
  MeanColour mean{};   // over its flat pixels
  int area = 0;        // in pixels
  int frame_area = 0;  // of it on the picture's frame
};

struct Regions {
  std::vector<Region> regions;
  std::vector<int> of_pixel;  // row-major index into `regions`
};

// Regions grow from flat pixels (no contrast with their neighbours), each edge pixel joining the adjacent region of the
// nearest colour: so a smooth edge from red to yellow is no third colour, orange. Specks and slivers join what
// surrounds them. A picture without any flat pixel has no regions.
Regions split_into_regions(const Image& image);

}  // namespace aulos_examples
