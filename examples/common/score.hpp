// Scores a picture of one or two coloured shapes by geometry alone: nothing here is learnt, and nothing of the wanted
// scene is known while colours and shapes are named.
#pragma once

#include <optional>
#include <vector>

#include "outline.hpp"
#include "picture.hpp"
#include "prompt.hpp"

namespace aulos_examples {

struct FoundObject {
  Colour colour{};             // nearest palette colour of its mean
  std::optional<Shape> shape;  // best fitting outline; none where no outline fits well
  double fit = 0;              // intersection over union with that outline, 1 is perfect
  double x = 0, y = 0;         // centre of the outline, in pixels from the upper left corner
  double radius = 0;           // its radius in pixels
  double area = 0;             // of the silhouette, what lies inside included, in pixels
  int within = -1;             // index of the object whose silhouette surrounds it, -1 for none
  Size size{};                 // by its radius, among the sizes of its place: alone, beside, outer, inner
};

// What a picture shows, largest silhouette first.
struct Sighting {
  Colour background{};
  std::vector<FoundObject> objects;
};

// The commonest colour along the frame is the background; each other region (regions.hpp) with its holes filled is an
// object, and its soft silhouette is compared with all five outlines.
Sighting look_at(const Image& image);

// Right answers out of those asked for.
struct Tally {
  int right = 0, asked = 0;

  void add(bool correct) {
    right += correct ? 1 : 0;
    ++asked;
  }
  Tally& operator+=(const Tally& other);
  double percent() const { return asked > 0 ? 100.0 * right / asked : 0.0; }
};

// By attribute. Colour and shape are asked once per object; relation, size and background only if the prompt names
// them.
struct Score {
  Tally colour, shape, relation, size, background;
  Tally count;   // as many objects as wanted
  Tally prompt;  // all of the above but size

  Score& operator+=(const Score& other);
};

// The largest objects of the picture are paired with the wanted ones so that most colours and shapes fit; a missing
// object is wrong in colour, shape and relation.
Score judge(const Sighting& sighting, const Scene& wanted);

}  // namespace aulos_examples
