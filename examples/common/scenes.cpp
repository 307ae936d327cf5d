#include "scenes.hpp"

#include <algorithm>
#include <cstddef>

#include "aulos/core/random.hpp"
#include "regions.hpp"

namespace aulos_examples {
namespace {

struct Range {
  double low, high;
};
using BySize = std::array<Range, kSizes.size()>;

constexpr double kExtent = 1.15;  // of every shape, at radius 1
constexpr BySize kAlone = {{{7, 9}, {11.5, 14.5}, {18, 22}}};
constexpr BySize kBeside = {{{5.5, 6.5}, {8, 9.5}, {11, 12.5}}};
constexpr BySize kOuter = {{{20, 21}, {22.5, 24}, {25.5, 26.5}}};
constexpr BySize kInner = {{{0.72, 0.76}, {0.84, 0.88}, {0.96, 1}}};  // share of the room that the outer one leaves

template <class Enum>
std::size_t at(Enum value) {
  return static_cast<std::size_t>(value);
}

class Dice {
 public:
  Dice(std::uint64_t seed, std::uint64_t index) : random_(seed, index) {}

  double within(Range range) { return range.low + (range.high - range.low) * random_.uniform01(); }
  bool with_probability(double p) { return random_.uniform01() < p; }
  template <class Enum, std::size_t Count>
  Enum one_of(const std::array<std::string_view, Count>&) {
    return static_cast<Enum>(random_.below(static_cast<aulos::Index>(Count)));
  }
  Object object() {
    Object object;
    object.size = one_of<Size>(kSizes);
    object.colour = one_of<Colour>(kColours);
    object.shape = one_of<Shape>(kShapes);
    return object;
  }

 private:
  aulos::Random random_;
};

Scene choose(Dice& dice, double alone) {
  Scene scene;
  const bool pair = !dice.with_probability(alone);
  const auto relation = pair ? dice.one_of<Relation>(kRelations) : Relation{};
  do {
    scene.first = dice.object();
    if (pair) scene.second = RelatedObject{relation, dice.object()};
  } while (held_out(scene) || !invisible_reason(scene).empty());
  do {
    scene.background = dice.one_of<Colour>(kColours);
  } while (!invisible_reason(scene).empty());
  return scene;
}

std::vector<std::string> caption(Dice& dice, Scene scene) {
  const auto leave_out = [&](auto& detail) {
    if (dice.with_probability(0.5)) detail.reset();
  };
  leave_out(scene.first.size);
  if (scene.second) leave_out(scene.second->object.size);
  leave_out(scene.background);
  std::vector<std::string> words = parse_prompt(to_text(scene)).words;
  std::erase_if(words,
                [&](const std::string& word) { return (word == "a" || word == "an") && dice.with_probability(0.1); });
  return words;
}

// Anywhere in the picture, a pixel off the frame.
double anywhere(Dice& dice, double extent) { return dice.within({1 + extent, kSceneSide - 1 - extent}); }

void place_inside(Dice& dice, const Scene& scene, std::array<Outline, 2>& outlines) {
  auto& [inner, outer] = outlines;
  const std::size_t inner_shape = at(scene.first.shape), outer_shape = at(scene.second->object.shape);
  outer.radius = dice.within(kOuter[at(*scene.second->object.size)]);
  const double room = (kInscribed[outer_shape] * outer.radius - 1.5) / kCircumscribed[inner_shape];
  inner.radius = dice.within(kInner[at(*scene.first.size)]) * std::min(room, 0.55 * outer.radius);
  outer.x = inner.x = anywhere(dice, kExtent * outer.radius);
  outer.y = anywhere(dice, kExtent * outer.radius);
  inner.y = outer.y + kAnchorY[outer_shape] * outer.radius - kAnchorY[inner_shape] * inner.radius;
}

void place_beside(Dice& dice, const Scene& scene, std::array<Outline, 2>& outlines) {
  const Relation relation = scene.second->relation;
  outlines[0].radius = dice.within(kBeside[at(*scene.first.size)]);
  outlines[1].radius = dice.within(kBeside[at(*scene.second->object.size)]);
  const bool ahead =
      relation == Relation::above || relation == Relation::left_of;  // the first has the lesser coordinate
  Outline &before = outlines[ahead ? 0 : 1], &after = outlines[ahead ? 1 : 0];
  const double total = 2 * kExtent * (before.radius + after.radius), free = kSceneSide - 2 - total;
  const double gap = dice.within({2, std::clamp(free, 2.0, 10.0)});
  const double start = dice.within({1, 1 + free - gap});
  const double widest = kExtent * std::max(before.radius, after.radius);
  const double level = anywhere(dice, widest);
  const bool vertical = relation == Relation::above || relation == Relation::below;
  const auto put = [&](Outline& outline, double along) {
    const double extent = kExtent * outline.radius;
    const double across = std::clamp(level + dice.within({-3, 3}), 1 + extent, kSceneSide - 1 - extent);
    outline.x = vertical ? across : along;
    outline.y = vertical ? along : across;
  };
  put(before, start + kExtent * before.radius);
  put(after, start + kExtent * (2 * before.radius + after.radius) + gap);
}

}  // namespace

DrawnScene draw_scene(std::uint64_t seed, std::uint64_t index, double alone) {
  Dice dice(seed, index);
  DrawnScene drawn;
  drawn.scene = choose(dice, alone);
  drawn.caption = caption(dice, drawn.scene);
  if (!drawn.scene.second) {
    Outline& outline = drawn.outlines[0];
    outline.radius = dice.within(kAlone[at(*drawn.scene.first.size)]);
    outline.x = anywhere(dice, kExtent * outline.radius);
    outline.y = anywhere(dice, kExtent * outline.radius);
  } else if (drawn.scene.second->relation == Relation::inside) {
    place_inside(dice, drawn.scene, drawn.outlines);
  } else {
    place_beside(dice, drawn.scene, drawn.outlines);
  }
  return drawn;
}

void paint(const DrawnScene& drawn, int side, float* planes) {
  const Scene& scene = drawn.scene;
  const std::size_t pixels = static_cast<std::size_t>(side) * static_cast<std::size_t>(side);
  const auto level = [](Colour colour, std::size_t channel) {
    const Rgb rgb = kPalette[at(colour)];
    return (channel == 0 ? rgb.r : channel == 1 ? rgb.g : rgb.b) / 127.5 - 1;
  };
  const auto scaled = [side](Outline outline) {
    const double scale = static_cast<double>(side) / kSceneSide;
    return Outline{outline.x * scale, outline.y * scale, outline.radius * scale};
  };
  for (std::size_t c = 0; c < 3; ++c)
    std::fill_n(planes + c * pixels, pixels, static_cast<float>(level(*scene.background, c)));
  // Objects beside each other share no sample of a pixel, and an inner one lies wholly in the outer: painting one after
  // the other is exact but where both cover a pixel in part, which their distance rules out.
  const auto add = [&](const Object& object, const Outline& outline) {
    const double reach = kExtent * outline.radius + 1;
    const auto within = [side](double place) { return std::clamp(static_cast<int>(place), 0, side); };
    for (int y = within(outline.y - reach); y < within(outline.y + reach + 1); ++y) {
      for (int x = within(outline.x - reach); x < within(outline.x + reach + 1); ++x) {
        const double share = pixel_coverage(object.shape, outline, x, y);
        if (share == 0) continue;
        float* pixel = planes + static_cast<std::size_t>(y) * static_cast<std::size_t>(side) + x;
        for (std::size_t c = 0; c < 3; ++c, pixel += pixels)
          *pixel += static_cast<float>(share * (level(object.colour, c) - static_cast<double>(*pixel)));
      }
    }
  };
  if (scene.second) add(scene.second->object, scaled(drawn.outlines[1]));
  add(scene.first, scaled(drawn.outlines[0]));
}

}  // namespace aulos_examples
