#include "aulos/ops/pooling.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using namespace aulos;
using kernels::PoolDivisor;

// (4 i) mod 11 - 5.
template <int Rank>
Tensor<double, Rank> ramp(Context& context, const Shape<Rank>& shape) {
  auto x = context.empty<double>(shape);
  for (Index i = 0; i < x.count(); ++i) x.mutable_data()[i] = static_cast<double>(i * 4 % 11 - 5);
  return x;
}

// The numbers are PyTorch's for the same arguments.
TEST(PoolingOps, AreThoseOfPyTorch) {
  Context context;
  const auto x = ramp(context, Shape<4>{1, 1, 4, 5});
  const double third = 1.0 / 3, sixth = 1.0 / 6;
  expect_values(
      avg_pool2d(x, {.kernel = {2, 3}, .stride = {2, 1}, .padding = 1}),
      {-1, -0.5, -third, -sixth, -2 * third, -third, -third, 0, third, third, 2 * third, sixth, third, 0.5, 1}, 1e-15);
  expect_values(avg_pool2d(x, {.kernel = {2, 3}, .stride = {2, 1}, .padding = 1, .divisor = PoolDivisor::inside}),
                {-3, -1, -2 * third, -third, -2, -0.5, -third, 0, third, 0.5, 2, third, 2 * third, 1, 3}, 1e-15);
  const auto largest = max_pool2d(x, {.kernel = 2, .stride = {1, 2}, .padding = 1, .dilation = {2, 1}});
  EXPECT_EQ(largest.shape(), (Shape<4>{1, 1, 4, 3}));
  expect_values(largest, {4, 1, 5, 2, 3, 3, 4, 4, 5, 2, -1, 3});
  expect_values(adaptive_avg_pool2d(x, {3, 2}), {-sixth, 0.5, -third, third, -0.5, sixth}, 1e-15);
  const auto line = ramp(context, Shape<3>{1, 1, 7});
  expect_values(avg_pool1d(line, {.kernel = 3}), {-1, 0}, 1e-15);
  expect_values(max_pool1d(line, {.kernel = 3, .stride = 2, .padding = 1}), {-1, 3, 4, 4});
  expect_values(adaptive_avg_pool1d(line, 3), {-1, -third, third}, 1e-15);
}

template <class T>
std::vector<AnyTensor<T>> all_of(Case<T>& c, Index batch, Index length) {
  const auto line = c.template in<3>(Shape<3>{batch, 3, length}, 1);
  const auto image = c.template in<4>(Shape<4>{batch, 2, 5, length}, 2);
  return results(avg_pool1d(line, {.kernel = 3, .stride = 2, .padding = 1}), max_pool1d(line, {.kernel = 2}),
                 adaptive_avg_pool1d(line, 3),
                 avg_pool2d(image, {.kernel = 3, .stride = 1, .padding = 1, .divisor = PoolDivisor::inside}),
                 max_pool2d(image, {.kernel = {3, 2}, .stride = 1, .padding = 1, .dilation = {2, 1}}),
                 adaptive_avg_pool2d(image, {2, 3}));
}

TEST(PoolingOps, Gradients) {
  expect_gradients([](Case<double>& c) { return all_of(c, 2, 7); });
  expect_gradients([](Case<double>& c) { return all_of(c, 1, 2); });
}

TEST(PoolingOps, LayoutsAndThreads) {
  expect_layouts_agree<float>([](Case<float>& c) { return all_of(c, 2, 7); });
  expect_layouts_agree<float>([](Case<float>& c) { return all_of(c, 0, 7); });
  expect_threads_agree<float>([](Case<float>& c) { return all_of(c, 9, 300); });
}

TEST(PoolingOps, Records) {
  const Shape<3> shape{2, 3, 8};
  expect_records<float>("avg_pool", {"x"},
                        [&](Case<float>& c) { return results(avg_pool1d(c.in<3>(shape, 1), {.kernel = 2})); });
  expect_records<float>("adaptive_avg_pool", {"x"},
                        [&](Case<float>& c) { return results(adaptive_avg_pool1d(c.in<3>(shape, 1), 3)); });
}

TEST(PoolingOps, MaxPoolRecords) {
  Context context;
  context.start_profile();
  max_pool1d(context.zeros<float>(Shape<3>{2, 3, 8}), {.kernel = 2});
  const auto records = context.stop_profile();
  EXPECT_TRUE(std::any_of(records.begin(), records.end(),
                          [](const auto& r) { return std::string(r.operation) == "max_pool" && r.bytes > 0; }));
}

TEST(PoolingOps, SayWhatIsWrong) {
  const auto x = [](Context& c) { return c.zeros<float>(Shape<3>{1, 2, 5}); };
  expect_errors({
      {"long kernel",
       [&](Context& c) { avg_pool1d(x(c), {.kernel = 6}); },
       {"avg_pool: ", "x [1, 2, 5]", "kernel of 6"}},
      {"padding", [&](Context& c) { max_pool1d(x(c), {.kernel = 3, .padding = 2}); }, {"max_pool: ", "padding 2"}},
      {"kernel", [&](Context& c) { max_pool1d(x(c), {.kernel = 0}); }, {"kernel 0"}},
      {"stride", [&](Context& c) { avg_pool1d(x(c), {.stride = -1}); }, {"stride -1"}},
      {"dilation", [&](Context& c) { max_pool1d(x(c), {.dilation = 0}); }, {"dilation 0"}},
      {"parts", [&](Context& c) { adaptive_avg_pool1d(x(c), 0); }, {"adaptive_avg_pool: ", "1 by 0 parts"}},
      {"nothing",
       [&](Context& c) {
         adaptive_avg_pool1d(c.zeros<float>(Shape<3>{1, 2, 0}), 1);
       },
       {"x [1, 2, 0]"}},
      {"no x", [&](Context&) { avg_pool1d(Tensor<float, 3>(), {.kernel = 2}); }, {"avg_pool: x is empty"}},
  });
}

}  // namespace
