#include "regions.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <numeric>
#include <queue>
#include <tuple>
#include <utility>

namespace aulos_examples {
namespace {

constexpr int kFlatRange = 72;      // largest contrast of a channel in the 3x3 neighbourhood of a flat pixel
constexpr int kLeastSeed = 3;       // flat pixels that start a region
constexpr double kSameColour = 40;  // adjacent regions nearer than this are one; palette colours are 90 apart or more
constexpr int kLeastCore = 4;       // pixels with all their 8 neighbours in the region: slivers along an edge have none
constexpr int kSpeck = 20;          // pixels; the smallest shape that is ever drawn has 54
constexpr int kNone = -1;

// Index arithmetic on the pixels of one picture.
struct Pixels {
  int width, height;

  int count() const { return width * height; }

  template <class Visit>  // visit(neighbour) for the 4 neighbours of a pixel
  void around(int pixel, const Visit& visit) const {
    const int x = pixel % width, y = pixel / width;
    if (y > 0) visit(pixel - width);
    if (x > 0) visit(pixel - 1);
    if (x + 1 < width) visit(pixel + 1);
    if (y + 1 < height) visit(pixel + width);
  }

  bool on_frame(int pixel) const {
    const int x = pixel % width, y = pixel / width;
    return x == 0 || y == 0 || x + 1 == width || y + 1 == height;
  }
};

template <class T>
auto& at(T& items, int index) {
  return items[static_cast<std::size_t>(index)];
}

bool is_flat(const Image& image, int x, int y) {
  std::array<int, 3> low = {255, 255, 255}, high = {0, 0, 0};
  for (int row = std::max(y - 1, 0); row <= std::min(y + 1, image.height() - 1); ++row) {
    for (int column = std::max(x - 1, 0); column <= std::min(x + 1, image.width() - 1); ++column) {
      const Rgb pixel = image(column, row);
      const std::array<int, 3> channels = {pixel.r, pixel.g, pixel.b};
      for (std::size_t c = 0; c < 3; ++c) {
        low[c] = std::min(low[c], channels[c]);
        high[c] = std::max(high[c], channels[c]);
      }
    }
  }
  return high[0] - low[0] <= kFlatRange && high[1] - low[1] <= kFlatRange && high[2] - low[2] <= kFlatRange;
}

class Splitter {
 public:
  explicit Splitter(const Image& image)
      : image_(image), grid_{image.width(), image.height()}, of_pixel_(image.pixels().size(), kNone) {}

  Regions split() {
    seed();
    grow();
    join_equal_colours();
    absorb_specks();
    return finish();
  }

 private:
  struct Seed {
    MeanColour sum{};
    int pixels = 0;

    MeanColour mean() const { return {sum[0] / pixels, sum[1] / pixels, sum[2] / pixels}; }
  };

  MeanColour colour_of(int pixel) const { return mean_colour(image_(pixel % grid_.width, pixel / grid_.width)); }

  // Connected flat pixels of one palette colour.
  void seed() {
    std::vector<Colour> label(of_pixel_.size());
    std::vector<char> flat(of_pixel_.size());
    for (int pixel = 0; pixel < grid_.count(); ++pixel) {
      at(label, pixel) = nearest_colour(colour_of(pixel));
      at(flat, pixel) = is_flat(image_, pixel % grid_.width, pixel / grid_.width) ? 1 : 0;
    }
    std::vector<int> members;
    for (int start = 0; start < grid_.count(); ++start) {
      if (at(flat, start) == 0) continue;
      Seed seed;
      members.assign(1, start);
      at(flat, start) = 0;
      for (std::size_t next = 0; next < members.size(); ++next) {
        const int pixel = members[next];
        const MeanColour colour = colour_of(pixel);
        for (std::size_t c = 0; c < 3; ++c) seed.sum[c] += colour[c];
        ++seed.pixels;
        grid_.around(pixel, [&](int neighbour) {
          if (at(flat, neighbour) == 0 || at(label, neighbour) != at(label, start)) return;
          at(flat, neighbour) = 0;
          members.push_back(neighbour);
        });
      }
      if (seed.pixels < kLeastSeed) continue;
      for (const int pixel : members) at(of_pixel_, pixel) = static_cast<int>(seeds_.size());
      seeds_.push_back(seed);
    }
  }

  // Pixels join the adjacent region of the nearest colour, the clearest case first.
  void grow() {
    using Claim = std::tuple<double, int, int>;  // distance, pixel, region
    std::priority_queue<Claim, std::vector<Claim>, std::greater<>> claims;
    const auto claim_around = [&](int pixel) {
      const int region = at(of_pixel_, pixel);
      grid_.around(pixel, [&](int neighbour) {
        if (at(of_pixel_, neighbour) != kNone) return;
        claims.emplace(distance(colour_of(neighbour), at(seeds_, region).mean()), neighbour, region);
      });
    };
    for (int pixel = 0; pixel < grid_.count(); ++pixel) {
      if (at(of_pixel_, pixel) != kNone) claim_around(pixel);
    }
    while (!claims.empty()) {
      const auto [cost, pixel, region] = claims.top();
      claims.pop();
      if (at(of_pixel_, pixel) != kNone) continue;
      at(of_pixel_, pixel) = region;
      claim_around(pixel);
    }
  }

  void replace(int region, int by) { std::replace(of_pixel_.begin(), of_pixel_.end(), region, by); }

  void join_equal_colours() {
    for (bool changed = true; changed;) {
      changed = false;
      for (int pixel = 0; pixel < grid_.count(); ++pixel) {
        grid_.around(pixel, [&](int neighbour) {
          const int a = at(of_pixel_, pixel), b = at(of_pixel_, neighbour);
          if (a >= b || a == kNone) return;
          Seed &kept = at(seeds_, a), &gone = at(seeds_, b);
          if (nearest_colour(kept.mean()) != nearest_colour(gone.mean()) &&
              distance(kept.mean(), gone.mean()) >= kSameColour) {
            return;
          }
          for (std::size_t c = 0; c < 3; ++c) kept.sum[c] += gone.sum[c];
          kept.pixels += gone.pixels;
          replace(b, a);
          changed = true;
        });
      }
    }
  }

  std::vector<int> areas() const {
    std::vector<int> area(seeds_.size());
    for (const int region : of_pixel_) {
      if (region != kNone) ++at(area, region);
    }
    return area;
  }

  // Pixels whose 3x3 neighbourhood lies in their region, by region.
  std::vector<int> cores() const {
    std::vector<int> core(seeds_.size());
    for (int y = 1; y + 1 < grid_.height; ++y) {
      for (int x = 1; x + 1 < grid_.width; ++x) {
        const int pixel = y * grid_.width + x, region = at(of_pixel_, pixel);
        bool whole = region != kNone;
        for (int row = -1; row <= 1; ++row) {
          for (int column = -1; column <= 1; ++column) {
            whole = whole && at(of_pixel_, pixel + row * grid_.width + column) == region;
          }
        }
        if (whole) ++at(core, region);
      }
    }
    return core;
  }

  // From the smallest on, so that specks within specks end in the region around all of them.
  void absorb_specks() {
    std::vector<int> order(seeds_.size());
    std::iota(order.begin(), order.end(), 0);
    const std::vector<int> first_area = areas(), core = cores();
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return at(first_area, a) < at(first_area, b); });
    for (const int speck : order) {
      const auto area = std::count(of_pixel_.begin(), of_pixel_.end(), speck);
      if (area == 0 || (area >= kSpeck && at(core, speck) >= kLeastCore)) continue;
      std::vector<int> border(seeds_.size());
      for (int pixel = 0; pixel < grid_.count(); ++pixel) {
        if (at(of_pixel_, pixel) != speck) continue;
        grid_.around(pixel, [&](int neighbour) {
          if (at(of_pixel_, neighbour) != speck) ++at(border, at(of_pixel_, neighbour));
        });
      }
      const auto longest = std::max_element(border.begin(), border.end());
      if (*longest > 0) replace(speck, static_cast<int>(longest - border.begin()));
    }
  }

  Regions finish() {
    Regions result;
    if (seeds_.empty()) return result;
    const std::vector<int> area = areas();
    std::vector<int> index(seeds_.size(), kNone);
    for (std::size_t seed = 0; seed < seeds_.size(); ++seed) {
      if (area[seed] == 0) continue;
      index[seed] = static_cast<int>(result.regions.size());
      const MeanColour mean = seeds_[seed].mean();
      result.regions.push_back({nearest_colour(mean), mean, area[seed], 0});
    }
    for (int pixel = 0; pixel < grid_.count(); ++pixel) {
      int& region = at(of_pixel_, pixel);
      region = at(index, region);
      if (grid_.on_frame(pixel)) ++at(result.regions, region).frame_area;
    }
    result.of_pixel = std::move(of_pixel_);
    return result;
  }

  const Image& image_;
  Pixels grid_;
  std::vector<int> of_pixel_;
  std::vector<Seed> seeds_;
};

}  // namespace

double distance(const MeanColour& a, const MeanColour& b) {
  const double r = a[0] - b[0], g = a[1] - b[1], blue = a[2] - b[2];
  return std::sqrt(r * r + g * g + blue * blue);
}

MeanColour mean_colour(Rgb pixel) {
  return {static_cast<double>(pixel.r), static_cast<double>(pixel.g), static_cast<double>(pixel.b)};
}

Colour nearest_colour(const MeanColour& colour) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < kPalette.size(); ++i) {
    if (distance(colour, mean_colour(kPalette[i])) < distance(colour, mean_colour(kPalette[best]))) best = i;
  }
  return static_cast<Colour>(best);
}

Regions split_into_regions(const Image& image) { return Splitter(image).split(); }

}  // namespace aulos_examples
