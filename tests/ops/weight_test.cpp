#include "aulos/ops/weight.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "aulos/core/dtype.hpp"

namespace {

using aulos::Index;
using aulos::Numeric;
using aulos::Shape;
using aulos::Weight;

Weight<float> counting(Index out, Index in) {
  Weight<float> w(out, in);
  float* const rows = w.rows().data();
  for (Index i = 0; i < w.count(); ++i) rows[i] = static_cast<float>(i) / 3;
  return w;
}

TEST(Weight, KnowsItsShapes) {
  const Weight<float> absent;
  EXPECT_TRUE(absent.empty());
  EXPECT_EQ(absent.count(), 0);
  const Weight<float> w(3, 5);
  EXPECT_FALSE(w.empty());
  EXPECT_EQ(w.shape(), (Shape<2>{3, 5}));
  EXPECT_EQ(w.stored_shape(), (std::vector<Index>{3, 5}));
  EXPECT_EQ(w.bytes(), 60u);
  const Weight<float> convolution(Shape<4>{8, 3, 2, 2});
  EXPECT_EQ(convolution.shape(), (Shape<2>{8, 12}));
  EXPECT_EQ(convolution.stored_shape(), (std::vector<Index>{8, 3, 2, 2}));
}

TEST(Weight, PacksAndUnpacksToTheSameBits) {
  for (const auto& [out, in] : {std::pair<Index, Index>{1, 1}, {7, 5}, {33, 70}, {64, 64}}) {
    Weight<float> w = counting(out, in);
    const Weight<float> before = w;
    w.pack();
    EXPECT_TRUE(w.packed());
    EXPECT_TRUE(w.rows().empty());
    EXPECT_FALSE(w.empty());
    EXPECT_FALSE(w == before);
    w.unpack();
    EXPECT_TRUE(w == before);
  }
}

// Rows of more than 65536 elements come a panel at a time, shorter ones several.
TEST(Weight, PacksRowsThatAreReadSomeAtATime) {
  for (const auto& shape : {Shape<2>{1, 1}, {0, 3}, {33, 70}, {5000, 30}, {70, 3000}}) {
    const Index out = shape[0], in = shape[1];
    const Weight<float> w = counting(out, in);
    for (const Numeric stored_as : {Numeric::exact, Numeric::bf16, Numeric::int8}) {
      Weight<float> packed = w, read(out, in);
      packed.pack(stored_as);
      Index next = 0;
      read.pack(stored_as, [&](Index first, Index count, float* rows) {
        EXPECT_EQ(first, next);
        EXPECT_GT(count, 0);
        EXPECT_LE(count * in, std::max<Index>(1 << 16, 64 * in));
        next += count;
        std::copy_n(w.rows().data() + first * in, count * in, rows);
      });
      EXPECT_EQ(next, out);
      EXPECT_TRUE(read == packed) << out << " " << in;
    }
  }
  Weight<float> w = counting(40, 3);
  const Weight<float> before = w;
  EXPECT_THROW(w.pack(Numeric::bf16, [](Index, Index, float*) { throw aulos::Error("no more"); }), aulos::Error);
  EXPECT_TRUE(w == before);
}

TEST(Weight, Bf16PanelsHoldRoundedValuesInHalfTheMemory) {
  Weight<float> w = counting(64, 64);
  const Weight<float> before = w;
  w.pack(Numeric::bf16);
  EXPECT_EQ(w.stored_as(), Numeric::bf16);
  EXPECT_EQ(2 * w.bytes(), before.bytes());
  w.unpack();
  bool changed = false;
  for (Index i = 0; i < w.count(); ++i) {
    const float x = std::as_const(before.rows()).data()[i], y = std::as_const(w.rows()).data()[i];
    EXPECT_NEAR(y, x, x / 256);
    changed = changed || x != y;
  }
  EXPECT_TRUE(changed);
  const Weight<float> rounded = w;
  w.pack(Numeric::bf16);
  w.pack(Numeric::exact);  // through the rows: the values stay those of bf16
  w.unpack();
  EXPECT_TRUE(w == rounded);
}

TEST(Weight, IsRegular) {
  Weight<float> w = counting(7, 5);
  w.pack();
  const Weight<float> copy = w;
  EXPECT_TRUE(copy == w);
  EXPECT_EQ(copy.view().panels, w.view().panels);  // they never change
  Weight<float> moved = std::move(w);
  EXPECT_TRUE(moved == copy);
  moved = counting(7, 5);
  EXPECT_FALSE(moved == copy);
  moved.pack();
  EXPECT_TRUE(moved == copy);
  moved = moved.bytes() > 0 ? Weight<float>(copy) : Weight<float>();
  EXPECT_TRUE(moved == copy);
  moved.pack(Numeric::bf16);
  EXPECT_EQ(copy.stored_as(), Numeric::exact);  // a copy goes its own way
  EXPECT_FALSE(counting(7, 5) == counting(5, 7));
}

TEST(Weight, PackingNeedsValues) {
  Weight<float> w(7, 5);
  EXPECT_THROW(w.pack(), aulos::Error);
  EXPECT_FALSE(w.packed());
  Weight<float> absent;
  absent.pack();  // a linear without weight stays one
  absent.unpack();
  EXPECT_TRUE(absent.empty());
}

}  // namespace
