#include "aulos/path/segmentation.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::ChunkTable;
namespace path = aulos::path;

std::vector<Index> starts(const ChunkTable& table) {
  std::vector<Index> all;
  for (Index c = 0; c < table.chunks; ++c) all.push_back(table.start(c));
  return all;
}

TEST(PathSegmentation, HalfOverlappingChunksHoldEveryTokenTwice) {
  Context context;
  for (const Index chunk : {1, 2, 4, 6, 7, 250}) {
    for (const Index length : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 23, 33, 1000}) {
      SCOPED_TRACE(::testing::Message() << "K " << chunk << " L " << length);
      const ChunkTable table = path::half_overlapping(length, chunk);
      const Index half = chunk / 2, gap = chunk - (half + length % chunk) % chunk;
      EXPECT_EQ(table.chunks % 2, 0);
      EXPECT_EQ(table.chunks * chunk, 2 * (length + gap + half));
      for (Index c = 0; c < table.chunks; ++c)
        EXPECT_EQ(table.start(c) + half, c / 2 * chunk + (c % 2 == 1 ? half : 0));
      const auto x = context.empty<float>(Shape<3>{2, length, 2});
      for (Index i = 0; i < x.count(); ++i) x.mutable_data()[i] = static_cast<float>(i) + 0.1f;
      const auto y = overlap_add(segment(x, table), table);
      expect_near(
          y, [&](Index i) { return 2.0 * static_cast<double>(static_cast<float>(i) + 0.1f); }, 0);
    }
  }
  EXPECT_EQ(path::half_overlapping(7, 4).chunks, 6);  // gap 3
  EXPECT_EQ(path::half_overlapping(4, 4).chunks, 4);  // gap 2
  EXPECT_EQ(path::half_overlapping(6, 4).chunks, 6);  // gap 4: one pair more than needed
}

TEST(PathSegmentation, OtherTables) {
  EXPECT_EQ(starts(path::frames(10, 4, 2)), (std::vector<Index>{0, 2, 4, 6}));
  EXPECT_EQ(starts(path::frames(11, 4, 2)), (std::vector<Index>{0, 2, 4, 6}));
  EXPECT_EQ(starts(path::frames(3, 4, 2)), (std::vector<Index>{}));
  EXPECT_EQ(path::frames_of(4, 4, 2).length, 10);
  EXPECT_EQ(path::frames_of(0, 4, 2).length, 0);
  EXPECT_EQ(starts(path::covering_frames(11, 4, 2)), (std::vector<Index>{0, 2, 4, 6, 8}));
  EXPECT_EQ(starts(path::covering_frames(10, 4, 2)), (std::vector<Index>{0, 2, 4, 6}));
  EXPECT_EQ(starts(path::covering_frames(8, 4, 4)), (std::vector<Index>{0, 4}));
  EXPECT_EQ(starts(path::covering_frames(9, 4, 4, -2)), (std::vector<Index>{-2, 2, 6}));
  EXPECT_EQ(starts(path::covering_frames(2, 4, 4)), (std::vector<Index>{0}));
  EXPECT_EQ(starts(path::covering_frames(0, 4, 4)), (std::vector<Index>{}));
  EXPECT_THROW(path::half_overlapping(5, 0), aulos::ShapeError);
  EXPECT_THROW(path::frames(5, 2, 0), aulos::ShapeError);
  EXPECT_THROW(path::covering_frames(-1, 2, 1), aulos::ShapeError);
  EXPECT_THROW(path::frames_of(1, 0, 1), aulos::ShapeError);
}

// Chunks that agree give back the sequence to its first and last token, whatever the window.
TEST(PathSegmentation, AveragesOfOverlaps) {
  Context context;
  for (const Index length : {5, 12, 13}) {
    for (const ChunkTable& table : {path::half_overlapping(length, 6), path::covering_frames(length, 6, 2, -2)}) {
      const auto x = context.full<double>(Shape<3>{1, length, 2}, 0.7);
      const auto z = segment(x, table);
      expect_near(
          path::overlap_average(z, table), [](Index) { return 0.7; }, 1e-14);
      const auto window =
          aulos::linear_combination(std::array{aulos::hann_window<double>(context, 6)}, std::array{1.0});
      expect_near(
          path::overlap_average(z, table, aulos::scale(window, 1.0, 0.1)), [](Index) { return 0.7; }, 1e-14);
    }
  }
}

TEST(PathSegmentation, Gradients) {
  expect_gradients([](Case<double>& c) {
    const ChunkTable table = path::half_overlapping(9, 5);
    const auto x = c.in<3>(Shape<3>{2, 9, 3}, 1);
    return results(path::overlap_average(segment(x, table), table), overlap_add(segment(x, table), table));
  });
}

}  // namespace
