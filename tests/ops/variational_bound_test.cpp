#include "aulos/ops/variational_bound.hpp"

#include <gtest/gtest.h>

#include "aulos/ops/reduce.hpp"
#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::variational_bound;

constexpr Index samples = 3;

// Per sample: the log-variance of the posterior, and which of them stand at their first step.
template <class T>
struct Steps {
  Tensor<T, 1> log_variance;
  Tensor<std::uint8_t, 1> first;
  explicit Steps(Context& context)
      : log_variance(context.empty<T>(Shape<1>{samples})), first(context.empty<std::uint8_t>(Shape<1>{samples})) {
    if (context.dry()) return;
    for (Index b = 0; b < samples; ++b) {
      log_variance.mutable_data()[b] = static_cast<T>(-1 - b);
      first.mutable_data()[b] = b == 1;
    }
  }
};

template <class T>
Tensor<T, 3> run(Case<T>& c, const Shape<3>& shape) {
  const Steps<T> steps(c.context);
  const auto x0 =
      make<T, 3>(c.context, shape, Layout::columns, [](Index i) { return noise(1, static_cast<std::uint64_t>(i)); });
  const auto posterior =
      make<T, 3>(c.context, shape, Layout::exchanged, [](Index i) { return noise(2, static_cast<std::uint64_t>(i)); });
  const auto mean = make<T, 3>(c.context, shape, Layout::dense, [](Index i) {
    return noise(1, static_cast<std::uint64_t>(i)) + 0.2 * noise(3, static_cast<std::uint64_t>(i));
  });
  return variational_bound(x0, posterior, steps.log_variance, steps.first, mean, c.template in<3>(shape, 4, 1, -2));
}

TEST(VariationalBoundOp, IsTheKernel) {
  Context context({.threads = 1});
  Case<double> c(context);
  const auto y = run(c, Shape<3>{samples, 2, 5});
  const auto log_variance = values(c.inputs[0]);
  for (Index i = 0; i < y.count(); ++i) {
    const auto at = static_cast<std::uint64_t>(i);
    const double x0 = noise(1, at), mean = x0 + 0.2 * noise(3, at), l = log_variance[static_cast<std::size_t>(i)];
    const auto term =
        i / 10 == 1 ? aulos::kernels::detail::decoder_nll(x0, mean, l)
                    : aulos::kernels::detail::gaussian_kl(noise(2, at), -1.0 - static_cast<double>(i / 10), mean, l);
    EXPECT_DOUBLE_EQ(y.data()[i], term.value);
  }
}

TEST(VariationalBoundOp, GradientOfTheLogVarianceAlone) {
  Context context({.threads = 1});
  GradTape tape(context);
  const Steps<double> steps(context);
  const Shape<3> shape{samples, 2, 3};
  Case<double> c(context);
  const auto x0 = c.in<3>(shape, 1), posterior = c.in<3>(shape, 2), mean = c.in<3>(shape, 1, 0.9),
             log_variance = c.in<3>(shape, 4, 1, -2);
  tape.backward(sum(variational_bound(x0, posterior, steps.log_variance, steps.first, mean, log_variance)));
  EXPECT_TRUE(tape.gradient(x0).empty());
  EXPECT_TRUE(tape.gradient(posterior).empty());
  EXPECT_TRUE(tape.gradient(mean).empty());
  EXPECT_FALSE(tape.gradient(log_variance).empty());
}

TEST(VariationalBoundOp, Gradients) {
  for (const Index n : {1, 7}) {
    expect_gradients([n](Case<double>& c) { return results(run(c, Shape<3>{samples, 1, n})); });
  }
}

TEST(VariationalBoundOp, LayoutsThreadsAndRecords) {
  const auto body = [](const Shape<3>& shape) { return [=](Case<float>& c) { return results(run(c, shape)); }; };
  expect_layouts_agree<float>(body({samples, 4, 19}));
  expect_threads_agree<float>(body({samples, 64, 257}));
  expect_records<float>("variational_bound", {"x0", "mean", "log_variance"}, body({samples, 4, 19}));
  EXPECT_EQ(forward_backward<float>(body({samples, 0, 3})).results[0].size(), 0u);
}

TEST(VariationalBoundOp, SaysWhatDoesNotFit) {
  Context context({.threads = 1});
  const Steps<float> steps(context);
  const auto x = context.zeros<float>(Shape<2>{3, 4}), other = context.zeros<float>(Shape<2>{3, 5});
  const auto text = [&](auto&& f) -> std::string {
    try {
      f();
    } catch (const aulos::ShapeError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(text([&] { variational_bound(x, x, steps.log_variance, steps.first, x, other); }),
            "variational_bound: log_variance [3, 5] for x0 [3, 4], expected the same");
  EXPECT_EQ(text([&] { variational_bound(x, other, steps.log_variance, steps.first, x, x); }),
            "variational_bound: posterior_mean [3, 5] for x0 [3, 4], expected the same");
  const auto two = context.zeros<float>(Shape<2>{2, 4});
  EXPECT_EQ(text([&] { variational_bound(two, two, steps.log_variance, steps.first, two, two); }),
            "variational_bound: posterior_log_variance [3] and first_step [3], expected [2]");
}

}  // namespace
