#include "aulos/path/scales.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
namespace path = aulos::path;

TEST(PathScales, Values) {
  Context context;
  const auto x = of<float>(context, Shape<3>{1, 4, 2}, {1, 10, 2, 20, 3, 30, 6, 60});
  expect_values(path::coarser(x, 2), {1.5, 15, 4.5, 45}, 1e-6);
  expect_values(path::coarser(x, 4), {3, 30}, 1e-6);
  expect_values(path::coarser(x, 1), {1, 10, 2, 20, 3, 30, 6, 60});
  expect_values(path::finer(path::coarser(x, 2), 2), {1.5, 15, 1.5, 15, 4.5, 45, 4.5, 45}, 1e-6);
}

TEST(PathScales, GradientsLayoutsAndThreads) {
  const auto body = [](auto& c, const Shape<3>& shape) {
    const auto x = c.template in<3>(shape, 1);
    return results(path::coarser(x, 3), path::finer(x, 2));
  };
  expect_gradients([&](Case<double>& c) { return body(c, Shape<3>{2, 6, 3}); });
  expect_layouts_agree<float>([&](Case<float>& c) { return body(c, Shape<3>{2, 6, 3}); });
  expect_threads_agree<float>([&](Case<float>& c) { return body(c, Shape<3>{2, 600, 32}); });
}

TEST(PathScales, SayWhatIsWrong) {
  expect_errors({
      {"divisor",
       [](Context& c) {
         path::coarser(c.zeros<float>(Shape<3>{1, 5, 2}), 2);
       },
       {"coarser: x [1, 5, 2]", "2"}},
      {"zero",
       [](Context& c) {
         path::coarser(c.zeros<float>(Shape<3>{1, 4, 2}), 0);
       },
       {"coarser: ", "factor of 0"}},
      {"finer",
       [](Context& c) {
         path::finer(c.zeros<float>(Shape<3>{1, 4, 2}), 0);
       },
       {"finer: ", "factor of 0"}},
      {"empty", [](Context&) { path::finer(Tensor<float, 3>(), 2); }, {"finer: x is empty"}},
  });
}

}  // namespace
