#include "aulos/core/tensor.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aulos/core/context.hpp"
#include "tests/support/sanitized.hpp"

namespace {

using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::ShapeError;
using aulos::Tensor;

static_assert(std::is_nothrow_move_constructible_v<Tensor<float, 3>> &&
              std::is_nothrow_move_assignable_v<Tensor<float, 3>> && std::copyable<Tensor<float, 3>>);
static_assert(Tensor<double, 4>::rank == 4 && std::is_same_v<Tensor<double, 4>::value_type, double>);
template <class X>
concept HasEigen = requires(X&& x) {
  static_cast<X&&>(x).eigen();
};
template <class X>
concept HasMatrix = requires(X&& x) {
  static_cast<X&&>(x).matrix();
};
static_assert(!HasEigen<Tensor<float, 2>> && !HasMatrix<Tensor<float, 2>>, "a map of a temporary would dangle");

class TensorTest : public testing::Test {
 protected:
  // Elements 0, 1, 2, ...
  template <int Rank>
  Tensor<float, Rank> counting(const Shape<Rank>& shape) {
    Tensor<float, Rank> x = context.empty<float>(shape);
    for (Index i = 0; i < x.count(); ++i) x.mutable_data()[i] = static_cast<float>(i);
    return x;
  }

  Context context{{.threads = 1}};
};

// All elements in row-major order of the indices, whatever the strides.
template <int Rank>
std::vector<float> elements(const Tensor<float, Rank>& x) {
  std::vector<float> out;
  Shape<Rank> at{};
  for (Index n = 0; n < x.count(); ++n) {
    Index offset = 0;
    for (int axis = 0; axis < Rank; ++axis) offset += at[axis] * x.stride(axis);
    out.push_back(x.data()[offset]);
    for (int axis = Rank - 1; axis >= 0 && ++at[axis] == x.extent(axis); --axis) at[axis] = 0;
  }
  return out;
}

using Floats = std::vector<float>;

TEST_F(TensorTest, HoldsWhatItWasMadeFrom) {
  const float values[] = {1, 2, 3, 4, 5, 6};
  const Tensor<float, 2> x = context.from(Shape<2>{2, 3}, values);
  EXPECT_EQ(x.shape(), (Shape<2>{2, 3}));
  EXPECT_EQ(x.count(), 6);
  EXPECT_TRUE(x.dense());
  EXPECT_EQ(x(0, 0), 1);
  EXPECT_EQ(x(0, 2), 3);
  EXPECT_EQ(x(1, 1), 5);
}

TEST_F(TensorTest, CopiesShareTheElements) {
  const Tensor<float, 2> x = counting(Shape<2>{2, 3});
  const Tensor<float, 2> y = x;
  x.mutable_data()[4] = 100;
  EXPECT_EQ(y(1, 1), 100);
  EXPECT_EQ(x.data(), y.data());
}

TEST_F(TensorTest, MovedFromAndDefaultOnesAreEmpty) {
  Tensor<float, 2> x = counting(Shape<2>{2, 3});
  const Tensor<float, 2> y = std::move(x);
  EXPECT_TRUE(x.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(x.count(), 0);
  EXPECT_FALSE(y.empty());
  const Tensor<float, 3> none;
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.count(), 0);
  EXPECT_EQ(none.shape(), (Shape<3>{0, 0, 0}));
}

TEST_F(TensorTest, ARankThatDoesNotFitIsRefused) {
  const Tensor<float, 2> x = counting(Shape<2>{2, 3});
  try {
    const Tensor<float, 3> y(x.any());
    ADD_FAILURE();
  } catch (const ShapeError& error) {
    EXPECT_STREQ(error.what(), "a tensor [2, 3] has 2 axes, expected 3");
  }
  EXPECT_TRUE((Tensor<float, 3>(aulos::AnyTensor<float>())).empty());
}

// ---- views

TEST_F(TensorTest, Slices) {
  const auto x = counting(Shape<3>{2, 3, 4});
  EXPECT_EQ(elements(x.slice(0, 1, 2)), (Floats{12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}));
  EXPECT_EQ(elements(x.slice(1, 1, 3)), (Floats{4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23}));
  EXPECT_EQ(elements(x.slice(2, 1, 2)), (Floats{1, 5, 9, 13, 17, 21}));
  EXPECT_EQ(elements(x.slice(2, 1, 4).slice(1, 2, 3).slice(2, 1, 3)), (Floats{10, 11, 22, 23}));
  EXPECT_EQ(x.slice(1, 2, 2).shape(), (Shape<3>{2, 0, 4}));  // of nothing
  EXPECT_EQ(x.slice(1, 3, 3).count(), 0);
  EXPECT_FALSE(x.slice(2, 1, 3).dense());
  EXPECT_TRUE(x.slice(0, 1, 2).dense());
  x.slice(2, 0, 1).slice(1, 2, 3).mutable_data()[0] = -1;  // a view writes through
  EXPECT_EQ(x(0, 2, 0), -1);
}

TEST_F(TensorTest, SelectsAwayALeadingAxis) {
  const auto x = counting(Shape<3>{2, 3, 4});
  EXPECT_EQ(elements(x.select(0, 1)), (Floats{12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}));
  EXPECT_EQ(elements(x.select(1, 2)), (Floats{8, 9, 10, 11, 20, 21, 22, 23}));
  EXPECT_EQ(elements(x.select(1, 2).select(0, 1)), (Floats{20, 21, 22, 23}));
}

TEST_F(TensorTest, UnsqueezesAnywhereButBehindTheLastAxis) {
  const auto x = counting(Shape<2>{2, 3});
  EXPECT_EQ(x.unsqueeze(0).shape(), (Shape<3>{1, 2, 3}));
  EXPECT_EQ(x.unsqueeze(1).shape(), (Shape<3>{2, 1, 3}));
  EXPECT_EQ(elements(x.unsqueeze(1)), elements(x));
  EXPECT_TRUE(x.unsqueeze(1).dense());
  const auto columns = counting(Shape<2>{2, 6}).slice(1, 0, 2);
  EXPECT_EQ(elements(columns.unsqueeze(1)), (Floats{0, 1, 6, 7}));
}

TEST_F(TensorTest, BroadcastsAxesOfExtentOne) {
  const auto x = counting(Shape<2>{2, 3});
  const auto y = x.unsqueeze(1).broadcast(Shape<3>{2, 2, 3});
  EXPECT_EQ(elements(y), (Floats{0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5}));
  EXPECT_EQ(y.stride(1), 0);
  EXPECT_FALSE(y.dense());
  EXPECT_EQ(x.broadcast(Shape<2>{2, 3}).stride(0), 3);
  EXPECT_EQ(counting(Shape<2>{1, 3}).broadcast(Shape<2>{0, 3}).count(), 0);
}

TEST_F(TensorTest, PermutesLeadingAxes) {
  const auto x = counting(Shape<3>{2, 3, 2});
  EXPECT_EQ(elements(x.permute_leading(Shape<3>{1, 0, 2})), (Floats{0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11}));
  EXPECT_EQ(x.permute_leading(Shape<3>{1, 0, 2}).shape(), (Shape<3>{3, 2, 2}));
  EXPECT_EQ(elements(x.permute_leading(Shape<3>{0, 1, 2})), elements(x));
  const auto back = x.permute_leading(Shape<3>{1, 0, 2}).permute_leading(Shape<3>{1, 0, 2});
  EXPECT_TRUE(back.dense());
}

TEST_F(TensorTest, SplitsTheLastAxis) {
  const auto x = counting(Shape<2>{2, 6});
  const auto heads = x.split_last(3);
  EXPECT_EQ(heads.shape(), (Shape<3>{2, 3, 2}));
  EXPECT_EQ(heads(1, 2, 0), 10);
  EXPECT_TRUE(heads.dense());
  const auto wide = counting(Shape<2>{2, 12}).slice(1, 6, 12).split_last(2);
  EXPECT_EQ(elements(wide), (Floats{6, 7, 8, 9, 10, 11, 18, 19, 20, 21, 22, 23}));
  EXPECT_EQ(counting(Shape<2>{2, 0}).split_last(4).shape(), (Shape<3>{2, 4, 0}));
}

TEST_F(TensorTest, ReshapesDenseOnes) {
  const auto x = counting(Shape<3>{2, 3, 4});
  for (const auto& y : {x.reshape(Shape<2>{6, 4}), x.reshape(Shape<2>{4, 6}), x.reshape(Shape<2>{1, 24})})
    EXPECT_EQ(elements(y), elements(x));
  EXPECT_EQ(elements(x.reshape(Shape<5>{1, 2, 12, 1, 1})), elements(x));
  EXPECT_EQ(elements(x.reshape(Shape<1>{24})), elements(x));
  EXPECT_EQ(counting(Shape<2>{0, 3}).reshape(Shape<3>{7, 0, 2}).count(), 0);
}

TEST_F(TensorTest, ReshapesViewsWhereStridesAllowIt) {
  const auto wide = counting(Shape<3>{2, 3, 8});
  const auto x = wide.slice(2, 2, 6);  // [2, 3, 4] of rows with gaps
  EXPECT_EQ(elements(x.reshape(Shape<2>{6, 4})), elements(x));
  EXPECT_EQ(elements(x.reshape(Shape<4>{2, 3, 2, 2})), elements(x));
  EXPECT_EQ(elements(x.reshape(Shape<4>{1, 6, 1, 4})), elements(x));
  EXPECT_EQ(elements(x.reshape(Shape<5>{6, 2, 1, 2, 1})), elements(x));  // the last has extent 1
  const auto rows = counting(Shape<3>{2, 5, 4}).slice(1, 1, 4);          // gaps between the samples
  EXPECT_EQ(elements(rows.reshape(Shape<2>{2, 12})), elements(rows));
  EXPECT_EQ(elements(rows.reshape(Shape<3>{2, 6, 2})), elements(rows));
  const auto swapped = counting(Shape<3>{3, 2, 4}).permute_leading(Shape<3>{1, 0, 2});
  EXPECT_EQ(elements(swapped.reshape(Shape<4>{2, 3, 2, 2})), elements(swapped));
  const auto repeated = counting(Shape<2>{1, 6}).broadcast(Shape<2>{5, 6});
  EXPECT_EQ(elements(repeated.reshape(Shape<3>{5, 2, 3})), elements(repeated));
  const auto single = x.slice(0, 0, 1).slice(1, 1, 2);  // one row is dense, whatever its strides
  EXPECT_EQ(elements(single.reshape(Shape<2>{2, 2})), elements(single));
}

TEST_F(TensorTest, TheReshapeOfEveryViewIsRightOrRefused) {
  // All factorisations of 2 x 3 x 4 into four axes, over some views: a reshape that succeeds keeps the order.
  const auto base = counting(Shape<3>{4, 6, 8});
  const Tensor<float, 3> views[] = {
      base.slice(0, 1, 3).slice(1, 0, 3).slice(2, 4, 8), base.slice(0, 0, 2).slice(1, 0, 3).slice(2, 0, 4),
      base.permute_leading(Shape<3>{1, 0, 2}).slice(0, 0, 2).slice(1, 0, 3).slice(2, 0, 4)};
  int given = 0, refused = 0;
  for (const auto& x : views) {
    for (Index a = 1; a <= 24; ++a) {
      for (Index b = 1; a * b <= 24; ++b) {
        for (Index c = 1; a * b * c <= 24; ++c) {
          if (24 % (a * b * c) != 0) continue;
          const Shape<4> shape{a, b, c, 24 / (a * b * c)};
          try {
            EXPECT_EQ(elements(x.reshape(shape)), elements(x)) << to_string(shape);
            ++given;
          } catch (const ShapeError&) {
            ++refused;
            // Rows of four elements have gaps behind them: a last axis that divides 4 below whole rows is a view.
            EXPECT_FALSE(a == 2 && b == 3) << to_string(shape);
          }
        }
      }
    }
  }
  EXPECT_GT(given, 10);
  EXPECT_GT(refused, 10);
}

TEST_F(TensorTest, RankEightIsTheMost) {
  const auto x = counting(Shape<8>{1, 2, 1, 3, 1, 1, 2, 1});
  EXPECT_EQ(elements(x.reshape(Shape<1>{12})), elements(x));
  EXPECT_EQ(x.select(1, 1).extent(2), 3);
}

// ---- errors

TEST_F(TensorTest, SaysWhatIsWrong) {
  const auto x = counting(Shape<3>{2, 3, 4});
  const auto gaps = counting(Shape<3>{2, 3, 8}).slice(2, 0, 4);
  const Tensor<float, 3> none;
  const std::string moved = ": the tensor is empty (moved from?)";
  const auto expect = [](const std::string& text, auto&& f) {
    try {
      f();
      ADD_FAILURE() << "no error, expected: " << text;
    } catch (const ShapeError& error) {
      EXPECT_EQ(error.what(), text);
    }
  };
  expect("slice: axis 3 of [2, 3, 4]", [&] { x.slice(3, 0, 1); });
  expect("slice: axis -1 of [2, 3, 4]", [&] { x.slice(-1, 0, 1); });
  expect("slice: [0, 4) of axis 1 of [2, 3, 4]", [&] { x.slice(1, 0, 4); });
  expect("slice: [-1, 2) of axis 1 of [2, 3, 4]", [&] { x.slice(1, -1, 2); });
  expect("slice: [2, 1) of axis 1 of [2, 3, 4]", [&] { x.slice(1, 2, 1); });
  expect("slice" + moved, [&] { none.slice(0, 0, 0); });
  expect("select: axis 5 of [2, 3, 4]", [&] { x.select(5, 0); });
  expect("select: the last axis of [2, 3, 4] must stay", [&] { x.select(2, 0); });
  expect("select: index 3 of axis 1 of [2, 3, 4]", [&] { x.select(1, 3); });
  expect("select: index -1 of axis 0 of [2, 3, 4]", [&] { x.select(0, -1); });
  expect("select" + moved, [&] { none.select(0, 0); });
  expect("unsqueeze: axis 3 of [2, 3, 4]", [&] { x.unsqueeze(3); });
  expect("unsqueeze" + moved, [&] { none.unsqueeze(0); });
  expect("broadcast: [2, 3, 4] to [4, 3, 4]", [&] { x.broadcast(Shape<3>{4, 3, 4}); });
  expect("broadcast: [2, 3, 1] to [2, 3, 4]", [&] { x.slice(2, 0, 1).broadcast(Shape<3>{2, 3, 4}); });
  expect("broadcast" + moved, [&] { none.broadcast(Shape<3>{0, 0, 0}); });
  expect("permute_leading: order [0, 0, 2] of [2, 3, 4]", [&] { x.permute_leading(Shape<3>{0, 0, 2}); });
  expect("permute_leading: order [0, 2, 1] of [2, 3, 4]", [&] { x.permute_leading(Shape<3>{0, 2, 1}); });
  expect("permute_leading: order [0, 3, 2] of [2, 3, 4]", [&] { x.permute_leading(Shape<3>{0, 3, 2}); });
  expect("permute_leading" + moved, [&] { none.permute_leading(Shape<3>{0, 1, 2}); });
  expect("split_last: [2, 3, 4] into 3 groups", [&] { x.split_last(3); });
  expect("split_last: [2, 3, 4] into 0 groups", [&] { x.split_last(0); });
  expect("split_last: [2, 3, 4] into -2 groups", [&] { x.split_last(-2); });
  expect("split_last" + moved, [&] { none.split_last(1); });
  expect("reshape: [2, 3, 4] to [5, 5]: 24 elements, not 25", [&] { x.reshape(Shape<2>{5, 5}); });
  expect("shape [-1, 4] has a negative extent", [&] { x.reshape(Shape<2>{-1, 4}); });
  expect("reshape: the strides of [2, 3, 4] do not allow a view of [2, 12]; make it dense first", [&] {
    gaps.reshape(Shape<2>{2, 12});
  });
  expect("reshape: the strides of [2, 3, 4] do not allow a view of [24]; make it dense first",
         [&] { gaps.reshape(Shape<1>{24}); });
  expect("reshape" + moved, [&] { none.reshape(Shape<1>{0}); });
}

// ---- sizes

TEST_F(TensorTest, IndicesReachBeyond32Bits) {
#if AULOS_TEST_SANITIZED
  GTEST_SKIP() << "4 GiB under a sanitizer";
#endif
  // Planned, so that it needs no memory: positions of views are exact.
  Context dry(Context::Dry{});
  const auto x = dry.empty<std::uint8_t>(Shape<2>{Index{1} << 20, (Index{1} << 12) + 1});
  EXPECT_EQ(x.count(), (Index{1} << 32) + (Index{1} << 20));
  const auto last = x.slice(0, (Index{1} << 20) - 1, Index{1} << 20).slice(1, Index{1} << 12, (Index{1} << 12) + 1);
  EXPECT_EQ(last.any().offset(), x.count() - 1);
  EXPECT_EQ(x.reshape(Shape<1>{x.count()}).slice(0, x.count() - 2, x.count()).any().offset(), x.count() - 2);
}

}  // namespace
