#include "aulos/ops/reduce.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

TEST(ReduceOps, AgreeWithTheFormula) {
  for (const Index columns : {1, 7, 16, 33}) {
    Context context;
    Case<float> c(context);
    const auto x = c.in<3>(Shape<3>{2, 3, columns}, 1);
    const std::vector<float> v = values(x);
    std::vector<double> row_sum(6, 0), row_max(6, -infinity);
    double total = 0;
    for (std::size_t i = 0; i < v.size(); ++i) {
      const std::size_t row = i / static_cast<std::size_t>(columns);
      row_sum[row] += static_cast<double>(v[i]);
      row_max[row] = std::fmax(row_max[row], static_cast<double>(v[i]));
      total += static_cast<double>(v[i]);
    }
    const double n = static_cast<double>(columns);
    expect_values(sum(x), {total}, 1e-7);
    expect_values(mean(x), {total / (6 * n)}, 1e-7);
    expect_values(sum_last(x), row_sum, 1e-7);
    expect_values(max_last(x), row_max);
    expect_near(
        mean_last(x), [&](Index i) { return row_sum[static_cast<std::size_t>(i)] / n; }, 1e-7);
    EXPECT_EQ(max_last(x).shape(), (Shape<3>{2, 3, 1}));
  }
}

TEST(ReduceOps, SumInDouble) {
  Context context;
  auto x = context.full<float>(Shape<2>{1, 100001}, 1e-4f);
  x.mutable_data()[0] = 1e4f;
  EXPECT_EQ(sum(x)(0), static_cast<float>(1e4 + 1e5 * static_cast<double>(1e-4f)));
  EXPECT_EQ(sum_last(x)(0, 0), sum(x)(0));
}

TEST(ReduceOps, MaximumIsTheFirstAndNaNWins) {
  Context context;
  GradTape tape(context);
  auto x = of<float>(context, Shape<2>{3, 4},
                     {1, 5, 5, 2, nan_value, 9, 1, nan_value, -infinity, -infinity, -infinity, -infinity});
  tape.watch(x);
  const auto y = max_last(x);
  expect_values(y, {5, nan_value, -infinity});
  backward<float>(context, {y.any()});
  const auto g = tape.gradient(x);
  for (Index r = 0; r < 3; ++r)
    for (Index c = 0; c < 4; ++c)
      EXPECT_EQ(g(r, c), c == (r == 0 ? 1 : 0) ? static_cast<float>(noise(77, static_cast<std::uint64_t>(r))) : 0)
          << r << c;
  for (Index length = 1; length <= 67; ++length) {
    for (const Index at : {Index{0}, length / 2, length - 1}) {
      auto v = context.full<float>(Shape<1>{length}, 2);
      v.mutable_data()[at] = nan_value;
      ASSERT_TRUE(std::isnan(max_last(v)(0)) && std::isnan(sum(v)(0)) && std::isnan(mean_last(v)(0))) << length;
    }
  }
}

template <class T>
std::vector<AnyTensor<T>> all_of(Case<T>& c, const Shape<3>& shape) {
  const auto x = c.template in<3>(shape, 1);
  return results(sum(x), mean(x), sum_last(x), mean_last(x), max_last(x));
}

TEST(ReduceOps, Gradients) {
  for (const Shape<3>& shape : {Shape<3>{2, 3, 7}, {1, 1, 1}, {1, 1, 17}, {2, 1, 5}, {1, 4, 2}}) {
    SCOPED_TRACE(to_string(shape));
    expect_gradients([&](Case<double>& c) { return results(sum(c.in<3>(shape, 1))); });
    expect_gradients([&](Case<double>& c) { return results(mean(c.in<3>(shape, 1))); });
    expect_gradients([&](Case<double>& c) { return results(sum_last(c.in<3>(shape, 1))); });
    expect_gradients([&](Case<double>& c) { return results(mean_last(c.in<3>(shape, 1))); });
    expect_gradients([&](Case<double>& c) { return results(max_last(c.in<3>(shape, 1))); });
  }
}

TEST(ReduceOps, LayoutsAndThreadsAgree) {
  expect_layouts_agree<float>([](Case<float>& c) { return all_of(c, Shape<3>{3, 4, 19}); });
  expect_threads_agree<float>([](Case<float>& c) { return all_of(c, Shape<3>{3, 64, 257}); });
}

TEST(ReduceOps, OfNothing) {
  Context context;
  const auto none = context.empty<float>(Shape<2>{0, 5});
  EXPECT_EQ(sum(none)(0), 0);
  EXPECT_TRUE(std::isnan(mean(none)(0)));
  EXPECT_EQ(sum_last(none).count(), 0);
  const auto no_columns = context.empty<float>(Shape<2>{2, 0});
  expect_values(sum_last(no_columns), {0, 0});
  EXPECT_TRUE(std::isnan(mean_last(no_columns)(1, 0)));
  expect_errors({{"max", [&](Context&) { max_last(no_columns); }, {"max_last: ", "x [2, 0]", "no elements"}}});
  for (const auto& g : forward_backward<float>([](Case<float>& c) { return all_of(c, Shape<3>{0, 3, 5}); }).gradients)
    EXPECT_TRUE(g.empty());
}

TEST(ReduceOps, RecordsAndEmptyArguments) {
  const Shape<3> shape{2, 3, 5};
  expect_records<float>("sum", {"x"}, [&](Case<float>& c) { return results(sum(c.in<3>(shape, 1))); });
  expect_records<float>("mean", {"x"}, [&](Case<float>& c) { return results(mean(c.in<3>(shape, 1))); });
  expect_records<float>("sum_last", {"x"}, [&](Case<float>& c) { return results(sum_last(c.in<3>(shape, 1))); });
  expect_records<float>("mean_last", {"x"}, [&](Case<float>& c) { return results(mean_last(c.in<3>(shape, 1))); });
  expect_records<float>("max_last", {"x"}, [&](Case<float>& c) { return results(max_last(c.in<3>(shape, 1))); });
  const Tensor<float, 2> none;
  expect_errors({{"sum", [&](Context&) { sum(none); }, {"sum: x is empty"}},
                 {"mean", [&](Context&) { mean(none); }, {"mean: x is empty"}},
                 {"sum_last", [&](Context&) { sum_last(none); }, {"sum_last: x is empty"}},
                 {"mean_last", [&](Context&) { mean_last(none); }, {"mean_last: x is empty"}},
                 {"max_last", [&](Context&) { max_last(none); }, {"max_last: x is empty"}}});
}

}  // namespace
