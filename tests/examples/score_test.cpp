// The scorer against pictures drawn here by signed distance: clean, blurred, noisy, wrong, and of other shapes.
#include "common/score.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "common/regions.hpp"
#include "common/score_report.hpp"

namespace {

using namespace aulos_examples;

using Point = std::array<double, 2>;
using Polygon = std::vector<Point>;

constexpr int kSide = 64;

// Corners around the centre for radius 1; the circle is a polygon of many.
Polygon corners(Shape shape) {
  Polygon polygon;
  const auto star = [&](int count, double outer, double inner) {
    for (int i = 0; i < 2 * count; ++i) {
      const double angle = std::numbers::pi * (i / static_cast<double>(count) - 0.5), r = i % 2 == 0 ? outer : inner;
      polygon.push_back({r * std::cos(angle), r * std::sin(angle)});
    }
  };
  switch (shape) {
    case Shape::circle:
      star(60, 1, 1);
      break;
    case Shape::square:
      polygon = {{-0.886, -0.886}, {0.886, -0.886}, {0.886, 0.886}, {-0.886, 0.886}};
      break;
    case Shape::triangle:
      polygon = {{0, -0.9375}, {1.0825, 0.9375}, {-1.0825, 0.9375}};
      break;
    case Shape::star:
      star(5, 1.15, 0.55);
      break;
    case Shape::cross:
      polygon = {{-0.4, -1.05}, {0.4, -1.05}, {0.4, -0.4}, {1.05, -0.4}, {1.05, 0.4},   {0.4, 0.4},
                 {0.4, 1.05},   {-0.4, 1.05}, {-0.4, 0.4}, {-1.05, 0.4}, {-1.05, -0.4}, {-0.4, -0.4}};
      break;
  }
  return polygon;
}

// Negative inside.
double signed_distance(const Polygon& polygon, Point p) {
  double nearest = 1e30;
  bool inside = false;
  for (std::size_t i = 0, j = polygon.size() - 1; i < polygon.size(); j = i++) {
    const Point &a = polygon[i], &b = polygon[j];
    const double ex = b[0] - a[0], ey = b[1] - a[1], wx = p[0] - a[0], wy = p[1] - a[1];
    const double t = std::clamp((wx * ex + wy * ey) / (ex * ex + ey * ey), 0.0, 1.0);
    nearest = std::min(nearest, std::hypot(wx - t * ex, wy - t * ey));
    if ((a[1] > p[1]) != (b[1] > p[1]) && p[0] < (b[0] - a[0]) * (p[1] - a[1]) / (b[1] - a[1]) + a[0]) inside = !inside;
  }
  return inside ? -nearest : nearest;
}

using Canvas = std::vector<MeanColour>;  // kSide * kSide

Canvas canvas(Colour background) {
  return Canvas(kSide * kSide, mean_colour(kPalette[static_cast<std::size_t>(background)]));
}

void draw(const Polygon& polygon, double x, double y, double radius, MeanColour colour, Canvas& onto) {
  for (int row = 0; row < kSide; ++row) {
    for (int column = 0; column < kSide; ++column) {
      const double d = radius * signed_distance(polygon, {(column + 0.5 - x) / radius, (row + 0.5 - y) / radius});
      const double share = std::clamp(0.5 - d, 0.0, 1.0);
      MeanColour& pixel = onto[static_cast<std::size_t>(row * kSide + column)];
      for (std::size_t c = 0; c < 3; ++c) pixel[c] += share * (colour[c] - pixel[c]);
    }
  }
}

void draw(Shape shape, double x, double y, double radius, Colour colour, Canvas& onto) {
  draw(corners(shape), x, y, radius, mean_colour(kPalette[static_cast<std::size_t>(colour)]), onto);
}

// The binomial filter [1 2 1] / 4 on both axes: a blur of 0.7 pixels.
Canvas blurred(const Canvas& from) {
  Canvas result = from;
  for (const int stride : {1, kSide}) {
    const Canvas source = result;
    for (int i = 0; i < kSide * kSide; ++i) {
      const int along = stride == 1 ? i % kSide : i / kSide;
      const auto low = static_cast<std::size_t>(along > 0 ? i - stride : i);
      const auto high = static_cast<std::size_t>(along + 1 < kSide ? i + stride : i), at = static_cast<std::size_t>(i);
      for (std::size_t c = 0; c < 3; ++c) result[at][c] = (source[low][c] + 2 * source[at][c] + source[high][c]) / 4;
    }
  }
  return result;
}

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}
  double uniform(double low, double high) {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return low + (high - low) * static_cast<double>(state_ >> 40U) / static_cast<double>(1U << 24U);
  }
  int below(int bound) { return std::min(bound - 1, static_cast<int>(uniform(0, bound))); }
  double normal() {  // near enough
    double sum = 0;
    for (int i = 0; i < 12; ++i) sum += uniform(-0.5, 0.5);
    return sum;
  }

 private:
  std::uint64_t state_;
};

Image picture(const Canvas& from, double noise = 0, std::uint64_t seed = 1) {
  Dice dice(seed);
  Image image(kSide, kSide);
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      const MeanColour& pixel = from[static_cast<std::size_t>(y * kSide + x)];
      const auto byte = [&](double value) {
        return static_cast<std::uint8_t>(std::clamp(value + noise * dice.normal(), 0.0, 255.0) + 0.5);
      };
      image(x, y) = {byte(pixel[0]), byte(pixel[1]), byte(pixel[2])};
    }
  }
  return image;
}

Scene scene(std::string_view prompt) { return parse_prompt(prompt).scene; }

bool correct(const Score& score) { return score.prompt.asked == 1 && score.prompt.right == 1; }

// A scene laid out as in the training pictures.
Canvas laid_out(const Scene& wanted, Dice& dice) {
  Canvas result = canvas(*wanted.background);
  const double outer = dice.uniform(20, 26.5);
  if (!wanted.second) {
    const double radius = dice.uniform(7, 22), e = 1.15 * radius;
    draw(wanted.first.shape, dice.uniform(1 + e, 63 - e), dice.uniform(1 + e, 63 - e), radius, wanted.first.colour,
         result);
    return result;
  }
  const Object &first = wanted.first, &second = wanted.second->object;
  if (wanted.second->relation == Relation::inside) {
    constexpr std::array<double, 5> kInscribed = {1, 0.886, 0.625, 0.55, 0.5657};
    constexpr std::array<double, 5> kCircumscribed = {1, 1.253, 1.25, 1.15, 1.124};
    constexpr std::array<double, 5> kAnchor = {0, 0, 0.3125, 0, 0};
    const auto i = static_cast<std::size_t>(first.shape), o = static_cast<std::size_t>(second.shape);
    const double e = 1.15 * outer, x = dice.uniform(1 + e, 63 - e), y = dice.uniform(1 + e, 63 - e);
    const double inner =
        dice.uniform(0.72, 1) * std::min((kInscribed[o] * outer - 1.5) / kCircumscribed[i], 0.55 * outer);
    draw(second.shape, x, y, outer, second.colour, result);
    draw(first.shape, x, y + kAnchor[o] * outer - kAnchor[i] * inner, inner, first.colour, result);
    return result;
  }
  const double r1 = dice.uniform(5.5, 12.5), r2 = dice.uniform(5.5, 12.5), e1 = 1.15 * r1, e2 = 1.15 * r2;
  const double gap = dice.uniform(2, std::max(2.0, std::min(10.0, 62 - 2 * e1 - 2 * e2)));
  const double start = dice.uniform(1, 63 - (2 * e1 + gap + 2 * e2)), widest = std::max(e1, e2);
  const double common = dice.uniform(1 + widest, 63 - widest);
  const auto across = [&](double e) { return std::clamp(common + dice.uniform(-3, 3), 1 + e, 63 - e); };
  const Relation relation = wanted.second->relation;
  const bool ahead = relation == Relation::above || relation == Relation::left_of;
  double a1 = start + e1, a2 = start + 2 * e1 + gap + e2;
  if (!ahead) a2 = start + e2, a1 = start + 2 * e2 + gap + e1;
  const double c1 = across(e1), c2 = across(e2);
  const bool vertical = relation == Relation::above || relation == Relation::below;
  draw(second.shape, vertical ? c2 : a2, vertical ? a2 : c2, r2, second.colour, result);
  draw(first.shape, vertical ? c1 : a1, vertical ? a1 : c1, r1, first.colour, result);
  return result;
}

Scene random_scene(Dice& dice, int index) {
  Scene wanted;
  wanted.first = {std::nullopt, static_cast<Colour>(dice.below(8)), static_cast<Shape>(index % 5)};
  const int relation = index / 5 % 6;  // 5: alone
  if (relation < 5) {
    wanted.second = {static_cast<Relation>(relation),
                     {std::nullopt, static_cast<Colour>(dice.below(8)), static_cast<Shape>(index / 30 % 5)}};
    while (relation == 4 && wanted.second->object.colour == wanted.first.colour) {
      wanted.second->object.colour = static_cast<Colour>(dice.below(8));
    }
  }
  do {
    wanted.background = static_cast<Colour>(dice.below(8));
  } while (!invisible_reason(wanted).empty());
  return wanted;
}

// All 25 pairs of shapes in all relations, and each shape alone.
void expect_all_correct(double noise, int blurs) {
  Dice dice(17);
  Score total;
  for (int i = 0; i < 150; ++i) {
    const Scene wanted = random_scene(dice, i);
    Canvas drawn = laid_out(wanted, dice);
    for (int n = 0; n < blurs; ++n) drawn = blurred(drawn);
    const Sighting seen = look_at(picture(drawn, noise, static_cast<std::uint64_t>(i)));
    const Score score = judge(seen, wanted);
    EXPECT_TRUE(correct(score)) << to_text(wanted) << "; seen: " << to_text(seen);
    total += score;
  }
  EXPECT_EQ(total.prompt.asked, 150);
  EXPECT_EQ(total.relation.asked, 125);
  EXPECT_EQ(total.colour.asked, 275);
}

TEST(Score, CleanPictures) { expect_all_correct(0, 0); }
TEST(Score, BlurredPictures) { expect_all_correct(0, 2); }
TEST(Score, NoisyPictures) { expect_all_correct(12, 0); }
TEST(Score, BlurredAndNoisyPictures) { expect_all_correct(8, 1); }

TEST(Score, FindsPlaceRadiusAndSize) {
  for (int i = 0; i < 15; ++i) {
    const auto shape = static_cast<Shape>(i % 5);
    const double radius = std::array<double, 3>{8.2, 13.1, 19.6}[static_cast<std::size_t>(i / 5)];
    Canvas drawn = canvas(Colour::white);
    draw(shape, 30.3, 33.8, radius, Colour::purple, drawn);
    const Sighting seen = look_at(picture(drawn));
    ASSERT_EQ(seen.objects.size(), 1U);
    EXPECT_EQ(seen.objects[0].shape, shape);
    EXPECT_GT(seen.objects[0].fit, 0.93);
    EXPECT_NEAR(seen.objects[0].x, 30.3, 0.3);
    EXPECT_NEAR(seen.objects[0].y, 33.8, 0.3);
    EXPECT_NEAR(seen.objects[0].radius, radius, 0.35);
    EXPECT_EQ(seen.objects[0].size, static_cast<Size>(i / 5));
    EXPECT_EQ(seen.objects[0].within, -1);
  }
}

TEST(Score, AnEdgeBetweenTwoColoursIsNoThirdOne) {
  const std::array<std::pair<Colour, Colour>, 6> pairs = {{{Colour::red, Colour::yellow},  // orange between them
                                                           {Colour::yellow, Colour::red},
                                                           {Colour::red, Colour::blue},  // purple
                                                           {Colour::black, Colour::white},
                                                           {Colour::white, Colour::black},
                                                           {Colour::orange, Colour::yellow}}};
  for (const auto& [object, ground] : pairs) {
    Canvas drawn = canvas(ground);
    draw(Shape::star, 31, 32, 20, object, drawn);
    const Sighting seen = look_at(picture(blurred(blurred(drawn))));
    ASSERT_EQ(seen.objects.size(), 1U) << name(object) << " on " << name(ground);
    EXPECT_EQ(seen.objects[0].colour, object);
    EXPECT_EQ(seen.objects[0].shape, Shape::star);
    EXPECT_EQ(seen.background, ground);
  }
}

TEST(Score, AnInnerObjectInTheColourOfTheGroundIsAnObject) {
  Canvas drawn = canvas(Colour::white);
  draw(Shape::square, 32, 32, 24, Colour::red, drawn);
  draw(Shape::star, 32, 32, 11, Colour::white, drawn);
  EXPECT_TRUE(correct(judge(look_at(picture(drawn)), scene("white star inside red square"))));
}

TEST(Score, EachWrongAttributeIsWrongAlone) {
  Canvas drawn = canvas(Colour::yellow);
  draw(Shape::circle, 20, 16, 10, Colour::red, drawn);
  draw(Shape::square, 22, 46, 9, Colour::blue, drawn);
  const Sighting seen = look_at(picture(drawn));
  EXPECT_EQ(to_text(seen), "red circle, blue square on yellow");
  const auto right = [&](std::string_view prompt) {
    const Score score = judge(seen, scene(prompt));
    return std::array<int, 4>{score.colour.right, score.shape.right, score.relation.right, score.prompt.right};
  };
  using Right = std::array<int, 4>;
  EXPECT_EQ(right("red circle above blue square"), (Right{2, 2, 1, 1}));
  EXPECT_EQ(right("blue square below red circle"), (Right{2, 2, 1, 1}));
  EXPECT_EQ(right("green circle above blue square"), (Right{1, 2, 1, 0}));
  EXPECT_EQ(right("red star above blue square"), (Right{2, 1, 1, 0}));
  EXPECT_EQ(right("red circle below blue square"), (Right{2, 2, 0, 0}));
  EXPECT_EQ(right("red circle left of blue square"), (Right{2, 2, 0, 0}));
  EXPECT_EQ(right("red circle inside blue square"), (Right{2, 2, 0, 0}));
  EXPECT_EQ(right("blue circle above red square"), (Right{0, 2, 1, 0}));  // colours bound to the wrong shapes
  EXPECT_EQ(right("white star above green cross"), (Right{0, 0, 1, 0}));
  EXPECT_EQ(right("red circle"), (Right{1, 1, 0, 0}));  // one object too many
  EXPECT_EQ(judge(seen, scene("red circle above blue square on yellow background")).background.right, 1);
  EXPECT_EQ(judge(seen, scene("red circle above blue square on black background")).background.right, 0);
  EXPECT_EQ(judge(seen, scene("medium red circle above medium blue square")).size.right, 2);
  EXPECT_EQ(judge(seen, scene("small red circle above large blue square")).size.right, 0);
}

TEST(Score, InsideIsNotBeside) {
  Canvas drawn = canvas(Colour::black);
  draw(Shape::circle, 30, 30, 25, Colour::green, drawn);
  draw(Shape::cross, 30, 40, 8, Colour::orange, drawn);  // inside, and lower than the centre
  const Sighting seen = look_at(picture(drawn));
  ASSERT_EQ(seen.objects.size(), 2U);
  EXPECT_EQ(seen.objects[1].within, 0);
  EXPECT_TRUE(correct(judge(seen, scene("orange cross inside green circle"))));
  EXPECT_EQ(judge(seen, scene("orange cross below green circle")).relation.right, 0);
  EXPECT_EQ(judge(seen, scene("green circle inside orange cross")).relation.right, 0);
}

TEST(Score, TwinsFitEitherWay) {
  Canvas drawn = canvas(Colour::white);
  draw(Shape::star, 15, 30, 10, Colour::red, drawn);
  draw(Shape::star, 46, 33, 12, Colour::red, drawn);
  const Sighting seen = look_at(picture(drawn));
  EXPECT_TRUE(correct(judge(seen, scene("red star left of red star"))));
  EXPECT_TRUE(correct(judge(seen, scene("red star right of red star"))));
  EXPECT_FALSE(correct(judge(seen, scene("red star above red star"))));
}

TEST(Score, MissingObjectsAreWrong) {
  Canvas drawn = canvas(Colour::blue);
  const Sighting nothing = look_at(picture(drawn));
  EXPECT_EQ(nothing.background, Colour::blue);
  EXPECT_TRUE(nothing.objects.empty());
  Score score = judge(nothing, scene("red circle above green star"));
  EXPECT_EQ(score.colour.right + score.shape.right + score.relation.right + score.count.right, 0);
  EXPECT_EQ(score.colour.asked, 2);
  EXPECT_EQ(score.relation.asked, 1);
  draw(Shape::star, 40, 40, 10, Colour::green, drawn);
  score = judge(look_at(picture(drawn)), scene("red circle above green star"));
  EXPECT_EQ(score.colour.right, 1);
  EXPECT_EQ(score.shape.right, 1);
  EXPECT_EQ(score.relation.right, 0);
  EXPECT_FALSE(correct(judge(nothing, scene("red circle"))));
}

TEST(Score, OtherOutlinesAreNoShapes) {
  const auto ellipse = [](double stretch) {
    Polygon polygon = corners(Shape::circle);
    for (Point& p : polygon) p[1] *= stretch;
    return polygon;
  };
  const auto turned = [](Shape shape, double degrees) {
    Polygon polygon = corners(shape);
    const double c = std::cos(degrees / 180 * std::numbers::pi), s = std::sin(degrees / 180 * std::numbers::pi);
    for (Point& p : polygon) p = {c * p[0] - s * p[1], s * p[0] + c * p[1]};
    return polygon;
  };
  const std::vector<std::pair<std::string, Polygon>> outlines = {
      {"diamond", turned(Shape::square, 45)},
      {"tilted square", turned(Shape::square, 22)},
      {"triangle upside down", turned(Shape::triangle, 180)},
      {"tilted triangle", turned(Shape::triangle, 20)},
      {"x", turned(Shape::cross, 45)},
      {"star upside down", turned(Shape::star, 36)},
      {"ellipse", ellipse(0.7)},
      {"flat ellipse", ellipse(0.5)},
      {"half", {{-1, -0.5}, {1, -0.5}, {1, 0.5}, {-1, 0.5}}},
      {"corner", {{-0.9, -0.9}, {0.9, -0.9}, {0.9, -0.2}, {-0.2, -0.2}, {-0.2, 0.9}, {-0.9, 0.9}}}};
  for (const auto& [label, outline] : outlines) {
    for (const double radius : {8.0, 20.0}) {
      Canvas drawn = canvas(Colour::white);
      draw(outline, 31.5, 32.2, radius, {225, 25, 25}, drawn);
      const Sighting seen = look_at(picture(drawn));
      ASSERT_EQ(seen.objects.size(), 1U) << label;
      EXPECT_FALSE(seen.objects[0].shape) << label << ": " << to_text(seen);
      EXPECT_EQ(seen.objects[0].colour, Colour::red);
    }
  }
}

TEST(Score, ColoursOffThePalette) {
  Canvas drawn = canvas(Colour::white);
  draw(corners(Shape::circle), 20, 20, 10, {200, 45, 40}, drawn);
  draw(corners(Shape::square), 45, 42, 10, {60, 100, 200}, drawn);
  EXPECT_EQ(to_text(look_at(picture(drawn))), "blue square, red circle on white");
}

TEST(Score, SpecksAreIgnoredAndBlotchesCount) {
  Canvas drawn = canvas(Colour::white);
  draw(Shape::circle, 20, 20, 10, Colour::red, drawn);
  draw(Shape::square, 50, 50, 2, Colour::blue, drawn);  // 13 pixels
  EXPECT_EQ(look_at(picture(drawn)).objects.size(), 1U);
  draw(Shape::square, 50, 20, 5, Colour::blue, drawn);
  EXPECT_EQ(judge(look_at(picture(drawn)), scene("red circle")).count.right, 0);
}

TEST(Score, AnyPictureIsSafe) {
  EXPECT_TRUE(look_at(Image()).objects.empty());
  EXPECT_TRUE(look_at(Image(1, 1, {255, 0, 0})).objects.empty());
  look_at(Image(3, 200, {255, 0, 0}));
  Image wild(kSide, kSide), stripes(kSide, kSide);
  Dice dice(5);
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      const auto byte = [&] { return static_cast<std::uint8_t>(dice.below(256)); };
      wild(x, y) = {byte(), byte(), byte()};
      stripes(x, y) = x / 8 % 2 == 0 ? Rgb{255, 255, 255} : Rgb{0, 0, 0};
    }
  }
  for (const Image& image : {wild, stripes}) EXPECT_FALSE(correct(judge(look_at(image), scene("red circle"))));
}

TEST(Score, CoversAgreesWithTheDistance) {
  Dice dice(9);
  for (int i = 0; i < 5; ++i) {
    const auto shape = static_cast<Shape>(i);
    const Polygon polygon = corners(shape);
    for (int n = 0; n < 3000; ++n) {
      const Point p = {dice.uniform(-1.3, 1.3), dice.uniform(-1.3, 1.3)};
      const double d = signed_distance(polygon, p);
      if (std::abs(d) < 0.002) continue;
      EXPECT_EQ(covers(shape, p[0], p[1]), d < 0) << name(shape) << ' ' << p[0] << ' ' << p[1];
    }
  }
}

TEST(ScoreReport, TableAndLines) {
  Score score;
  score.colour = {397, 400};
  score.shape = {1, 3};
  score.prompt = {0, 2};
  EXPECT_EQ(accuracy_table(score),
            "attribute    right  asked  accuracy\n"
            "colour         397    400    99.2 %\n"
            "shape            1      3    33.3 %\n"
            "prompt           0      2     0.0 %\n");
  EXPECT_EQ(total_json(score), R"({"total":{"prompts":2,"colour":{"right":397,"asked":400,"percent":99.25},)"
                               R"("shape":{"right":1,"asked":3,"percent":33.333333333333336},)"
                               R"("prompt":{"right":0,"asked":2,"percent":0.0}}})");
  Score one;
  one.colour = {0, 1};
  one.prompt = {0, 1};
  EXPECT_EQ(prompt_json("a red star", 7, {Colour::white, {}}, one),
            R"({"prompt":"a red star","seed":7,"seen":"nothing on white","correct":false,)"
            R"("colour":{"right":0,"asked":1}})");
}

}  // namespace
