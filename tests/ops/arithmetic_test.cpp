#include "aulos/ops/arithmetic.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

enum class Operation { add, subtract, multiply, divide };
constexpr Operation operations[] = {Operation::add, Operation::subtract, Operation::multiply, Operation::divide};
constexpr const char* names[] = {"add", "subtract", "multiply", "divide"};
const char* name_of(Operation operation) { return names[static_cast<int>(operation)]; }

template <class T, int Rank>
Tensor<T, Rank> compute(Operation operation, const Tensor<T, Rank>& a, const Tensor<T, Rank>& b) {
  switch (operation) {
    case Operation::add:
      return add(a, b);
    case Operation::subtract:
      return subtract(a, b);
    case Operation::multiply:
      return multiply(a, b);
    case Operation::divide:
      return divide(a, b);
  }
  return {};
}
double compute(Operation operation, double a, double b) {
  switch (operation) {
    case Operation::add:
      return a + b;
    case Operation::subtract:
      return a - b;
    case Operation::multiply:
      return a * b;
    case Operation::divide:
      return a / b;
  }
  return 0;
}

struct Pair {
  Shape<3> a, b;
};
const Pair pairs[] = {{{2, 3, 7}, {2, 3, 7}}, {{2, 3, 7}, {1, 3, 7}}, {{2, 3, 7}, {2, 1, 7}},
                      {{2, 3, 7}, {2, 3, 1}}, {{2, 3, 7}, {1, 1, 1}}, {{1, 3, 17}, {2, 1, 17}},
                      {{2, 1, 1}, {1, 3, 7}}, {{1, 1, 1}, {1, 1, 1}}, {{1, 1, 33}, {1, 1, 1}}};

TEST(ArithmeticOps, RepeatAxesOfExtentOne) {
  for (const Operation operation : operations) {
    for (const Pair& pair : pairs) {
      SCOPED_TRACE(std::string(name_of(operation)) + to_string(pair.a) + to_string(pair.b));
      Context context;
      Case<float> c(context);
      const auto a = c.in<3>(pair.a, 1), b = c.in<3>(pair.b, 2, 0.5, 2);
      const auto y = compute(operation, a, b);
      for (int axis = 0; axis < 3; ++axis) ASSERT_EQ(y.extent(axis), std::max(pair.a[axis], pair.b[axis]));
      const auto at = [&](const Tensor<float, 3>& x, Index i, Index j, Index k) {
        return static_cast<double>(x(x.extent(0) == 1 ? 0 : i, x.extent(1) == 1 ? 0 : j, x.extent(2) == 1 ? 0 : k));
      };
      const Index m = y.extent(1), n = y.extent(2);
      expect_near(
          y,
          [&](Index p) {
            return compute(operation, at(a, p / (m * n), p / n % m, p % n), at(b, p / (m * n), p / n % m, p % n));
          },
          1e-7);
    }
  }
}

TEST(ArithmeticOps, Gradients) {
  for (const Operation operation : operations) {
    for (const Pair& pair : pairs) {
      SCOPED_TRACE(std::string(name_of(operation)) + to_string(pair.a) + to_string(pair.b));
      expect_gradients([&](Case<double>& c) {
        const auto a = c.in<3>(pair.a, 1), b = c.in<3>(pair.b, 2, 0.5, 2);
        return results(compute(operation, a, b));
      });
    }
    expect_gradients([&](Case<double>& c) {
      const auto a = c.in<2>(Shape<2>{2, 5}, 1, 1, 3);
      return results(compute(operation, a, a));
    });
  }
}

TEST(ArithmeticOps, LayoutsAndThreadsAgree) {
  for (const Operation operation : operations) {
    SCOPED_TRACE(name_of(operation));
    expect_layouts_agree<float>([&](auto& c) {
      const auto a = c.template in<3>(Shape<3>{3, 4, 19}, 1), b = c.template in<3>(Shape<3>{3, 4, 19}, 2, 0.5, 2);
      return results(compute(operation, a, b));
    });
    expect_threads_agree<float>([&](auto& c) {
      const auto a = c.template in<3>(Shape<3>{3, 64, 257}, 1), b = c.template in<3>(Shape<3>{3, 1, 257}, 2, 0.5, 2);
      return results(compute(operation, a, b), compute(operation, a, a));
    });
  }
}

TEST(ArithmeticOps, PropagateNaNAndInfinity) {
  Context context;
  const auto a = of<float>(context, Shape<1>{5}, {nan_value, 1, infinity, 1, 0});
  const auto b = of<float>(context, Shape<1>{5}, {1, nan_value, infinity, 0, 0});
  expect_values(add(a, b), {nan_value, nan_value, infinity, 1, 0});
  expect_values(subtract(a, b), {nan_value, nan_value, nan_value, 1, 0});
  expect_values(multiply(a, b), {nan_value, nan_value, infinity, 0, 0});
  expect_values(divide(a, b), {nan_value, nan_value, nan_value, infinity, nan_value});
}

TEST(ArithmeticOps, LinearCombinationIsTheSumOfTerms) {
  const Shape<2> shape{3, 7};
  const auto body = [&](auto& c) {
    using T = std::remove_cvref_t<decltype(c.inputs[0].data()[0])>;
    std::array<Tensor<T, 2>, 8> x;
    std::array<T, 8> factors;
    for (std::size_t i = 0; i < 8; ++i) {
      x[i] = c.template in<2>(shape, i);
      factors[i] = static_cast<T>(i) - T(2.5);
    }
    return results(linear_combination(x, factors), scale(x[0], T(-2), T(0.5)),
                   linear_combination(std::array{x[1]}, std::array{T(3)}));
  };
  const Outcome<float> outcome = forward<float>([&](Case<float>& c) { return body(c); });
  for (std::size_t p = 0; p < 21; ++p) {
    double sum = 0;
    for (std::size_t i = 0; i < 8; ++i)
      sum += (static_cast<double>(i) - 2.5) * static_cast<double>(static_cast<float>(noise(i, p)));
    EXPECT_NEAR(outcome.results[0][p], sum, 2e-6);
    EXPECT_NEAR(outcome.results[1][p], -2 * noise(0, p) + 0.5, 1e-6);
    EXPECT_NEAR(outcome.results[2][p], 3 * noise(1, p), 1e-6);
  }
  expect_gradients([&](Case<double>& c) { return body(c); });
  expect_layouts_agree<float>([&](Case<float>& c) { return body(c); });
  expect_records<float>("linear_combination", {"x"}, [&](Case<float>& c) { return body(c); });
}

TEST(ArithmeticOps, LinearCombinationOnThreads) {
  expect_threads_agree<float>([](Case<float>& c) {
    const auto a = c.in<2>(Shape<2>{97, 400}, 1), b = c.in<2>(Shape<2>{97, 400}, 2);
    return results(linear_combination(std::array{a, b, a}, std::array{0.3f, -2.0f, 0.1f}));
  });
}

TEST(ArithmeticOps, NothingInNothingOut) {
  for (const Operation operation : operations) {
    const Outcome<float> outcome = forward_backward<float>([&](Case<float>& c) {
      const auto a = c.in<3>(Shape<3>{0, 3, 7}, 1), b = c.in<3>(Shape<3>{1, 3, 7}, 2);
      return results(compute(operation, a, b));
    });
    EXPECT_TRUE(outcome.results[0].empty());
    EXPECT_EQ(outcome.gradients[1], std::vector<float>(21, 0));  // a sum over no sample
  }
}

TEST(ArithmeticOps, Records) {
  for (const Operation operation : operations) {
    expect_records<float>(name_of(operation), {"a", "b"}, [&](Case<float>& c) {
      const auto a = c.in<2>(Shape<2>{3, 7}, 1), b = c.in<2>(Shape<2>{3, 1}, 2, 0.5, 2);
      return results(compute(operation, a, b));
    });
  }
}

TEST(ArithmeticOps, SayWhatIsWrong) {
  const Tensor<float, 2> none;
  for (const Operation operation : operations) {
    const std::string op = name_of(operation);
    expect_errors({
        {"extents",
         [&](Context& c) {
           compute(operation, c.zeros<float>(Shape<2>{2, 3}), c.zeros<float>(Shape<2>{2, 4}));
         },
         {op + ": ", "a [2, 3]", "b [2, 4]", "axis 1"}},
        {"rows",
         [&](Context& c) {
           compute(operation, c.zeros<float>(Shape<2>{2, 3}), c.zeros<float>(Shape<2>{3, 3}));
         },
         {op + ": ", "a [2, 3]", "b [3, 3]", "axis 0"}},
        {"a",
         [&](Context& c) {
           compute(operation, none, c.zeros<float>(Shape<2>{2, 3}));
         },
         {op + ": a is empty"}},
        {"b",
         [&](Context& c) {
           compute(operation, c.zeros<float>(Shape<2>{2, 3}), none);
         },
         {op + ": b is empty"}},
    });
  }
  expect_errors({
      {"terms",
       [&](Context& c) {
         linear_combination(std::array{c.zeros<float>(Shape<1>{2}), c.zeros<float>(Shape<1>{3})}, std::array{1.f, 2.f});
       },
       {"linear_combination: ", "x[0] [2]", "x[1] [3]"}},
      {"second term",
       [&](Context& c) {
         linear_combination(std::array{c.zeros<float>(Shape<2>{2, 1}), none}, std::array{1.f, 2.f});
       },
       {"linear_combination: x[1] is empty"}},
      {"scale", [&](Context&) { scale(none, 2); }, {"linear_combination: x is empty"}},
  });
  expect_errors<aulos::Error>({{"no context",
                                [](Context&) {
                                  aulos::Parameter<float, 1> a(Shape<1>{2}), b(Shape<1>{2});
                                  add(a.tensor(), b);
                                },
                                {"add: no argument belongs to a Context"}}});
}

}  // namespace
