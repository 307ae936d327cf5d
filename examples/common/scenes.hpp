// Training pictures: scenes of the language with a caption, drawn at random.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "outline.hpp"
#include "prompt.hpp"

namespace aulos_examples {

// A scene with a place for each of its objects.
struct DrawnScene {
  Scene scene;                        // all there is to see: background and sizes are set
  std::vector<std::string> caption;   // what a caption says of it
  std::array<Outline, 2> outlines{};  // of the first and the second object, in a picture of side kSceneSide
};

inline constexpr int kSceneSide = 64;

// Scene `index` of a seed; it depends on nothing else. One object with probability `alone`, else two. Colours, shapes,
// relations, sizes and backgrounds are uniform over what can be seen (invisible_reason) and is not held out. Captions
// name each size and the background in half of the scenes and leave out a tenth of the articles. Radii, gaps and places
// are those of tools/shapes_scenes.py.
DrawnScene draw_scene(std::uint64_t seed, std::uint64_t index, double alone);

// The picture [3, side, side] in [-1, 1]: the background, the second object, the first one, edges smoothed by 4x4
// samples a pixel.
void paint(const DrawnScene& scene, int side, float* planes);

}  // namespace aulos_examples
