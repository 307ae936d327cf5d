#include "aulos/ops/gather.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

template <int Rank>
Tensor<std::int64_t, Rank> indices_of(Context& context, const Shape<Rank>& shape, Index extent) {
  auto at = context.empty<std::int64_t>(shape);
  if (!context.dry())
    for (Index i = 0; i < at.count(); ++i) at.mutable_data()[i] = (i * 7 + i / 3) % extent;
  return at;
}

TEST(GatherOps, TakeRowsOfEachSample) {
  Context context;
  const auto x = of<float>(context, Shape<3>{2, 3, 2}, {1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16});
  const auto at = of<std::int64_t>(context, Shape<2>{2, 2}, {2, 0, 1, 1});
  expect_values(gather_rows(x, at), {5, 6, 1, 2, 13, 14, 13, 14});
  const auto shared = of<std::int64_t>(context, Shape<2>{1, 1}, {2});
  EXPECT_EQ(values(gather_rows(x, of<std::int64_t>(context, Shape<2>{2, 1}, {2, 2}))),
            values(gather_rows(x, shared.broadcast(Shape<2>{2, 1}))));
  expect_values(gather_rows(x.select(0, 1), of<std::int64_t>(context, Shape<1>{3}, {1, 1, 0})),
                {13, 14, 13, 14, 11, 12});
  expect_values(gather_last(x, of<std::int64_t>(context, Shape<3>{2, 3, 1}, {1, 0, 1, 0, 1, 0})),
                {2, 3, 6, 11, 14, 15});
}

TEST(GatherOps, ScatterAddsRepeatedRowsUp) {
  Context context;
  const auto at = of<std::int64_t>(context, Shape<2>{2, 3}, {2, 0, 2, 1, 1, 1});
  const auto x = of<float>(context, Shape<3>{2, 3, 1}, {1, 2, 4, 8, 16, 32});
  auto to = of<float>(context, Shape<3>{2, 3, 1}, {100, 0, 0, 0, 0, 0});
  expect_values(scatter_add_rows(to, at, x), {102, 0, 5, 0, 56, 0});
  expect_values(to, {100, 0, 0, 0, 0, 0});
  const float* memory = to.data();
  const auto y = scatter_add_rows(std::move(to), at, x);
  EXPECT_EQ(y.data(), memory);
  expect_values(y, {102, 0, 5, 0, 56, 0});
}

TEST(GatherOps, AreAdjoint) {  // <gather x, y> = <x, scatter y>
  Context context;
  Case<double> c(context);
  const auto x = c.in<3>(Shape<3>{2, 5, 7}, 1), y = c.in<3>(Shape<3>{2, 9, 7}, 2);
  const auto at = indices_of(context, Shape<2>{2, 9}, 5);
  const auto dot = [](const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  };
  EXPECT_NEAR(dot(values(gather_rows(x, at)), values(y)),
              dot(values(x), values(scatter_add_rows(context.zeros<double>(Shape<3>{2, 5, 7}), at, y))), 1e-13);
}

TEST(TopKOp, IsSortedAndPassesGradientsToWhatItChose) {
  Context context;
  GradTape tape(context);
  auto x = of<float>(context, Shape<2>{2, 4}, {1, 5, 5, 2, -1, -3, -2, -1});
  tape.watch(x);
  const auto top = aulos::top_k(x, 3);
  expect_values(top.values, {5, 5, 2, -1, -1, -2});
  EXPECT_EQ(values(top.indices), (std::vector<std::int64_t>{1, 2, 3, 0, 3, 2}));
  EXPECT_EQ(values(gather_last(x, top.indices)), values(top.values));
  backward<float>(context, {top.values.any()});
  const auto g = tape.gradient(x);
  const auto cotangent = [](std::uint64_t i) { return static_cast<float>(noise(77, i)); };
  EXPECT_EQ(values(g), (std::vector<float>{0, cotangent(0), cotangent(1), cotangent(2), cotangent(3), 0, cotangent(5),
                                           cotangent(4)}));
}

template <class T>
std::vector<AnyTensor<T>> moved(Case<T>& c, const Shape<3>& shape, Index count) {
  const auto x = c.template in<3>(shape, 1), y = c.template in<3>(Shape<3>{shape[0], count, shape[2]}, 2);
  const auto at = indices_of(c.context, Shape<2>{shape[0], count}, shape[1]);
  const auto last = indices_of(c.context, Shape<3>{shape[0], shape[1], count}, shape[2]);
  return results(gather_rows(x, at), gather_last(x, last), scatter_add_rows(x, at, y),
                 aulos::top_k(x, shape[2] / 2).values);
}

TEST(GatherOps, Gradients) {
  for (const Shape<3>& shape : {Shape<3>{2, 3, 7}, {1, 1, 1}, {2, 1, 17}, {1, 4, 2}})
    for (const Index count : {1, 5}) expect_gradients([&](Case<double>& c) { return moved(c, shape, count); });
}

TEST(GatherOps, LayoutsThreadsRecordsAndNothing) {
  const auto body = [](const Shape<3>& shape, Index count) {
    return [=](Case<float>& c) { return moved(c, shape, count); };
  };
  expect_layouts_agree<float>(body({3, 4, 19}, 6));
  expect_threads_agree<float>(body({3, 64, 257}, 80));
  expect_records<float>("gather_rows", {"x"}, body({3, 4, 19}, 6));
  expect_records<float>("gather_last", {"x"}, body({3, 4, 19}, 6));
  expect_records<float>("scatter_add_rows", {"to", "x"}, body({3, 4, 19}, 6));
  expect_records<float>("top_k", {"x"}, body({3, 4, 19}, 6));
  EXPECT_TRUE(forward_backward<float>(body({0, 4, 5}, 6)).results[0].empty());
  const auto none = forward_backward<float>(body({2, 4, 5}, 0));
  EXPECT_TRUE(none.results[0].empty());
  EXPECT_EQ(none.results[2].size(), 40U);
}

TEST(GatherOps, SayWhatIsWrong) {
  const auto with = [](std::int64_t at) {
    return [at](Context& c) { gather_rows(c.zeros<float>(Shape<2>{3, 2}), of<std::int64_t>(c, Shape<1>{2}, {0, at})); };
  };
  expect_errors({
      {"too large", with(3), {"gather_rows: index 3 at position 1, expected 0 to 2"}},
      {"negative", with(-1), {"gather_rows: index -1 at position 1"}},
      {"samples",
       [](Context& c) {
         gather_rows(c.zeros<float>(Shape<3>{4, 3, 2}), indices_of(c, Shape<2>{2, 5}, 3));
       },
       {"gather_rows: indices [2, 5] for x [4, 3, 2], expected [4, K]"}},
      {"last",
       [](Context& c) {
         gather_last(c.zeros<float>(Shape<2>{4, 3}), indices_of(c, Shape<2>{2, 5}, 3));
       },
       {"gather_last: indices [2, 5] for x [4, 3], expected [4, K]"}},
      {"scatter x",
       [](Context& c) {
         scatter_add_rows(c.zeros<float>(Shape<2>{4, 3}), indices_of(c, Shape<1>{5}, 4),
                          c.zeros<float>(Shape<2>{5, 2}));
       },
       {"scatter_add_rows: x [5, 2] for to [4, 3] and indices [5], expected [5, 3]"}},
      {"scatter index",
       [](Context& c) {
         scatter_add_rows(c.zeros<float>(Shape<2>{4, 3}), indices_of(c, Shape<1>{5}, 9),
                          c.zeros<float>(Shape<2>{5, 3}));
       },
       {"scatter_add_rows: index ", "expected 0 to 3"}},
      {"k",
       [](Context& c) {
         aulos::top_k(c.zeros<float>(Shape<2>{4, 3}), 4);
       },
       {"top_k: k 4 of the last axis of x [4, 3]"}},
      {"x",
       [](Context& c) { gather_rows(Tensor<float, 2>(), indices_of(c, Shape<1>{1}, 1)); },
       {"gather_rows: x is empty"}},
  });
}

}  // namespace
