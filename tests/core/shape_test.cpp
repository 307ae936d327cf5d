#include "aulos/core/shape.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace {

using aulos::checked_count;
using aulos::dense_dims;
using aulos::Dims;
using aulos::Index;
using aulos::Shape;
using aulos::ShapeError;

constexpr Index most = std::numeric_limits<Index>::max();

Dims dims_of(std::vector<Index> extents, std::vector<Index> strides) {
  Dims dims;
  dims.rank = static_cast<int>(extents.size());
  for (int i = 0; i < dims.rank; ++i) {
    dims.extent[i] = extents[static_cast<std::size_t>(i)];
    dims.stride[i] = strides[static_cast<std::size_t>(i)];
  }
  return dims;
}

TEST(Shape, IsAnAggregateOfExtents) {
  constexpr Shape<3> shape{2, 3, 4};
  static_assert(shape[0] == 2 && shape[2] == 4);
  EXPECT_EQ(std::vector<Index>(shape.begin(), shape.end()), (std::vector<Index>{2, 3, 4}));
  EXPECT_TRUE(shape == (Shape<3>{2, 3, 4}));
  EXPECT_FALSE(shape == (Shape<3>{2, 3, 5}));
}

TEST(Shape, HasAText) {
  EXPECT_EQ(to_string(Shape<1>{7}), "[7]");
  EXPECT_EQ(to_string(Shape<3>{2, 16, 4}), "[2, 16, 4]");
  EXPECT_EQ(to_string(dense_dims({0, -3})), "[0, -3]");
  EXPECT_EQ(to_string(Dims{}), "[]");
}

struct Count {
  std::vector<Index> extents;
  std::size_t element;
  Index count;  // -1: an error that says `text`
  std::string text;
};

TEST(Shape, CountsElementsOrSaysWhyItCannot) {
  const std::string negative = " has a negative extent", bytes = " has more bytes than a 64-bit index can count";
  const Count cases[] = {
      {{1}, 4, 1, ""},
      {{0}, 8, 0, ""},
      {{2, 3, 4}, 4, 24, ""},
      {{3, 0, 5}, 4, 0, ""},
      {{100000, 100000, 20}, 4, 200000000000, ""},
      {{most}, 1, most, ""},
      {{most / 4}, 4, most / 4, ""},
      {{-1}, 4, -1, "shape [-1]" + negative},
      {{0, -1}, 4, -1, "shape [0, -1]" + negative},
      {{most, most, -5}, 4, -1, "shape [9223372036854775807, 9223372036854775807, -5]" + negative},
      {{std::numeric_limits<Index>::min()}, 1, -1, "shape [-9223372036854775808]" + negative},
      {{most / 4 + 1}, 4, -1, "shape [2305843009213693952]" + bytes},
      {{Index{1} << 32, Index{1} << 32}, 1, -1, "shape [4294967296, 4294967296]" + bytes},  // 2^64 wraps to 0
      {{Index{1} << 31, Index{1} << 30}, 8, -1, "shape [2147483648, 1073741824]" + bytes},
      {{65536, 65536, 65536, 65536, 1}, 4, -1, "shape [65536, 65536, 65536, 65536, 1]" + bytes},
      // Nothing is in it, but its strides would not fit either.
      {{0, Index{1} << 40, Index{1} << 40}, 4, -1, "shape [0, 1099511627776, 1099511627776]" + bytes},
  };
  for (const Count& c : cases) {
    const int rank = static_cast<int>(c.extents.size());
    try {
      EXPECT_EQ(checked_count(c.extents.data(), rank, c.element), c.count) << c.text;
      EXPECT_GE(c.count, 0) << aulos::to_string(c.extents.data(), rank);
    } catch (const ShapeError& error) {
      EXPECT_EQ(error.what(), c.text);
      EXPECT_LT(c.count, 0);
    }
    (void)dense_dims(c.extents.data(), rank);  // for error texts: no undefined arithmetic, whatever the extents
  }
}

TEST(Dims, DenseOnesHaveRowMajorStrides) {
  const Dims dims = dense_dims({2, 3, 4});
  EXPECT_EQ(dims.rank, 3);
  EXPECT_EQ(std::vector<Index>(dims.stride, dims.stride + 3), (std::vector<Index>{12, 4, 1}));
  EXPECT_EQ(dims.count(), 24);
  EXPECT_EQ(dims.rows(), 6);
  EXPECT_EQ(dims.last(), 4);
  EXPECT_TRUE(dims.dense());
}

struct Layout {
  Dims dims;
  bool dense;
  bool uniform;
  Index row_stride;  // where uniform
};

TEST(Dims, KnowTheirLayout) {
  const Layout cases[] = {
      {dims_of({5}, {1}), true, true, 5},
      {dims_of({2, 3}, {3, 1}), true, true, 3},
      {dims_of({2, 3}, {8, 1}), false, true, 8},
      {dims_of({1, 3}, {8, 1}), true, true, 3},   // axes of extent 1 have no say
      {dims_of({2, 1}, {1, 77}), true, true, 1},  // nor has the last
      {dims_of({2, 3}, {0, 1}), false, true, 0},  // one row for all
      {dims_of({2, 4, 3}, {12, 3, 1}), true, true, 3},
      {dims_of({2, 4, 3}, {20, 5, 1}), false, true, 5},   // columns of a wider tensor
      {dims_of({2, 4, 3}, {30, 3, 1}), false, false, 0},  // rows of a longer tensor
      {dims_of({2, 1, 3}, {30, 3, 1}), false, true, 30},
      {dims_of({4, 2, 3}, {3, 12, 1}), false, false, 0},  // permuted
      {dims_of({2, 4, 3}, {0, 3, 1}), false, false, 0},   // broadcast over the batch
      {dims_of({2, 4, 3}, {0, 0, 1}), false, true, 0},
      {dims_of({2, 0, 3}, {9, 5, 1}), true, true, 5},  // no elements: any layout is dense
  };
  for (const Layout& c : cases) {
    Index row_stride = -1;
    const std::string text = to_string(c.dims);
    EXPECT_EQ(c.dims.dense(), c.dense) << text;
    EXPECT_EQ(c.dims.uniform_rows(row_stride), c.uniform) << text;
    if (c.uniform) {
      EXPECT_EQ(row_stride, c.row_stride) << text;
    }
  }
}

TEST(Dims, ReplaceTheLastAxisAndBecomeDense) {
  const Dims dims = dims_of({2, 4, 3}, {30, 3, 1}).with_last(5);
  EXPECT_EQ(to_string(dims), "[2, 4, 5]");
  EXPECT_TRUE(dims.dense());
}

TEST(Dims, CompareByExtentsAlone) {
  const Dims a = dims_of({2, 3}, {3, 1});
  EXPECT_TRUE(a.same_extents(dims_of({2, 3}, {0, 1})));
  EXPECT_FALSE(a.same_extents(dims_of({3, 2}, {2, 1})));
  EXPECT_FALSE(a.same_extents(dims_of({2, 3, 1}, {3, 1, 1})));
  EXPECT_TRUE(Dims{}.same_extents(Dims{}));
}

}  // namespace
