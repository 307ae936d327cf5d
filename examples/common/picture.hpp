// Pictures of the examples: 8-bit RGB, PNG files, grids, labels and the contact sheet of attention maps.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace aulos_examples {

struct Rgb {
  std::uint8_t r = 0, g = 0, b = 0;
  friend constexpr bool operator==(const Rgb&, const Rgb&) = default;
};

// Rows from the top, pixels from the left.
class Image {
 public:
  Image() = default;
  Image(int width, int height, Rgb fill = {});

  int width() const { return width_; }
  int height() const { return height_; }
  std::span<const Rgb> pixels() const { return pixels_; }
  Rgb& operator()(int x, int y) { return pixels_[index(x, y)]; }
  Rgb operator()(int x, int y) const { return pixels_[index(x, y)]; }
  friend bool operator==(const Image&, const Image&) = default;

 private:
  std::size_t index(int x, int y) const {
    return static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(x);
  }

  int width_ = 0, height_ = 0;
  std::vector<Rgb> pixels_;
};

// From a model's [3, height, width] in [-1, 1]: clamped, rounded to the nearest of 256 levels; NaN becomes 0.
Image image_from_planes(std::span<const float> planes, int width, int height);

Image enlarge(const Image& image, int factor);  // every pixel becomes factor x factor pixels

// Bilinear between the centres of the pixels: for enlarging smooth edges.
Image resample(const Image& image, int width, int height);

void paste(const Image& image, int x, int y, Image& onto);  // what falls outside is cut off

// Images of any sizes in rows of `columns`, `gap` pixels of `background` between and around them.
Image grid(std::span<const Image> images, int columns, int gap = 2, Rgb background = {24, 24, 24});

// One line of 5x7 characters, each enlarged `scale` times, its upper left corner at (x, y).
void draw_text(std::string_view text, int x, int y, Rgb colour, int scale, Image& onto);
int text_width(std::string_view text, int scale);
int text_height(int scale);

// For each word, `rows * columns` weights in row-major order: how much each image token attends to the word.
struct AttentionMap {
  std::string word;
  std::vector<float> weights;
};

// The picture, then for each word the picture in grey under a heat map (each word on its own scale, from its smallest
// to its largest weight), labelled, below a title line.
Image attention_sheet(const Image& image, std::string_view title, std::span<const AttentionMap> maps, int rows,
                      int columns);

// Throw aulos::Error with path and reason; a file is written whole, or an existing one stays as it was. The check finds
// most reasons before the computing starts.
void check_png_output(const std::filesystem::path& path);
void write_png(const std::filesystem::path& path, const Image& image);

}  // namespace aulos_examples
