// Pictures: conversion, grids, text, contact sheet, and PNG files that are written whole or not at all.
#include "common/picture.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "aulos/core/error.hpp"
#include "common/font_5x7.hpp"
#include "tests/support/paths.hpp"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#include <stb_image.h>

namespace {

using namespace aulos_examples;
namespace fs = std::filesystem;

Image read_png(const fs::path& path) {
  int width = 0, height = 0, channels = 0;
  stbi_uc* bytes = stbi_load(path.string().c_str(), &width, &height, &channels, 0);
  if (bytes == nullptr || channels != 3) return {};
  Image image(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const stbi_uc* pixel = bytes + 3 * (y * width + x);
      image(x, y) = {pixel[0], pixel[1], pixel[2]};
    }
  }
  stbi_image_free(bytes);
  return image;
}

Image noise(int width, int height) {
  Image image(width, height);
  unsigned state = 1;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      state = state * 1664525U + 1013904223U;
      image(x, y) = {static_cast<std::uint8_t>(state >> 24U), static_cast<std::uint8_t>(state >> 16U),
                     static_cast<std::uint8_t>(state >> 8U)};
    }
  }
  return image;
}

std::string error_of(const auto& action) {
  try {
    action();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "no error";
}

std::size_t files_in(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(Picture, PlanesBecomeBytes) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> planes = {-1, 1, 0, nan, -2, 2, 0.5F, -0.5F, infinity, -infinity, 0.99999F, -0.9999F};
  const Image image = image_from_planes(planes, 2, 2);
  EXPECT_EQ(image(0, 0), (Rgb{0, 0, 255}));
  EXPECT_EQ(image(1, 0), (Rgb{255, 255, 0}));
  EXPECT_EQ(image(0, 1), (Rgb{128, 191, 255}));
  EXPECT_EQ(image(1, 1), (Rgb{0, 64, 0}));
  for (int byte = 0; byte < 256; ++byte) {  // the training pictures' own numbers come back
    const float value = static_cast<float>(byte) / 127.5F - 1.0F;
    EXPECT_EQ(image_from_planes(std::vector<float>(3, value), 1, 1)(0, 0).g, byte);
  }
  EXPECT_THROW(image_from_planes(planes, 2, 3), aulos::ShapeError);
  EXPECT_THROW(Image(-1, 2), aulos::ShapeError);
}

TEST(Picture, EnlargeAndGrid) {
  const Image image = noise(3, 2), large = enlarge(image, 4);
  ASSERT_EQ(large.width(), 12);
  ASSERT_EQ(large.height(), 8);
  for (int y = 0; y < 8; ++y) {
    for (int x = 0; x < 12; ++x) EXPECT_EQ(large(x, y), image(x / 4, y / 4));
  }
  const std::vector<Image> images(3, image);
  const Image sheet = grid(images, 2, 1, {9, 9, 9});
  EXPECT_EQ(sheet.width(), 1 + 2 * 4);
  EXPECT_EQ(sheet.height(), 1 + 2 * 3);
  EXPECT_EQ(sheet(0, 0), (Rgb{9, 9, 9}));
  EXPECT_EQ(sheet(1, 1), image(0, 0));
  EXPECT_EQ(sheet(5, 1), image(0, 0));
  EXPECT_EQ(sheet(3, 5), image(2, 1));
  EXPECT_EQ(sheet(5, 4), (Rgb{9, 9, 9}));  // the empty place
  EXPECT_EQ(grid(images, 99, 1).width(), 1 + 3 * 4);
  EXPECT_EQ(grid({}, 2, 1).width(), 2);
}

TEST(Picture, ResamplesBetweenTheCentresOfPixels) {
  Image image(2, 1, {0, 10, 255});
  image(1, 0) = {200, 10, 155};
  const Image large = resample(image, 4, 2);
  EXPECT_EQ(large.width(), 4);
  EXPECT_EQ(large.height(), 2);
  for (int y = 0; y < 2; ++y) {
    EXPECT_EQ(large(0, y), (Rgb{0, 10, 255}));
    EXPECT_EQ(large(1, y), (Rgb{50, 10, 230}));
    EXPECT_EQ(large(2, y), (Rgb{150, 10, 180}));
    EXPECT_EQ(large(3, y), (Rgb{200, 10, 155}));
  }
  EXPECT_EQ(resample(image, 2, 1), image);
  EXPECT_EQ(resample(Image(), 1, 1), Image(1, 1));
}

TEST(Picture, PasteCutsOff) {
  const Image image = noise(4, 4);
  Image onto(4, 4);
  paste(image, -2, 3, onto);
  EXPECT_EQ(onto(0, 3), image(2, 0));
  EXPECT_EQ(onto(1, 3), image(3, 0));
  EXPECT_EQ(onto(2, 3), Rgb{});
  paste(image, 100, -100, onto);
}

TEST(Picture, EveryCharacterHasItsOwnGlyph) {
  std::vector<std::string> glyphs;
  for (const std::string_view line : font::kBands) EXPECT_EQ((line.size() + 1) % 6, 0U) << line;
  for (char c = ' '; c <= '~'; ++c) {
    std::string glyph;
    for (int y = 0; y < font::kHeight; ++y) {
      for (int x = 0; x < font::kWidth; ++x) glyph += font::pixel(c, x, y) ? '#' : '.';
    }
    EXPECT_EQ(std::count(glyphs.begin(), glyphs.end(), glyph), 0) << c;
    EXPECT_EQ(glyph.find('#') == std::string::npos, c == ' ');
    glyphs.push_back(glyph);
  }
  EXPECT_TRUE(font::pixel('\xc3', 1, 0) == font::pixel('?', 1, 0));
}

TEST(Picture, Text) {
  Image image(20, 9);
  draw_text("Hi", 1, 1, {255, 0, 0}, 1, image);
  const char* expected[] = {"#...#...#..", "#...#......", "#...#..##..", "#####...#..",
                            "#...#...#..", "#...#...#..", "#...#..###."};
  for (int y = 0; y < 7; ++y) {
    for (int x = 0; x < 11; ++x) {
      EXPECT_EQ(image(1 + x, 1 + y), expected[y][x] == '#' ? (Rgb{255, 0, 0}) : Rgb{}) << x << ' ' << y;
    }
  }
  EXPECT_EQ(text_width("Hi", 1), 11);
  EXPECT_EQ(text_width("Hi", 3), 33);
  EXPECT_EQ(text_width("", 3), 0);
  draw_text("cut off at every edge", -7, -3, {1, 2, 3}, 5, image);
}

TEST(Picture, AttentionSheet) {
  Image image(64, 64, {200, 200, 200});
  std::vector<AttentionMap> maps(7, {"word", std::vector<float>(256, 0.1F)});
  maps[0].weights[0] = 0.9F;                                       // upper left token
  maps[1].weights[255] = std::numeric_limits<float>::quiet_NaN();  // shown as nothing
  const Image sheet = attention_sheet(image, "a red circle", maps, 16, 16);
  // 8 cells of 192 pixels in rows of 5, with labels of 22 and gaps of 8, below a title line.
  EXPECT_EQ(sheet.width(), 5 * 200 + 8);
  EXPECT_EQ(sheet.height(), 22 + 2 * (192 + 22 + 8) + 8);
  const int top = 22 + 8;
  EXPECT_EQ(sheet(8, top), (Rgb{200, 200, 200}));                               // the picture itself
  const Rgb hot = sheet(208 + 2, top + 2), cold = sheet(208 + 180, top + 180);  // the first word's map
  EXPECT_GT(hot.r, cold.r + 100);
  EXPECT_GT(hot.g, cold.g + 100);
  EXPECT_EQ(sheet(408 + 2, top + 2), cold);  // the same everywhere: no heat
  EXPECT_EQ(sheet(408 + 190, top + 190), cold);
  maps[3].weights.pop_back();
  EXPECT_EQ(error_of([&] { attention_sheet(image, "", maps, 16, 16); }),
            "attention map of 'word': expected [16, 16], got 255 values");
}

TEST(Picture, PngRoundTrip) {
  const fs::path folder = aulos_tests::fresh_dir();
  for (const Image& image : {noise(1, 1), noise(64, 64), noise(133, 7), Image(300, 200, {1, 2, 3})}) {
    write_png(folder / "a.png", image);
    EXPECT_EQ(read_png(folder / "a.png"), image);
  }
  write_png(folder / "b.PNG", noise(5, 5));
  EXPECT_EQ(read_png(folder / "b.PNG"), noise(5, 5));
  EXPECT_EQ(files_in(folder), 2U);
}

TEST(Picture, RefusesBeforeAnythingIsWritten) {
  const fs::path folder = aulos_tests::fresh_dir();
  fs::create_directory(folder / "folder.png");
  std::ofstream(folder / "file") << "x";
  const std::string at = "cannot write " + folder.string();
  const auto reason = [](const fs::path& path) { return error_of([&] { check_png_output(path); }); };
  EXPECT_EQ(reason(folder / "a.jpg"), at + "/a.jpg: unknown extension .jpg, expected .png");
  EXPECT_EQ(reason(folder / "a"), at + "/a: no extension, expected .png");
  EXPECT_EQ(reason("/dev/full"), "cannot write /dev/full: no extension, expected .png");
  EXPECT_EQ(reason(""), "cannot write: the output path is empty");
  EXPECT_EQ(reason(folder / "folder.png"), at + "/folder.png: it is a folder");
  EXPECT_EQ(reason(folder / "none" / "a.png"),
            at + "/none/a.png: the folder " + (folder / "none").string() + " does not exist");
  EXPECT_EQ(reason(folder / "file" / "a.png"), at + "/file/a.png: " + (folder / "file").string() + " is not a folder");
  EXPECT_EQ(reason(folder / (std::string(300, 'x') + ".png")),
            at + "/" + std::string(300, 'x') + ".png: File name too long");
  EXPECT_EQ(reason(folder / "good.png"), "no error");
  EXPECT_EQ(files_in(folder), 2U);
  EXPECT_NE(error_of([&] { write_png(folder / "empty.png", Image()); }).find("the image is empty"), std::string::npos);
  EXPECT_EQ(files_in(folder), 2U);
}

TEST(Picture, RefusesAFolderWithoutPermission) {
  const fs::path folder = aulos_tests::fresh_dir();
  fs::permissions(folder, fs::perms::owner_read | fs::perms::owner_exec);
  const std::string got = error_of([&] { check_png_output(folder / "a.png"); });
  fs::permissions(folder, fs::perms::owner_all);
  if (got == "no error") GTEST_SKIP() << "this user may write everywhere";
  EXPECT_EQ(got.rfind((folder / "a.png").string() + ": ", 0), 0U) << got;
  EXPECT_NE(got.find("Permission denied"), std::string::npos) << got;
}

TEST(Picture, RefusesADevice) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  const fs::path path = aulos_tests::fresh_dir() / "full.png";
  fs::create_symlink("/dev/full", path);
  for (const std::string& got :
       {error_of([&] { check_png_output(path); }), error_of([&] { write_png(path, noise(9, 9)); })}) {
    EXPECT_EQ(got.rfind(path.string() + ": ", 0), 0U) << got;
    EXPECT_NE(got.find("device"), std::string::npos) << got;
  }
  EXPECT_TRUE(fs::is_symlink(path));
  EXPECT_EQ(files_in(path.parent_path()), 1U);
}

TEST(Picture, AFullDiskLeavesTheOldFile) {
  const fs::path folder = aulos_tests::fresh_dir(), path = folder / "a.png";
  write_png(path, noise(4, 4));
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 1000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string got = error_of([&] { write_png(path, noise(64, 64)); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(got.rfind(path.string() + ": ", 0), 0U) << got;
  EXPECT_NE(got.find("File too large"), std::string::npos) << got;
  EXPECT_EQ(read_png(path), noise(4, 4));
  EXPECT_EQ(files_in(folder), 1U);
}

TEST(Picture, FollowsLinks) {
  const fs::path folder = aulos_tests::fresh_dir();
  write_png(folder / "real.png", noise(4, 4));
  fs::create_symlink("real.png", folder / "link.png");
  fs::create_symlink("later.png", folder / "dangling.png");
  write_png(folder / "link.png", noise(5, 5));
  write_png(folder / "dangling.png", noise(6, 6));
  EXPECT_TRUE(fs::is_symlink(folder / "link.png"));
  EXPECT_EQ(read_png(folder / "real.png"), noise(5, 5));
  EXPECT_EQ(read_png(folder / "later.png"), noise(6, 6));
}

}  // namespace
