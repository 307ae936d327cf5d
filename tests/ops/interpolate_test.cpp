#include "aulos/ops/interpolate.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::Corners;
using aulos::interpolate;
using aulos::Interpolation;

// The numbers are PyTorch's for the same arguments: x = [[1, 2, 4], [8, 16, 32]].
TEST(InterpolateOps, IsThatOfPyTorch) {
  Context context;
  const auto x = of<double>(context, Shape<4>{1, 1, 2, 3}, {1, 2, 4, 8, 16, 32});
  expect_values(interpolate(x, {.size = {3, 4}}), {1, 1, 2, 4, 1, 1, 2, 4, 8, 8, 16, 32});
  expect_values(interpolate(x, {.factor = {1.0, 1.5}}), {1, 1, 2, 4, 8, 8, 16, 32});
  expect_values(interpolate(x, {.size = {3, 2}, .mode = Interpolation::linear}), {1.25, 3.5, 5.625, 15.75, 10, 28},
                1e-15);
  expect_values(interpolate(x, {.size = {3, 2}, .mode = Interpolation::linear, .corners = Corners::aligned}),
                {1, 4, 4.5, 18, 8, 32}, 1e-15);
  expect_values(interpolate(x, {.factor = {1.0, 1.5}, .mode = Interpolation::linear}),
                {1, 1.5, 7.0 / 3, 11.0 / 3, 8, 12, 56.0 / 3, 88.0 / 3}, 1e-14);
  // As many outputs as inputs: the same, whatever the factor.
  const auto same = of<double>(context, Shape<3>{1, 1, 4}, {0, 5, 1, 2});
  expect_values(interpolate(same, {.factor = 1.075, .mode = Interpolation::linear}), {0, 5, 1, 2});
  const auto line = of<double>(context, Shape<3>{1, 1, 2}, {0, 1});
  expect_values(interpolate(line, {.size = 4, .mode = Interpolation::linear}), {0, 0.25, 0.75, 1}, 1e-15);
}

template <class T>
std::vector<AnyTensor<T>> all_of(Case<T>& c, Index batch, Index rows, Index columns) {
  const auto line = c.template in<3>(Shape<3>{batch, 3, columns}, 1);
  const auto image = c.template in<4>(Shape<4>{batch, 2, rows, columns}, 2);
  return results(interpolate(line, {.size = 5, .mode = Interpolation::linear}), interpolate(line, {.factor = 2.0}),
                 interpolate(image, {.size = {7, 3}}), interpolate(image, {.size = 9, .mode = Interpolation::linear}),
                 interpolate(image, {.factor = 1.5, .mode = Interpolation::cubic}),
                 interpolate(image, {.size = {4, 6}, .mode = Interpolation::cubic, .corners = Corners::aligned}));
}

TEST(InterpolateOps, Gradients) {
  expect_gradients([](Case<double>& c) { return all_of(c, 2, 3, 4); });
  expect_gradients([](Case<double>& c) { return all_of(c, 1, 1, 1); });
}

TEST(InterpolateOps, LayoutsAndThreads) {
  expect_layouts_agree<float>([](Case<float>& c) { return all_of(c, 2, 3, 4); });
  expect_layouts_agree<float>([](Case<float>& c) { return all_of(c, 0, 3, 4); });
  expect_threads_agree<float>([](Case<float>& c) { return all_of(c, 9, 60, 90); });
}

TEST(InterpolateOps, Records) {
  expect_records<float>("interpolate", {"x"}, [](Case<float>& c) {
    return results(interpolate(c.in<4>(Shape<4>{2, 3, 4, 5}, 1), {.size = 8, .mode = Interpolation::cubic}));
  });
}

TEST(InterpolateOps, SayWhatIsWrong) {
  const auto x = [](Context& c) { return c.zeros<float>(Shape<3>{1, 2, 5}); };
  expect_errors({
      {"neither", [&](Context& c) { interpolate(x(c), {}); }, {"interpolate: axis 2: size 0 and factor 0"}},
      {"both", [&](Context& c) { interpolate(x(c), {.size = 3, .factor = 2.0}); }, {"size 3 and factor 2"}},
      {"small", [&](Context& c) { interpolate(x(c), {.factor = 0.1}); }, {"axis 2 of x [1, 2, 5] to 0 elements"}},
      {"large", [&](Context& c) { interpolate(x(c), {.factor = 1e300}); }, {"too large"}},
      {"nothing",
       [&](Context& c) {
         interpolate(c.zeros<float>(Shape<3>{1, 2, 0}), {.size = 3});
       },
       {"x [1, 2, 0]"}},
      {"no x", [&](Context&) { interpolate(Tensor<float, 3>(), {.size = 3}); }, {"interpolate: x is empty"}},
  });
}

}  // namespace
