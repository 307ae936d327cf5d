#include "aulos/ops/pad.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::pad;
using aulos::PadMode;
using aulos::Sides;

// torch.nn.functional.pad of [[1, 2, 3], [4, 5, 6]].
TEST(PadOps, AreThoseOfPyTorch) {
  Context context;
  const auto x = of<double>(context, Shape<2>{2, 3}, {1, 2, 3, 4, 5, 6});
  expect_values(pad(x, {Sides{1, 2}}, PadMode::constant, 9), {9, 1, 2, 3, 9, 9, 9, 4, 5, 6, 9, 9});
  expect_values(pad(x, {Sides{2, 1}}, PadMode::reflect), {3, 2, 1, 2, 3, 2, 6, 5, 4, 5, 6, 5});
  expect_values(pad(x, {Sides{2, 1}}, PadMode::replicate), {1, 1, 1, 2, 3, 3, 4, 4, 4, 5, 6, 6});
  expect_values(pad(x, {Sides{2, 1}}, PadMode::circular), {2, 3, 1, 2, 3, 1, 5, 6, 4, 5, 6, 4});
  expect_values(pad(x, {Sides{0, 1}, Sides{-1, 0}}), {2, 3, 5, 6, 0, 0});
  expect_values(pad(x, {Sides{1, 0}, Sides{0, 0}}, PadMode::reflect), {4, 5, 6, 1, 2, 3, 4, 5, 6});
}

template <class T>
std::vector<AnyTensor<T>> all_of(Case<T>& c, Index batch, Index rows, Index columns) {
  const auto x = c.template in<4>(Shape<4>{batch, 2, rows, columns}, 1);
  return results(pad(x, {Sides{1, 2}}), pad(x, {Sides{1, 2}, Sides{2, 1}}, PadMode::reflect),
                 pad(x, {Sides{1, 2}, Sides{0, 4}}, PadMode::replicate),
                 pad(x, {Sides{2, 0}, Sides{1, 3}}, PadMode::circular),
                 pad(x, {Sides{-1, 1}, Sides{1, 1}, Sides{0, -2}}, PadMode::constant, 0.5));
}

TEST(PadOps, Gradients) {
  expect_gradients([](Case<double>& c) { return all_of(c, 2, 3, 4); });
  expect_gradients([](Case<double>& c) { return all_of(c, 1, 5, 3); });
}

TEST(PadOps, LayoutsAndThreads) {
  expect_layouts_agree<float>([](Case<float>& c) { return all_of(c, 2, 3, 4); });
  expect_threads_agree<float>([](Case<float>& c) { return all_of(c, 4, 60, 90); });
}

TEST(PadOps, WithoutElements) {
  Context context;
  EXPECT_EQ(pad(context.zeros<float>(Shape<2>{0, 3}), {Sides{1, 1}}, PadMode::reflect).shape(), (Shape<2>{0, 5}));
  expect_values(pad(context.zeros<float>(Shape<1>{0}), {Sides{1, 2}}, PadMode::constant, 3), {3, 3, 3});
  EXPECT_EQ(pad(context.zeros<float>(Shape<1>{3}), {Sides{-1, -2}}).shape(), (Shape<1>{0}));
}

TEST(PadOps, Records) {
  expect_records<float>("pad", {"x"}, [](Case<float>& c) {
    return results(pad(c.in<3>(Shape<3>{2, 3, 4}, 1), {Sides{1, 1}}, PadMode::circular));
  });
}

TEST(PadOps, SayWhatIsWrong) {
  const auto x = [](Context& c) { return c.zeros<float>(Shape<2>{2, 3}); };
  expect_errors({
      {"reflect",
       [&](Context& c) {
         pad(x(c), {Sides{3, 0}}, PadMode::reflect);
       },
       {"pad: axis 1 of x [2, 3] padded by 3 and 0", "less than its extent"}},
      {"circular",
       [&](Context& c) {
         pad(x(c), {Sides{0, 4}}, PadMode::circular);
       },
       {"by 0 and 4"}},
      {"cut",
       [&](Context& c) {
         pad(x(c), {Sides{-2, -2}});
       },
       {"by -2 and -2", "at least 0"}},
      {"negative",
       [&](Context& c) {
         pad(x(c), {Sides{-1, 0}}, PadMode::replicate);
       },
       {"by -1 and 0"}},
      {"none to repeat",
       [&](Context& c) {
         pad(c.zeros<float>(Shape<1>{0}), {Sides{1, 0}}, PadMode::replicate);
       },
       {"an element to repeat"}},
      {"no x",
       [&](Context&) {
         pad(Tensor<float, 2>(), {Sides{1, 0}});
       },
       {"pad: x is empty"}},
  });
}

}  // namespace
