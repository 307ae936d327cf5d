#include "aulos/ops/roll.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::flip;
using aulos::roll;

// torch.roll and torch.flip of [[1, 2, 3], [4, 5, 6]].
TEST(RollOps, AreThoseOfPyTorch) {
  Context context;
  const auto x = of<double>(context, Shape<2>{2, 3}, {1, 2, 3, 4, 5, 6});
  expect_values(roll(x, 1, 1), {3, 1, 2, 6, 4, 5});
  expect_values(roll(x, -4, 1), {2, 3, 1, 5, 6, 4});
  expect_values(roll(x, 3, 0), {4, 5, 6, 1, 2, 3});
  expect_values(roll(x, 0, 0), {1, 2, 3, 4, 5, 6});
  expect_values(flip(x, 1), {3, 2, 1, 6, 5, 4});
  expect_values(flip(x, 0), {4, 5, 6, 1, 2, 3});
  EXPECT_EQ(roll(context.zeros<float>(Shape<2>{0, 3}), 2, 0).shape(), (Shape<2>{0, 3}));
}

template <class T>
std::vector<AnyTensor<T>> all_of(Case<T>& c, const Shape<3>& shape) {
  const auto x = c.template in<3>(shape, 1);
  return results(roll(x, 2, 2), roll(x, -1, 1), flip(x, 2), flip(x, 0), flip(roll(x, 1, 0), 1));
}

TEST(RollOps, GradientsLayoutsAndThreads) {
  expect_gradients([](Case<double>& c) { return all_of(c, {2, 3, 5}); });
  expect_gradients([](Case<double>& c) { return all_of(c, {1, 1, 1}); });
  expect_layouts_agree<float>([](Case<float>& c) { return all_of(c, {2, 3, 5}); });
  expect_threads_agree<float>([](Case<float>& c) { return all_of(c, {20, 30, 70}); });
}

TEST(RollOps, Records) {
  const Shape<3> shape{2, 3, 4};
  expect_records<float>("roll", {"x"}, [&](Case<float>& c) { return results(roll(c.in<3>(shape, 1), 1, 2)); });
  expect_records<float>("flip", {"x"}, [&](Case<float>& c) { return results(flip(c.in<3>(shape, 1), 1)); });
}

TEST(RollOps, SayWhatIsWrong) {
  const auto x = [](Context& c) { return c.zeros<float>(Shape<2>{2, 3}); };
  expect_errors({
      {"roll axis", [&](Context& c) { roll(x(c), 1, 2); }, {"roll: axis 2 of [2, 3]"}},
      {"flip axis", [&](Context& c) { flip(x(c), -1); }, {"flip: axis -1 of [2, 3]"}},
      {"no x", [&](Context&) { roll(Tensor<float, 2>(), 1, 0); }, {"roll: x is empty"}},
  });
}

}  // namespace
