#include "aulos/ops/matmul.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::Transpose;

constexpr Transpose all[] = {Transpose::none, Transpose::a, Transpose::b};

struct Extents {
  Index batch, m, k, n;
};

template <class T>
std::vector<AnyTensor<T>> product(Case<T>& c, const Extents& e, Transpose transpose) {
  const auto a =
      c.template in<3>(transpose == Transpose::a ? Shape<3>{e.batch, e.k, e.m} : Shape<3>{e.batch, e.m, e.k}, 1);
  const auto b =
      c.template in<3>(transpose == Transpose::b ? Shape<3>{e.batch, e.n, e.k} : Shape<3>{e.batch, e.k, e.n}, 2);
  return results(matmul(a, b, transpose));
}

TEST(MatmulOp, AgreesWithTheSum) {
  for (const Transpose transpose : all) {
    for (const Extents& e : {Extents{1, 1, 1, 1}, {2, 3, 5, 7}, {3, 17, 33, 19}, {1, 1, 40, 3}, {2, 5, 0, 3}}) {
      Context context;
      Case<float> c(context);
      const AnyTensor<float> y = product(c, e, transpose)[0];
      const std::vector<float> a = values(c.inputs[0]), b = values(c.inputs[1]);
      expect_near(
          y,
          [&](Index p) {
            const Index s = p / (e.m * e.n), i = p / e.n % e.m, j = p % e.n;
            double sum = 0;
            for (Index k = 0; k < e.k; ++k) {
              const Index at = transpose == Transpose::a ? k * e.m + i : i * e.k + k;
              const Index bt = transpose == Transpose::b ? j * e.k + k : k * e.n + j;
              sum += static_cast<double>(a[static_cast<std::size_t>(s * e.m * e.k + at)]) *
                     static_cast<double>(b[static_cast<std::size_t>(s * e.n * e.k + bt)]);
            }
            return sum;
          },
          1e-6);
    }
  }
}

TEST(MatmulOp, TakesTwoAndFourAxes) {
  Context context;
  const auto a = of<float>(context, Shape<2>{2, 2}, {1, 2, 3, 4}), b = of<float>(context, Shape<2>{2, 2}, {5, 6, 7, 8});
  expect_values(matmul(a, b), {19, 22, 43, 50});
  expect_values(matmul(a, b, Transpose::a), {26, 30, 38, 44});
  expect_values(matmul(a, b, Transpose::b), {17, 23, 39, 53});
  Case<float> c(context);
  const auto x = c.in<4>(Shape<4>{2, 3, 4, 5}, 1), y = c.in<4>(Shape<4>{2, 3, 5, 2}, 2);
  const auto z = matmul(x, y);
  for (Index i = 0; i < 2; ++i) {
    for (Index j = 0; j < 3; ++j) {
      const auto part = matmul(x.select(0, i).select(0, j), y.select(0, i).select(0, j));
      EXPECT_EQ(values(z.select(0, i).select(0, j)), values(part));
    }
  }
}

TEST(MatmulOp, Gradients) {
  for (const Transpose transpose : all)
    for (const Extents& e : {Extents{2, 3, 5, 7}, {1, 1, 1, 1}, {1, 17, 2, 3}, {3, 1, 9, 1}})
      expect_gradients([&](Case<double>& c) { return product(c, e, transpose); });
}

TEST(MatmulOp, LayoutsThreadsRecordsAndNothing) {
  for (const Transpose transpose : all) {
    const auto body = [&](const Extents& e) { return [=](Case<float>& c) { return product(c, e, transpose); }; };
    expect_layouts_agree<float>(body({3, 5, 7, 9}));
    expect_threads_agree<float>(body({3, 65, 70, 67}));
    expect_records<float>("matmul", {"a", "b"}, body({2, 3, 5, 7}));
    for (const Extents& e : {Extents{0, 3, 5, 7}, {2, 0, 5, 7}, {2, 3, 0, 7}, {2, 3, 5, 0}}) {
      const Outcome<float> outcome = forward_backward<float>(body(e));
      EXPECT_EQ(outcome.results[0], std::vector<float>(static_cast<std::size_t>(e.batch * e.m * e.n), 0));
      for (const auto& gradient : outcome.gradients)
        for (const float g : gradient) EXPECT_EQ(g, 0);
    }
  }
}

TEST(MatmulOp, CountsItsFlops) {
  Context dry{Context::Dry{}};
  Case<float> c(dry);
  product(c, {2, 3, 5, 7}, Transpose::none);
  EXPECT_EQ(dry.planned().flops, 2.0 * 2 * 3 * 5 * 7);
}

TEST(MatmulOp, KeepsNaNAndInfinity) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  Context context;
  expect_values(
      matmul(of<float>(context, Shape<2>{3, 2}, {nan, 0, inf, 1, 1, 1}), of<float>(context, Shape<2>{2, 1}, {0, 1})),
      {nan, nan, 1});
}

TEST(MatmulOp, SaysWhatIsWrong) {
  const auto x = [](Context& c, const Shape<3>& shape) { return c.zeros<float>(shape); };
  const Tensor<float, 3> none;
  expect_errors({
      {"inner",
       [&](Context& c) {
         matmul(x(c, {2, 3, 4}), x(c, {2, 3, 4}));
       },
       {"matmul: ", "a [2, 3, 4]", "b [2, 3, 4]", "do not fit"}},
      {"inner transposed",
       [&](Context& c) {
         matmul(x(c, {2, 3, 4}), x(c, {2, 4, 3}), Transpose::b);
       },
       {"matmul: ", "b [2, 4, 3] transposed"}},
      {"batch",
       [&](Context& c) {
         matmul(x(c, {2, 3, 4}), x(c, {1, 4, 3}));
       },
       {"matmul: ", "a [2, 3, 4]", "b [1, 4, 3]"}},
      {"a",
       [&](Context& c) {
         matmul(none, x(c, {2, 3, 4}));
       },
       {"matmul: a is empty"}},
      {"b",
       [&](Context& c) {
         matmul(x(c, {2, 3, 4}), none);
       },
       {"matmul: b is empty"}},
  });
}

}  // namespace
