#include "aulos/ops/layout.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

Tensor<float, 3> counting(Context& context, const Shape<3>& shape, float first = 0) {
  auto x = context.empty<float>(shape);
  for (Index i = 0; i < x.count(); ++i) x.mutable_data()[i] = first + static_cast<float>(i);
  return x;
}

TEST(LayoutOps, PermuteMovesEveryAxis) {
  Context context;
  const auto x = counting(context, Shape<3>{2, 3, 5});
  Shape<3> order{0, 1, 2};
  do {
    const auto y = permute(x, order);
    EXPECT_TRUE(y.dense());
    for (int axis = 0; axis < 3; ++axis) ASSERT_EQ(y.extent(axis), x.extent(static_cast<int>(order[axis])));
    Index at[3];
    for (at[0] = 0; at[0] < 2; ++at[0]) {
      for (at[1] = 0; at[1] < 3; ++at[1]) {
        for (at[2] = 0; at[2] < 5; ++at[2])
          ASSERT_EQ(y(at[order[0]], at[order[1]], at[order[2]]), x(at[0], at[1], at[2])) << to_string(order);
      }
    }
  } while (std::next_permutation(order.extents, order.extents + 3));
}

TEST(LayoutOps, ConcatAlongEveryAxis) {
  Context context;
  const auto a = counting(context, Shape<3>{1, 2, 2}), b = counting(context, Shape<3>{1, 2, 2}, 10);
  expect_values(concat(std::array{a, b}, 0), {0, 1, 2, 3, 10, 11, 12, 13});
  expect_values(concat(std::array{a, b}, 1), {0, 1, 2, 3, 10, 11, 12, 13});
  expect_values(concat(std::array{a, b}, 2), {0, 1, 10, 11, 2, 3, 12, 13});
  EXPECT_EQ(concat(std::array{a, b, a}, 2).shape(), (Shape<3>{1, 2, 6}));
  const auto none = context.empty<float>(Shape<3>{1, 0, 2});
  EXPECT_EQ(values(concat(std::array{a, none, b}, 1)), values(concat(std::array{a, b}, 1)));
  EXPECT_EQ(values(concat(std::array{a}, 1)), values(a));
}

TEST(LayoutOps, ChunksAreViews) {
  Context context;
  const auto x = counting(context, Shape<3>{1, 2, 6});
  const auto parts = aulos::chunk<3>(x, 2);
  EXPECT_EQ(parts[1].data(), x.data() + 2);
  expect_values(parts[2], {4, 5, 10, 11});
  EXPECT_EQ(values(concat(parts, 2)), values(x));
}

TEST(LayoutOps, DenseCopiesOnlyWhatHasGaps) {
  Context context;
  const auto x = counting(context, Shape<3>{2, 3, 4});
  EXPECT_EQ(dense(x).data(), x.data());
  const auto y = dense(x.slice(1, 0, 2));
  EXPECT_TRUE(y.dense());
  expect_values(y, {0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 16, 17, 18, 19});
}

template <class T>
std::vector<AnyTensor<T>> all_of(Case<T>& c, const Shape<3>& shape) {
  const auto x = c.template in<3>(shape, 1), y = c.template in<3>(shape, 2);
  return results(permute(x, Shape<3>{2, 0, 1}), permute(x, Shape<3>{0, 2, 1}), concat(std::array{x, y, x}, 0),
                 concat(std::array{x, y}, 1), concat(std::array{y, x}, 2), dense(x.slice(1, 0, shape[1] / 2)));
}

TEST(LayoutOps, Gradients) {
  for (const Shape<3>& shape : {Shape<3>{2, 3, 5}, {1, 1, 1}, {1, 2, 17}, {2, 1, 3}})
    expect_gradients([&](Case<double>& c) { return all_of(c, shape); });
}

TEST(LayoutOps, LayoutsAndThreadsAgree) {
  expect_layouts_agree<float>([](Case<float>& c) { return all_of(c, Shape<3>{3, 4, 19}); });
  expect_threads_agree<float>([](Case<float>& c) { return all_of(c, Shape<3>{3, 64, 257}); });
}

TEST(LayoutOps, NothingInNothingOut) {
  for (const Shape<3>& shape : {Shape<3>{0, 3, 5}, {2, 0, 5}, {2, 3, 0}}) {
    const Outcome<float> outcome = forward_backward<float>([&](Case<float>& c) { return all_of(c, shape); });
    for (const auto& y : outcome.results) EXPECT_TRUE(y.empty());
  }
}

TEST(LayoutOps, KeepNaN) {
  Context context;
  auto x = counting(context, Shape<3>{1, 2, 2});
  x.mutable_data()[1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(permute(x, Shape<3>{2, 1, 0})(1, 0, 0)));
  EXPECT_TRUE(std::isnan(concat(std::array{x, x}, 1)(0, 2, 1)));
}

TEST(LayoutOps, Records) {
  const Shape<3> shape{3, 4, 19};
  expect_records<float>("permute", {"x"}, [&](Case<float>& c) {
    return results(permute(c.in<3>(shape, 1), Shape<3>{1, 0, 2}));
  });
  expect_records<float>("concat", {"x"}, [&](Case<float>& c) {
    const auto x = c.in<3>(shape, 1), y = c.in<3>(shape, 2);
    return results(concat(std::array{x, y}, 1));
  });
  expect_records<float>("dense", {"x"},
                        [&](Case<float>& c) { return results(dense(c.in<3>(shape, 1).slice(2, 1, 7))); });
}

TEST(LayoutOps, SayWhatIsWrong) {
  const auto x = [](Context& c, const Shape<3>& shape = {2, 3, 4}) { return c.zeros<float>(shape); };
  const Tensor<float, 3> none;
  expect_errors({
      {"no permutation",
       [&](Context& c) {
         permute(x(c), Shape<3>{0, 0, 1});
       },
       {"permute: ", "[0, 0, 1]", "[2, 3, 4]"}},
      {"axis out of range",
       [&](Context& c) {
         permute(x(c), Shape<3>{0, 1, 3});
       },
       {"permute: ", "[0, 1, 3]"}},
      {"permute empty",
       [&](Context&) {
         permute(none, Shape<3>{0, 1, 2});
       },
       {"permute: x is empty"}},
      {"concat shapes",
       [&](Context& c) {
         concat(std::array{x(c), x(c, {2, 3, 5})}, 1);
       },
       {"concat: ", "[2, 3, 4]", "[2, 3, 5]", "axis 1"}},
      {"concat axis",
       [&](Context& c) {
         concat(std::array{x(c), x(c)}, 3);
       },
       {"concat: ", "axis 3", "[2, 3, 4]"}},
      {"concat negative axis",
       [&](Context& c) {
         concat(std::array{x(c), x(c)}, -1);
       },
       {"concat: ", "axis -1"}},
      {"concat empty",
       [&](Context& c) {
         concat(std::array{x(c), none}, 1);
       },
       {"concat: x is empty"}},
      {"concat none", [&](Context&) { concat(std::array<Tensor<float, 3>, 0>{}, 0); }, {"concat: no tensors"}},
      {"chunk", [&](Context& c) { aulos::chunk<3>(x(c), 2); }, {"chunk: ", "axis 2", "[2, 3, 4]", "3 equal parts"}},
      {"chunk empty", [&](Context&) { aulos::chunk<2>(none, 2); }, {"chunk: ", "empty"}},
      {"dense empty", [&](Context&) { dense(none); }, {"dense: x is empty"}},
  });
}

}  // namespace
