#include "aulos/path/axes.hpp"

#include <gtest/gtest.h>

#include "aulos/ops/arithmetic.hpp"
#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
namespace path = aulos::path;
using path::Axis;

// Every token minus the one before it.
template <class T>
Tensor<T, 3> difference(const Tensor<T, 3>& x) {
  const Index n = x.extent(1);
  const auto zero = aulos::scale(x.slice(1, 0, 1), T{0});
  return aulos::subtract(x, aulos::concat(std::array{zero, x.slice(1, 0, n - 1)}, 1));
}

TEST(PathAxes, RunAlongTheirAxis) {
  Context context;
  const auto grid = context.empty<double>(Shape<4>{2, 3, 4, 2});
  for (Index i = 0; i < grid.count(); ++i) grid.mutable_data()[i] = static_cast<double>(i * i);
  for (const Axis axis : {Axis::inner, Axis::outer}) {
    const auto f = [](const Tensor<double, 3>& x) { return difference(x); };
    const auto y = path::along(axis, f, grid);
    ASSERT_EQ(y.shape(), grid.shape());
    for (Index b = 0; b < 2; ++b) {
      for (Index m = 0; m < 3; ++m) {
        for (Index n = 0; n < 4; ++n) {
          const bool first = (axis == Axis::inner ? n : m) == 0;
          const double before = first ? 0 : axis == Axis::inner ? grid(b, m, n - 1, 1) : grid(b, m - 1, n, 1);
          EXPECT_EQ(y(b, m, n, 1), grid(b, m, n, 1) - before);
        }
      }
    }
  }
}

TEST(PathAxes, SequencesAndBack) {
  Context context;
  const auto grid = context.zeros<float>(Shape<4>{2, 3, 4, 5});
  EXPECT_EQ(path::sequences(grid, Axis::inner).shape(), (Shape<3>{6, 4, 5}));
  EXPECT_EQ(path::sequences(grid, Axis::outer).shape(), (Shape<3>{8, 3, 5}));
  EXPECT_EQ(path::sequences(grid, Axis::inner).data(), grid.data());  // a view
  EXPECT_EQ(path::grid_of(path::sequences(grid, Axis::outer), 2, Axis::outer).shape(), grid.shape());
}

TEST(PathAxes, GradientsLayoutsAndThreads) {
  const auto body = [](auto& c, const Shape<4>& shape) {
    using T = std::decay_t<decltype(*c.inputs[0].data())>;
    const auto x = c.template in<4>(shape, 1);
    const auto f = [](const Tensor<T, 3>& s) { return difference(s); };
    return results(path::along(Axis::inner, f, x), path::along(Axis::outer, f, x));
  };
  expect_gradients([&](Case<double>& c) { return body(c, Shape<4>{2, 3, 4, 2}); });
  for (const Axis axis : {Axis::inner, Axis::outer}) {  // one at a time: of two uses of x the sum has one order only
    expect_layouts_agree<float>([&](Case<float>& c) {
      return results(path::along(
          axis, [](const Tensor<float, 3>& s) { return difference(s); }, c.in<4>(Shape<4>{2, 3, 4, 2}, 1)));
    });
  }
  expect_threads_agree<float>([&](Case<float>& c) { return body(c, Shape<4>{2, 30, 40, 16}); });
}

}  // namespace
