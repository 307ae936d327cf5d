#include "aulos/ops/prelu.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

template <class T>
std::vector<AnyTensor<T>> of_case(Case<T>& c, const Shape<3>& shape) {
  const auto x = c.template in<3>(shape, 1, 1, 0.05);
  return results(prelu(x, c.template in<1>(Shape<1>{1}, 2)));
}

TEST(PreluOps, GradientsLayoutsAndThreads) {
  expect_gradients([](Case<double>& c) { return of_case(c, Shape<3>{2, 3, 4}); });
  expect_gradients([](Case<double>& c) { return of_case(c, Shape<3>{1, 1, 1}); });
  expect_layouts_agree<float>([](Case<float>& c) { return of_case(c, Shape<3>{2, 3, 4}); });
  expect_threads_agree<float>([](Case<float>& c) { return of_case(c, Shape<3>{3, 100, 200}); });
}

TEST(PreluOps, WritesInPlaceWhereItMay) {
  Context context;
  const auto slope = of<float>(context, Shape<1>{1}, {0.25F});
  auto x = of<float>(context, Shape<2>{1, 3}, {-4, 0, 2});
  const float* memory = x.data();
  const auto kept = prelu(x, slope);
  expect_values(kept, {-1, 0, 2});
  expect_values(x, {-4, 0, 2});
  const auto y = prelu(std::move(x), slope);
  EXPECT_EQ(y.data(), memory);
  expect_values(y, {-1, 0, 2});
}

TEST(PreluOps, Records) {
  expect_records<float>("prelu", {"x", "slope"}, [](Case<float>& c) { return of_case(c, Shape<3>{2, 3, 4}); });
}

TEST(PreluOps, SayWhatIsWrong) {
  expect_errors({
      {"slope",
       [](Context& c) {
         prelu(c.zeros<float>(Shape<2>{2, 3}), c.zeros<float>(Shape<1>{3}));
       },
       {"prelu: slope [3], expected [1]"}},
      {"no x", [](Context& c) { prelu(Tensor<float, 2>(), c.zeros<float>(Shape<1>{1})); }, {"prelu: x is empty"}},
  });
}

}  // namespace
