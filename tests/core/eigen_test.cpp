// compile: -Wno-maybe-uninitialized
#include "aulos/core/eigen.hpp"

#include <gtest/gtest.h>

#include <unsupported/Eigen/CXX11/Tensor>

#include <Eigen/Core>
#include <cstdint>
#include <string>
#include <type_traits>

#include "aulos/core/context.hpp"

namespace {

using aulos::Context;
using aulos::Index;
using aulos::Input;
using aulos::Shape;
using aulos::Tensor;

static_assert(aulos::EigenTensorExpression<Eigen::Tensor<float, 3>>);
static_assert(aulos::EigenTensorExpression<const Eigen::TensorMap<Eigen::Tensor<double, 2, Eigen::RowMajor>>&>);
static_assert(aulos::EigenTensorExpression<decltype(Eigen::Tensor<float, 2>() + Eigen::Tensor<float, 2>())>);
static_assert(!aulos::EigenTensorExpression<Eigen::MatrixXf>);
static_assert(!aulos::EigenTensorExpression<float> && !aulos::EigenTensorExpression<Tensor<float, 2>>);
static_assert(std::is_same_v<decltype(std::declval<const Tensor<float, 3>&>().eigen()),
                             Eigen::TensorMap<Eigen::Tensor<float, 3, Eigen::RowMajor, Index>>>);
static_assert(std::is_same_v<decltype(std::declval<const Tensor<double, 3>&>().matrix()),
                             Eigen::Map<Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>>);

class EigenBorder : public testing::Test {
 protected:
  template <int Rank>
  Tensor<float, Rank> counting(const Shape<Rank>& shape) {
    Tensor<float, Rank> x = context.empty<float>(shape);
    for (Index i = 0; i < x.count(); ++i) x.mutable_data()[i] = static_cast<float>(i);
    return x;
  }

  Context context{{.threads = 1}};
};

// 100 i + 10 j + k at (i, j, k).
template <class E>
E marked(typename E::Index a, typename E::Index b, typename E::Index c) {
  E x(a, b, c);
  for (typename E::Index i = 0; i < a; ++i)
    for (typename E::Index j = 0; j < b; ++j)
      for (typename E::Index k = 0; k < c; ++k) x(i, j, k) = static_cast<typename E::Scalar>(100 * i + 10 * j + k);
  return x;
}

template <class T>
void expect_marked(const Tensor<T, 3>& x, T factor = 1) {
  ASSERT_EQ(x.shape(), (Shape<3>{2, 3, 4}));
  for (Index i = 0; i < 2; ++i)
    for (Index j = 0; j < 3; ++j)
      for (Index k = 0; k < 4; ++k)
        EXPECT_EQ(x(i, j, k), factor * static_cast<T>(100 * i + 10 * j + k)) << i << ' ' << j << ' ' << k;
}

// ---- from tensors to Eigen

TEST_F(EigenBorder, ATensorIsATensorMap) {
  const auto x = counting(Shape<3>{2, 3, 4});
  auto map = x.eigen();
  EXPECT_EQ(map.data(), x.data());
  EXPECT_EQ(map.dimension(0), 2);
  EXPECT_EQ(map.dimension(2), 4);
  for (Index i = 0; i < 2; ++i)
    for (Index j = 0; j < 3; ++j)
      for (Index k = 0; k < 4; ++k) EXPECT_EQ(map(i, j, k), x(i, j, k));
  map(1, 2, 3) = -5;  // writes through
  EXPECT_EQ(x(1, 2, 3), -5);
  x.eigen() = x.eigen() * 2.0f;
  EXPECT_EQ(x(1, 2, 3), -10);
  EXPECT_EQ(x(0, 0, 1), 2);
}

TEST_F(EigenBorder, ATensorIsAMatrixOfRows) {
  const auto x = counting(Shape<3>{2, 3, 4});
  auto map = x.matrix();
  EXPECT_EQ(map.rows(), 6);
  EXPECT_EQ(map.cols(), 4);
  EXPECT_EQ(map(4, 1), x(1, 1, 1));
  map.row(0).setConstant(9);
  EXPECT_EQ(x(0, 0, 3), 9);
  const auto vector = counting(Shape<1>{5});
  EXPECT_EQ(vector.matrix().rows(), 1);
  EXPECT_EQ(vector.matrix().sum(), 10);
  EXPECT_EQ(counting(Shape<3>{2, 0, 4}).slice(1, 0, 0).any().count(), 0);
  const auto none = counting(Shape<3>{2, 0, 4});
  EXPECT_EQ(none.matrix().rows(), 0);
  EXPECT_EQ(none.matrix().cols(), 4);
}

TEST_F(EigenBorder, DenseViewsToo) {
  const auto x = counting(Shape<3>{4, 3, 4});
  const auto part = x.slice(0, 1, 3);
  part.eigen().setZero();
  EXPECT_EQ(x(0, 2, 3), 11);
  EXPECT_EQ(x(1, 0, 0), 0);
  EXPECT_EQ(x(2, 2, 3), 0);
  EXPECT_EQ(x(3, 0, 0), 36);
  EXPECT_EQ(part.matrix().sum(), 0);
}

TEST_F(EigenBorder, RefusesWhatHasNoMap) {
  const auto gaps = counting(Shape<3>{2, 3, 8}).slice(2, 0, 4);
  const Tensor<float, 3> none;
  Context dry(Context::Dry{});
  const auto planned = dry.empty<float>(Shape<2>{2, 3});
  const auto expect = [](const char* text, auto&& f) {
    try {
      f();
      ADD_FAILURE() << text;
    } catch (const aulos::Error& error) {
      EXPECT_STREQ(error.what(), text);
    }
  };
  expect("eigen: a view [2, 3, 4] with gaps; make it dense first", [&] { gaps.eigen(); });
  expect("matrix: a view [2, 3, 4] with gaps; make it dense first", [&] { gaps.matrix(); });
  expect("eigen: the tensor is empty (moved from?)", [&] { none.eigen(); });
  expect("matrix: the tensor is empty (moved from?)", [&] { none.matrix(); });
  expect("a planned tensor [2, 3] has no elements", [&] { planned.eigen(); });
}

// ---- from Eigen to tensors

TEST_F(EigenBorder, TakesTensorsOfBothLayouts) {
  expect_marked(context.from(marked<Eigen::Tensor<float, 3, Eigen::RowMajor>>(2, 3, 4)));
  expect_marked(context.from(marked<Eigen::Tensor<float, 3, Eigen::ColMajor>>(2, 3, 4)));
  expect_marked(context.from(marked<Eigen::Tensor<double, 3, Eigen::RowMajor, int>>(2, 3, 4)));  // another index type
  expect_marked(context.from(marked<Eigen::Tensor<double, 3, Eigen::ColMajor, std::int64_t>>(2, 3, 4)));
  expect_marked(context.from(marked<Eigen::Tensor<std::int64_t, 3>>(2, 3, 4)));
}

TEST_F(EigenBorder, TakesMapsOfConstAndOtherMemory) {
  const auto rows = marked<Eigen::Tensor<float, 3, Eigen::RowMajor>>(2, 3, 4);
  const auto columns = marked<Eigen::Tensor<float, 3>>(2, 3, 4);
  expect_marked(context.from(Eigen::TensorMap<const Eigen::Tensor<float, 3, Eigen::RowMajor>>(rows.data(), 2, 3, 4)));
  expect_marked(context.from(Eigen::TensorMap<const Eigen::Tensor<float, 3>>(columns.data(), 2, 3, 4)));
  auto written = columns;
  expect_marked(context.from(Eigen::TensorMap<Eigen::Tensor<float, 3>>(written.data(), 2, 3, 4)));
}

TEST_F(EigenBorder, TakesExpressionsOfBothLayouts) {
  const auto rows = marked<Eigen::Tensor<float, 3, Eigen::RowMajor>>(2, 3, 4);
  const auto columns = marked<Eigen::Tensor<float, 3>>(2, 3, 4);
  expect_marked<float>(context.from(rows + rows), 2);
  expect_marked<float>(context.from(columns * 3.0f), 3);
  expect_marked<float>(context.from(columns.cwiseMax(0.0f) - columns * 2.0f), -1);
  expect_marked<double>(context.from(columns.cast<double>()));
  const Eigen::array<int, 3> turned{2, 1, 0};
  expect_marked(context.from(marked<Eigen::Tensor<float, 3>>(2, 3, 4).shuffle(turned).shuffle(turned)));
  const auto swapped = context.from(columns.shuffle(turned));
  EXPECT_EQ(swapped.shape(), (Shape<3>{4, 3, 2}));
  EXPECT_EQ(swapped(3, 2, 1), 123);
  const Eigen::array<Eigen::Index, 3> offsets{0, 1, 1}, extents{2, 2, 3};
  const auto part = context.from(columns.slice(offsets, extents));
  EXPECT_EQ(part.shape(), (Shape<3>{2, 2, 3}));
  EXPECT_EQ(part(1, 1, 2), 123);
  const Eigen::array<int, 1> over{1};
  const auto sum = context.from(columns.sum(over));
  EXPECT_EQ(sum.shape(), (Shape<2>{2, 4}));
  EXPECT_EQ(sum(1, 3), 103 + 113 + 123);
}

TEST_F(EigenBorder, TakesEveryRank) {
  Eigen::Tensor<float, 1> one(3);
  one.setValues({1, 2, 3});
  EXPECT_EQ(context.from(one)(2), 3);
  Eigen::Tensor<double, 2> two(2, 2);
  two.setValues({{1, 2}, {3, 4}});
  const auto x = context.from(two);
  EXPECT_EQ(x(0, 1), 2);
  EXPECT_EQ(x(1, 0), 3);
  Eigen::Tensor<float, 5> five(2, 1, 3, 1, 2);
  five.setZero();
  five(1, 0, 2, 0, 1) = 7;
  five(1, 0, 0, 0, 1) = 5;
  const auto y = context.from(five);
  EXPECT_EQ(y(1, 0, 2, 0, 1), 7);
  EXPECT_EQ(y(1, 0, 0, 0, 1), 5);
  Eigen::Tensor<float, 8> eight(1, 2, 1, 2, 1, 1, 1, 2);
  eight.setConstant(4);
  EXPECT_EQ(context.from(eight).count(), 8);
  EXPECT_EQ(context.from(Eigen::Tensor<float, 3>(2, 0, 4)).shape(), (Shape<3>{2, 0, 4}));
}

TEST_F(EigenBorder, RoundTripsAreExact) {
  Eigen::Tensor<float, 3> x(5, 7, 3);
  x.setRandom();
  const auto y = context.from(x);
  const Eigen::Tensor<float, 3, Eigen::RowMajor> z = y.eigen();
  for (Eigen::Index i = 0; i < 5; ++i)
    for (Eigen::Index j = 0; j < 7; ++j)
      for (Eigen::Index k = 0; k < 3; ++k) EXPECT_EQ(z(i, j, k), x(i, j, k));
}

// ---- arguments

Tensor<float, 3> doubled(Context& context, Input<float, 3> x) {
  const Tensor<float, 3> in = std::move(x).in(context);
  const Tensor<float, 3> out = context.empty<float>(in.shape());
  if (!context.dry()) out.eigen() = in.eigen() * 2.0f;
  return out;
}

TEST_F(EigenBorder, AnInputIsATensorOrAnExpression) {
  expect_marked<float>(doubled(context, marked<Eigen::Tensor<float, 3, Eigen::RowMajor>>(2, 3, 4)), 2);
  const auto columns = marked<Eigen::Tensor<float, 3>>(2, 3, 4);
  expect_marked<float>(doubled(context, columns), 2);
  expect_marked<float>(doubled(context, columns + columns), 4);
  const auto x = context.from(columns);
  expect_marked<float>(doubled(context, x), 2);
  const Tensor<float, 3> same = Input<float, 3>(x).in(context);
  EXPECT_EQ(same.data(), x.data());  // not copied
}

TEST_F(EigenBorder, AnInputIsPlannedWithoutItsElements) {
  Context dry(Context::Dry{});
  const auto columns = marked<Eigen::Tensor<float, 3>>(2, 3, 4);
  const auto out = doubled(dry, columns + columns);
  EXPECT_EQ(out.shape(), (Shape<3>{2, 3, 4}));
  EXPECT_EQ(dry.planned().peak_bytes, 2u * 128u);
}

}  // namespace
