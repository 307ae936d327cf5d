#include "picture.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "aulos/core/error.hpp"
#include "aulos/io/file.hpp"
#include "font_5x7.hpp"
#include "output_file.hpp"

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#include <stb_image_write.h>

namespace aulos_examples {
namespace {

std::uint8_t level(float value) {
  if (!(value > 0.0F)) return 0;  // NaN too
  return static_cast<std::uint8_t>(std::min(value, 255.0F) + 0.5F);
}

struct Heat {
  float at;
  float r, g, b;
};

// From black over violet, red and orange to a light yellow: brightness grows with the weight.
Rgb heat_colour(float t) {
  constexpr std::array<Heat, 5> stops = {
      {{0.0F, 0, 0, 12}, {0.3F, 88, 18, 110}, {0.55F, 200, 50, 62}, {0.8F, 246, 138, 24}, {1.0F, 252, 252, 164}}};
  std::size_t i = 1;
  while (i + 1 < stops.size() && t > stops[i].at) ++i;
  const Heat &low = stops[i - 1], &high = stops[i];
  const float u = std::clamp((t - low.at) / (high.at - low.at), 0.0F, 1.0F);
  return {level(low.r + u * (high.r - low.r)), level(low.g + u * (high.g - low.g)),
          level(low.b + u * (high.b - low.b))};
}

// Weights of one word scaled to [0, 1]; a word that is seen the same everywhere, or not at all, gets zeros.
std::vector<float> normalised(const AttentionMap& map) {
  float low = 0, high = 0;
  bool first = true;
  for (const float weight : map.weights) {
    if (!std::isfinite(weight)) continue;
    low = first ? weight : std::min(low, weight);
    high = first ? weight : std::max(high, weight);
    first = false;
  }
  std::vector<float> scaled(map.weights.size(), 0.0F);
  if (!(high > low)) return scaled;
  for (std::size_t i = 0; i < scaled.size(); ++i) {
    if (std::isfinite(map.weights[i])) scaled[i] = (map.weights[i] - low) / (high - low);
  }
  return scaled;
}

// Bilinear between the centres of the tokens, constant outside them.
float sample(const std::vector<float>& map, int rows, int columns, float x, float y) {
  x = std::clamp(x * static_cast<float>(columns) - 0.5F, 0.0F, static_cast<float>(columns - 1));
  y = std::clamp(y * static_cast<float>(rows) - 0.5F, 0.0F, static_cast<float>(rows - 1));
  const int x0 = static_cast<int>(x), y0 = static_cast<int>(y);
  const int x1 = std::min(x0 + 1, columns - 1), y1 = std::min(y0 + 1, rows - 1);
  const float u = x - static_cast<float>(x0), v = y - static_cast<float>(y0);
  const auto at = [&](int column, int row) { return map[static_cast<std::size_t>(row * columns + column)]; };
  return (1 - v) * ((1 - u) * at(x0, y0) + u * at(x1, y0)) + v * ((1 - u) * at(x0, y1) + u * at(x1, y1));
}

Image heat_map(const Image& image, const std::vector<float>& map, int rows, int columns) {
  Image heated(image.width(), image.height());
  for (int y = 0; y < image.height(); ++y) {
    for (int x = 0; x < image.width(); ++x) {
      const float t = sample(map, rows, columns, (static_cast<float>(x) + 0.5F) / static_cast<float>(image.width()),
                             (static_cast<float>(y) + 0.5F) / static_cast<float>(image.height()));
      const Rgb under = image(x, y), heat = heat_colour(t);
      const float grey = 0.299F * under.r + 0.587F * under.g + 0.114F * under.b;
      const auto mix = [&](std::uint8_t hot) { return level(0.3F * grey + 0.7F * static_cast<float>(hot)); };
      heated(x, y) = {mix(heat.r), mix(heat.g), mix(heat.b)};
    }
  }
  return heated;
}

// The largest scale, at least 1, at which the text fits; the text is cut where even that is too wide.
void draw_fitted(std::string_view text, int x, int y, int width, int largest_scale, Rgb colour, Image& onto) {
  int scale = largest_scale;
  while (scale > 1 && text_width(text, scale) > width) --scale;
  const auto fits = static_cast<std::size_t>(std::max(0, (width + scale) / ((font::kWidth + 1) * scale)));
  draw_text(text.substr(0, std::min(text.size(), fits)), x, y, colour, scale, onto);
}

void append_bytes(void* context, void* data, int size) {
  auto& bytes = *static_cast<std::vector<std::byte>*>(context);
  const auto* begin = static_cast<const std::byte*>(data);
  bytes.insert(bytes.end(), begin, begin + size);
}

}  // namespace

Image::Image(int width, int height, Rgb fill) : width_(width), height_(height) {
  if (width < 0 || height < 0) {
    throw aulos::ShapeError("image: expected a width and height of 0 or more, got " + std::to_string(width) + " x " +
                            std::to_string(height));
  }
  pixels_.assign(static_cast<std::size_t>(width) * static_cast<std::size_t>(height), fill);
}

Image image_from_planes(std::span<const float> planes, int width, int height) {
  Image image(width, height);
  const std::size_t area = image.pixels().size();
  if (planes.size() != 3 * area) {
    throw aulos::ShapeError("image: expected [3, " + std::to_string(height) + ", " + std::to_string(width) + "], got " +
                            std::to_string(planes.size()) + " values");
  }
  const auto to_level = [](float value) { return level((value + 1.0F) * 127.5F); };
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const auto i = static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x);
      image(x, y) = {to_level(planes[i]), to_level(planes[area + i]), to_level(planes[2 * area + i])};
    }
  }
  return image;
}

Image enlarge(const Image& image, int factor) {
  factor = std::max(factor, 1);
  Image large(image.width() * factor, image.height() * factor);
  for (int y = 0; y < large.height(); ++y) {
    for (int x = 0; x < large.width(); ++x) large(x, y) = image(x / factor, y / factor);
  }
  return large;
}

Image resample(const Image& image, int width, int height) {
  std::array<std::vector<float>, 3> channels;
  for (const Rgb pixel : image.pixels()) {
    channels[0].push_back(pixel.r);
    channels[1].push_back(pixel.g);
    channels[2].push_back(pixel.b);
  }
  Image result(width, height);
  if (image.pixels().empty()) return result;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const auto at = [&](const std::vector<float>& channel) {
        return level(sample(channel, image.height(), image.width(),
                            (static_cast<float>(x) + 0.5F) / static_cast<float>(width),
                            (static_cast<float>(y) + 0.5F) / static_cast<float>(height)));
      };
      result(x, y) = {at(channels[0]), at(channels[1]), at(channels[2])};
    }
  }
  return result;
}

void paste(const Image& image, int x, int y, Image& onto) {
  for (int row = std::max(0, -y); row < std::min(image.height(), onto.height() - y); ++row) {
    for (int column = std::max(0, -x); column < std::min(image.width(), onto.width() - x); ++column) {
      onto(x + column, y + row) = image(column, row);
    }
  }
}

Image grid(std::span<const Image> images, int columns, int gap, Rgb background) {
  const int count = static_cast<int>(images.size());
  columns = std::clamp(columns, 1, std::max(count, 1));
  const int rows = (count + columns - 1) / columns;
  int width = 0, height = 0;
  for (const Image& image : images) {
    width = std::max(width, image.width());
    height = std::max(height, image.height());
  }
  Image sheet(columns * (width + gap) + gap, rows * (height + gap) + gap, background);
  for (int i = 0; i < count; ++i) {
    paste(images[static_cast<std::size_t>(i)], gap + i % columns * (width + gap), gap + i / columns * (height + gap),
          sheet);
  }
  return sheet;
}

int text_width(std::string_view text, int scale) {
  return text.empty() ? 0 : (static_cast<int>(text.size()) * (font::kWidth + 1) - 1) * scale;
}

int text_height(int scale) { return font::kHeight * scale; }

void draw_text(std::string_view text, int x, int y, Rgb colour, int scale, Image& onto) {
  const Image dot(scale, scale, colour);
  for (const char character : text) {
    for (int row = 0; row < font::kHeight; ++row) {
      for (int column = 0; column < font::kWidth; ++column) {
        if (font::pixel(character, column, row)) paste(dot, x + column * scale, y + row * scale, onto);
      }
    }
    x += (font::kWidth + 1) * scale;
  }
}

Image attention_sheet(const Image& image, std::string_view title, std::span<const AttentionMap> maps, int rows,
                      int columns) {
  constexpr Rgb kPaper = {24, 24, 24}, kInk = {240, 240, 240};
  constexpr int kMargin = 8, kLabelScale = 2;
  const auto tokens = static_cast<std::size_t>(std::max(rows, 0)) * static_cast<std::size_t>(std::max(columns, 0));
  for (const AttentionMap& map : maps) {
    if (tokens == 0 || map.weights.size() != tokens) {
      throw aulos::ShapeError("attention map of '" + map.word + "': expected [" + std::to_string(rows) + ", " +
                              std::to_string(columns) + "], got " + std::to_string(map.weights.size()) + " values");
    }
  }
  const int factor = std::max(1, 192 / std::max({image.width(), image.height(), 1}));
  const Image shown = enlarge(image, factor);
  const int label = text_height(kLabelScale) + kMargin;
  std::vector<Image> cells;
  const auto add = [&](const Image& picture, std::string_view word) {
    Image& cell = cells.emplace_back(picture.width(), picture.height() + label, kPaper);
    paste(picture, 0, 0, cell);
    draw_fitted(word, 0, picture.height() + kMargin / 2, picture.width(), kLabelScale, kInk, cell);
  };
  add(shown, "");
  for (const AttentionMap& map : maps) add(heat_map(shown, normalised(map), rows, columns), map.word);

  const Image body = grid(cells, std::min(5, static_cast<int>(cells.size())), kMargin, kPaper);
  Image sheet(body.width(), body.height() + label, kPaper);
  draw_fitted(title, kMargin, kMargin, sheet.width() - 2 * kMargin, kLabelScale, kInk, sheet);
  paste(body, 0, label, sheet);
  return sheet;
}

void check_png_output(const std::filesystem::path& path) { check_output(path, ".png"); }

void write_png(const std::filesystem::path& path, const Image& image) {
  check_png_output(path);
  if (image.pixels().empty()) throw aulos::Error("cannot write " + path.string() + ": the image is empty");
  static_assert(sizeof(Rgb) == 3);
  std::vector<std::byte> bytes;
  if (stbi_write_png_to_func(append_bytes, &bytes, image.width(), image.height(), 3, image.pixels().data(), 0) == 0) {
    throw aulos::Error("cannot write " + path.string() + ": PNG encoding failed");
  }
  aulos::io::AtomicFile file(path.string());
  file.write(bytes);
  file.commit();
}

}  // namespace aulos_examples
