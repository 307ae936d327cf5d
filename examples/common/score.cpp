#include "score.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <utility>

#include "regions.hpp"

namespace aulos_examples {
namespace {

constexpr double kPi = 3.14159265358979323846;

// Of each shape at radius 1, in the order of `Shape`.
constexpr std::array<double, 5> kAreas = {kPi, 3.139984, 2.0296875, 1.8588, 2.72};
// Below this overlap a silhouette is none of the shapes. A circle overlaps a tilted square by 0.84 and a hexagon by
// 0.93, and is the one that blur harms least; it harms the star most.
constexpr std::array<double, 5> kLeastFit = {0.9, 0.84, 0.82, 0.8, 0.82};

// Radii in the middle between two sizes; for an inner object, shares of the room that its outer one leaves.
constexpr std::array<double, 2> kAlone = {10.25, 16.25}, kBeside = {7.25, 10.25}, kOuter = {21.75, 24.75},
                                kInner = {0.8, 0.92};

Size size_of(double radius, const std::array<double, 2>& limits) {
  return radius < limits[0] ? Size::small : radius < limits[1] ? Size::medium : Size::large;
}

// A map of values in [0, 1] over the picture: how much of each pixel an object covers.
struct Coverage {
  int width, height;
  int left = 0, top = 0, right = width, bottom = height;  // nothing is covered outside
  std::vector<double> values;

  Coverage(int columns, int rows) : width(columns), height(rows) {
    values.resize(static_cast<std::size_t>(columns) * static_cast<std::size_t>(rows));
  }
  double& operator()(int x, int y) { return values[static_cast<std::size_t>(y * width + x)]; }
  double operator()(int x, int y) const { return values[static_cast<std::size_t>(y * width + x)]; }

  // Narrows left, top, right and bottom to what is covered.
  void fit_bounds() {
    int x0 = width, y0 = height, x1 = 0, y1 = 0;
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        if ((*this)(x, y) == 0) continue;
        x0 = std::min(x0, x);
        y0 = std::min(y0, y);
        x1 = std::max(x1, x + 1);
        y1 = std::max(y1, y + 1);
      }
    }
    left = x0, top = y0, right = x1, bottom = y1;
  }
  bool holds(int x, int y) const { return x >= 0 && y >= 0 && x < width && y < height && (*this)(x, y) > 0.5; }
};

// The region's pixels and whatever they surround: all that can't be reached from outside the picture.
Coverage filled(const Regions& regions, int region, int width, int height) {
  Coverage mask(width, height);
  std::fill(mask.values.begin(), mask.values.end(), 1.0);
  std::vector<std::pair<int, int>> open;
  const auto reach = [&](int x, int y) {
    if (x < 0 || y < 0 || x >= width || y >= height || mask(x, y) == 0) return;
    if (regions.of_pixel[static_cast<std::size_t>(y * width + x)] == region) return;
    mask(x, y) = 0;
    open.emplace_back(x, y);
  };
  for (int x = 0; x < width; ++x) {
    reach(x, 0);
    reach(x, height - 1);
  }
  for (int y = 0; y < height; ++y) {
    reach(0, y);
    reach(width - 1, y);
  }
  while (!open.empty()) {
    const auto [x, y] = open.back();
    open.pop_back();
    reach(x - 1, y);
    reach(x + 1, y);
    reach(x, y - 1);
    reach(x, y + 1);
  }
  return mask;
}

constexpr double kSteepness = 2;

// A steeper rim about the same half-way line: what blur adds and takes there then counts less than the outline.
double hardened(double coverage) { return std::clamp(0.5 + kSteepness * (coverage - 0.5), 0.0, 1.0); }

// Along the rim of `mask` a pixel is a mixture of the object's colour and of the colour outside: its share of the way
// from the one to the other is its coverage.
Coverage softened(const Image& image, const Regions& regions, int region, const Coverage& mask) {
  Coverage soft = mask;
  const MeanColour inside = regions.regions[static_cast<std::size_t>(region)].mean;
  std::vector<int> votes(regions.regions.size());
  for (int y = 0; y < mask.height; ++y) {
    for (int x = 0; x < mask.width; ++x) {
      bool touches_inside = false;
      std::fill(votes.begin(), votes.end(), 0);
      for (int row = std::max(y - 1, 0); row <= std::min(y + 1, mask.height - 1); ++row) {
        for (int column = std::max(x - 1, 0); column <= std::min(x + 1, mask.width - 1); ++column) {
          const int owner = regions.of_pixel[static_cast<std::size_t>(row * mask.width + column)];
          if (mask.holds(column, row))
            touches_inside = true;
          else
            ++votes[static_cast<std::size_t>(owner)];
        }
      }
      const auto outside = std::max_element(votes.begin(), votes.end());
      if (!touches_inside || *outside == 0) continue;
      const MeanColour beyond = regions.regions[static_cast<std::size_t>(outside - votes.begin())].mean;
      const MeanColour pixel = mean_colour(image(x, y));
      double along = 0, whole = 0;
      for (std::size_t c = 0; c < 3; ++c) {
        along += (pixel[c] - beyond[c]) * (inside[c] - beyond[c]);
        whole += (inside[c] - beyond[c]) * (inside[c] - beyond[c]);
      }
      if (whole > 0) soft(x, y) = hardened(along / whole);
    }
  }
  soft.fit_bounds();
  return soft;
}

double overlap(const Coverage& coverage, Shape shape, const Outline& outline) {
  if (!(outline.radius > 1)) return 0;
  const int reach = static_cast<int>(1.2 * outline.radius) + 2;
  const int column = static_cast<int>(outline.x), row = static_cast<int>(outline.y);
  const int left = std::max(0, std::min(coverage.left, column - reach));
  const int top = std::max(0, std::min(coverage.top, row - reach));
  const int right = std::min(coverage.width, std::max(coverage.right, column + reach));
  const int bottom = std::min(coverage.height, std::max(coverage.bottom, row + reach));
  double both = 0, either = 0;
  for (int y = top; y < bottom; ++y) {
    for (int x = left; x < right; ++x) {
      const double a = coverage(x, y), b = hardened(pixel_coverage(shape, outline, x, y));
      both += std::min(a, b);
      either += std::max(a, b);
    }
  }
  return either > 0 ? both / either : 0;
}

// Moves and scales the outline in ever finer steps while that helps.
double refine(const Coverage& coverage, Shape shape, Outline& outline, double fit) {
  for (const double step : {0.5, 0.2}) {
    for (bool better = true; better;) {
      better = false;
      for (const Outline& move : {Outline{step, 0, 0}, Outline{-step, 0, 0}, Outline{0, step, 0}, Outline{0, -step, 0},
                                  Outline{0, 0, step}, Outline{0, 0, -step}}) {
        const Outline moved = {outline.x + move.x, outline.y + move.y, outline.radius + move.radius};
        if (const double moved_fit = overlap(coverage, shape, moved); moved_fit > fit) {
          outline = moved;
          fit = moved_fit;
          better = true;
        }
      }
    }
  }
  return fit;
}

// Each shape is laid over the silhouette with equal area and centroid; those that come near the best are refined.
void find_outline(const Coverage& coverage, FoundObject& object) {
  constexpr double kNear = 0.12;
  double area = 0, x = 0, y = 0;
  for (int row = 0; row < coverage.height; ++row) {
    for (int column = 0; column < coverage.width; ++column) {
      const double share = coverage(column, row);
      area += share;
      x += share * (column + 0.5);
      y += share * (row + 0.5);
    }
  }
  object.area = area;
  object.x = x / area;
  object.y = y / area;
  object.radius = std::sqrt(area / kPi);
  std::array<Outline, kShapes.size()> outlines{};
  std::array<double, kShapes.size()> fits{};
  for (std::size_t i = 0; i < kShapes.size(); ++i) {
    const double radius = std::sqrt(area / kAreas[i]);
    outlines[i] = {object.x, object.y - kAnchorY[i] * radius, radius};
    fits[i] = overlap(coverage, static_cast<Shape>(i), outlines[i]);
  }
  const double best = *std::max_element(fits.begin(), fits.end());
  for (std::size_t i = 0; i < kShapes.size(); ++i) {
    if (fits[i] >= best - kNear) fits[i] = refine(coverage, static_cast<Shape>(i), outlines[i], fits[i]);
  }
  const auto winner = static_cast<std::size_t>(std::max_element(fits.begin(), fits.end()) - fits.begin());
  object.fit = fits[winner];
  if (object.fit < kLeastFit[winner]) return;
  object.shape = static_cast<Shape>(winner);
  object.x = outlines[winner].x;
  object.y = outlines[winner].y;
  object.radius = outlines[winner].radius;
}

// Share of the pixels of `inner` that lie in `outer`.
double share_within(const Coverage& inner, const Coverage& outer) {
  double shared = 0, all = 0;
  for (std::size_t i = 0; i < inner.values.size(); ++i) {
    shared += inner.values[i] * outer.values[i];
    all += inner.values[i];
  }
  return all > 0 ? shared / all : 0;
}

Size size_of(const Sighting& sighting, std::size_t index) {
  const FoundObject& object = sighting.objects[index];
  if (object.within >= 0) {
    const FoundObject& outer = sighting.objects[static_cast<std::size_t>(object.within)];
    const auto inner_shape = static_cast<std::size_t>(object.shape.value_or(Shape::circle));
    const auto outer_shape = static_cast<std::size_t>(outer.shape.value_or(Shape::circle));
    const double room = (kInscribed[outer_shape] * outer.radius - 1.5) / kCircumscribed[inner_shape];
    return size_of(object.radius / std::min(room, 0.55 * outer.radius), kInner);
  }
  const bool surrounds = std::any_of(sighting.objects.begin(), sighting.objects.end(),
                                     [&](const FoundObject& other) { return other.within == static_cast<int>(index); });
  return size_of(object.radius, surrounds ? kOuter : sighting.objects.size() == 1 ? kAlone : kBeside);
}

Colour commonest_on_frame(const Regions& regions) {
  std::array<int, kColours.size()> pixels{};
  for (const Region& region : regions.regions) pixels[static_cast<std::size_t>(region.colour)] += region.frame_area;
  return static_cast<Colour>(std::max_element(pixels.begin(), pixels.end()) - pixels.begin());
}

bool holds(Relation relation, const Sighting& sighting, std::size_t first, std::size_t second) {
  const FoundObject &a = sighting.objects[first], &b = sighting.objects[second];
  if (relation == Relation::inside) return a.within == static_cast<int>(second);
  if (a.within == static_cast<int>(second) || b.within == static_cast<int>(first)) return false;
  const double dx = a.x - b.x, dy = a.y - b.y;
  switch (relation) {
    case Relation::above:
      return -dy > std::abs(dx);
    case Relation::below:
      return dy > std::abs(dx);
    case Relation::left_of:
      return -dx > std::abs(dy);
    case Relation::right_of:
      return dx > std::abs(dy);
    case Relation::inside:
      break;
  }
  return false;
}

constexpr std::size_t kMissing = static_cast<std::size_t>(-1);

// The score if the wanted objects are the seen ones with these indices.
Score score_as(const Sighting& sighting, const Scene& wanted, std::size_t first, std::size_t second) {
  Score score;
  const auto compare = [&](const Object& object, std::size_t index) {
    const FoundObject* seen = index == kMissing ? nullptr : &sighting.objects[index];
    score.colour.add(seen != nullptr && seen->colour == object.colour);
    score.shape.add(seen != nullptr && seen->shape == object.shape);
    if (object.size) score.size.add(seen != nullptr && seen->size == *object.size);
  };
  compare(wanted.first, first);
  if (wanted.second) {
    compare(wanted.second->object, second);
    score.relation.add(first != kMissing && second != kMissing &&
                       holds(wanted.second->relation, sighting, first, second));
  }
  if (wanted.background) score.background.add(sighting.background == *wanted.background);
  score.count.add(sighting.objects.size() == (wanted.second ? 2U : 1U));
  bool all = true;
  for (const Tally& tally : {score.colour, score.shape, score.relation, score.background, score.count}) {
    all = all && tally.right == tally.asked;
  }
  score.prompt.add(all);
  return score;
}

// The relation decides only between pairings of equally many right colours and shapes.
int pairing_value(const Score& score) { return 2 * (score.colour.right + score.shape.right) + score.relation.right; }

}  // namespace

Sighting look_at(const Image& image) {
  Sighting sighting;
  const Regions regions = split_into_regions(image);
  if (regions.regions.empty()) return sighting;
  sighting.background = commonest_on_frame(regions);
  std::vector<std::pair<FoundObject, Coverage>> found;
  for (std::size_t i = 0; i < regions.regions.size(); ++i) {
    const Region& region = regions.regions[i];
    if (region.colour == sighting.background && region.frame_area > 0) continue;
    FoundObject object;
    object.colour = region.colour;
    Coverage mask = filled(regions, static_cast<int>(i), image.width(), image.height());
    find_outline(softened(image, regions, static_cast<int>(i), mask), object);
    found.emplace_back(object, std::move(mask));
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first.area > b.first.area; });
  for (std::size_t inner = 0; inner < found.size(); ++inner) {
    for (std::size_t outer = 0; outer < inner; ++outer) {  // the last, smallest one is the nearest around it
      if (share_within(found[inner].second, found[outer].second) > 0.9) {
        found[inner].first.within = static_cast<int>(outer);
      }
    }
    sighting.objects.push_back(found[inner].first);
  }
  for (std::size_t i = 0; i < sighting.objects.size(); ++i) sighting.objects[i].size = size_of(sighting, i);
  return sighting;
}

Tally& Tally::operator+=(const Tally& other) {
  right += other.right;
  asked += other.asked;
  return *this;
}

Score& Score::operator+=(const Score& other) {
  colour += other.colour;
  shape += other.shape;
  relation += other.relation;
  size += other.size;
  background += other.background;
  count += other.count;
  prompt += other.prompt;
  return *this;
}

Score judge(const Sighting& sighting, const Scene& wanted) {
  const std::size_t first = sighting.objects.empty() ? kMissing : 0;
  if (!wanted.second) return score_as(sighting, wanted, first, kMissing);
  const std::size_t second = sighting.objects.size() < 2 ? kMissing : 1;
  const Score straight = score_as(sighting, wanted, first, second);
  const Score crossed = score_as(sighting, wanted, second, first);
  return pairing_value(crossed) > pairing_value(straight) ? crossed : straight;
}

}  // namespace aulos_examples
