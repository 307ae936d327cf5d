#include "aulos/ops/loss.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::CrossEntropyOptions;

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

// Labels 0, 1, .. in turn, every fourth ignored.
Tensor<std::int64_t, 2> labels_of(Context& context, const Shape<2>& shape, Index classes, std::int64_t ignore = -100) {
  auto labels = context.empty<std::int64_t>(shape);
  if (!context.dry())
    for (Index i = 0; i < labels.count(); ++i) labels.mutable_data()[i] = i % 4 == 3 ? ignore : i * 5 % classes;
  return labels;
}

TEST(CrossEntropyOp, ClosedForms) {
  Context context;
  const auto even = context.zeros<float>(Shape<2>{3, 7});
  const auto labels = of<std::int64_t>(context, Shape<1>{3}, {0, 3, 6});
  EXPECT_NEAR(cross_entropy(even, labels)(0), std::log(7.0), 1e-6);
  EXPECT_NEAR(cross_entropy(even, labels, {.smoothing = 0.1})(0), std::log(7.0), 1e-6);
  const auto x = of<float>(context, Shape<2>{2, 2}, {1000, 0, 0, 2});
  EXPECT_NEAR(cross_entropy(x, of<std::int64_t>(context, Shape<1>{2}, {1, 1}))(0),
              (1000 + std::log1p(std::exp(-2.0))) / 2, 1e-4);
}

TEST(CrossEntropyOp, AgreesWithTheFormula) {
  for (const double smoothing : {0.0, 0.1, 1.0}) {
    for (const Index classes : {1, 2, 7, 33}) {
      Context context;
      Case<float> c(context);
      const Shape<2> rows{2, 5};
      const auto x = c.in<3>(Shape<3>{2, 5, classes}, 1, 3);
      const auto labels = labels_of(context, rows, classes);
      const std::vector<float> v = values(x);
      double loss = 0;
      int counted = 0;
      for (Index r = 0; r < 10; ++r) {
        if (r % 4 == 3) continue;
        ++counted;
        double sum = 0;
        const auto at = [&](Index k) { return static_cast<double>(v[static_cast<std::size_t>(r * classes + k)]); };
        for (Index k = 0; k < classes; ++k) sum += std::exp(at(k));
        for (Index k = 0; k < classes; ++k) {
          const double target = (k == r * 5 % classes ? 1 - smoothing : 0) + smoothing / static_cast<double>(classes);
          loss -= target * (at(k) - std::log(sum));
        }
      }
      EXPECT_NEAR(cross_entropy(x, labels, {.smoothing = smoothing})(0), loss / counted, 2e-6);
    }
  }
}

TEST(CrossEntropyOp, IgnoredRowsHaveNoGradientAndAllIgnoredIsNaN) {
  Context context;
  GradTape tape(context);
  auto x = of<float>(context, Shape<2>{2, 3}, {1, 2, nan_value, 0, 1, 0});  // the first row does not count
  tape.watch(x);
  const auto loss = cross_entropy(x, of<std::int64_t>(context, Shape<1>{2}, {7, 1}), {.ignore = 7});
  EXPECT_NEAR(loss(0), std::log(2 + std::exp(1.0)) - 1, 1e-6);
  tape.backward(loss);
  const double z = 2 + std::exp(1.0);
  expect_values(tape.gradient(x), {0, 0, 0, 1 / z, std::exp(1.0) / z - 1, 1 / z}, 1e-6);

  auto y = context.zeros<float>(Shape<2>{2, 3});
  tape.watch(y);
  const auto none = cross_entropy(y, of<std::int64_t>(context, Shape<1>{2}, {-100, -100}));
  EXPECT_TRUE(std::isnan(none(0)));  // as in PyTorch
  tape.backward(none);
  expect_values(tape.gradient(y), {0, 0, 0, 0, 0, 0});
}

TEST(CrossEntropyOp, NaNPropagates) {
  Context context;
  for (Index at = 0; at < 19; ++at) {
    auto x = context.zeros<float>(Shape<2>{1, 19});
    x.mutable_data()[at] = nan_value;
    EXPECT_TRUE(std::isnan(cross_entropy(x, of<std::int64_t>(context, Shape<1>{1}, {4}))(0)));
  }
}

TEST(CrossEntropyOp, Gradients) {
  for (const Shape<3>& shape : {Shape<3>{2, 3, 7}, {1, 1, 17}, {1, 2, 1}}) {
    for (const double smoothing : {0.0, 0.2}) {
      expect_gradients([&](Case<double>& c) {
        return results(cross_entropy(c.in<3>(shape, 1, 2), labels_of(c.context, Shape<2>{shape[0], shape[1]}, shape[2]),
                                     {.smoothing = smoothing}));
      });
    }
  }
}

TEST(CrossEntropyOp, LayoutsThreadsAndRecords) {
  const auto body = [](const Shape<3>& shape) {
    return [=](Case<float>& c) {
      return results(cross_entropy(c.in<3>(shape, 1, 2), labels_of(c.context, Shape<2>{shape[0], shape[1]}, shape[2])));
    };
  };
  expect_layouts_agree<float>(body({3, 4, 19}));
  expect_threads_agree<float>(body({3, 64, 257}));
  expect_records<float>("cross_entropy", {"logits"}, body({3, 4, 19}));
  const Outcome<float> none = forward_backward<float>(body({0, 4, 19}));
  EXPECT_TRUE(std::isnan(none.results[0][0]));
  Context context;
  const auto wide = of<std::int64_t>(context, Shape<2>{2, 2}, {1, 99, 0, 99});
  Case<float> c(context);
  const auto x = c.in<3>(Shape<3>{2, 1, 3}, 1);
  EXPECT_EQ(cross_entropy(x, wide.slice(1, 0, 1))(0),
            cross_entropy(x, of<std::int64_t>(context, Shape<2>{2, 1}, {1, 0}))(0));
}

TEST(MseLossOp, IsTheMeanOfSquares) {
  Context context;
  EXPECT_EQ(
      mse_loss(of<float>(context, Shape<2>{2, 2}, {1, 2, 3, 4}), of<float>(context, Shape<2>{2, 2}, {1, 0, 3, 8}))(0),
      5);
  EXPECT_TRUE(std::isnan(mse_loss(context.empty<float>(Shape<2>{0, 3}), context.empty<float>(Shape<2>{0, 3}))(0)));
  EXPECT_TRUE(
      std::isnan(mse_loss(of<float>(context, Shape<1>{2}, {nan_value, 1}), context.zeros<float>(Shape<1>{2}))(0)));
}

TEST(MseLossOp, GradientsLayoutsThreadsAndRecords) {
  const auto body = [](const Shape<3>& shape) {
    return [=](auto& c) {
      const auto x = c.template in<3>(shape, 1), target = c.template in<3>(shape, 2);
      return results(mse_loss(x, target));
    };
  };
  for (const Shape<3>& shape : {Shape<3>{2, 3, 7}, {1, 1, 17}, {1, 1, 1}}) expect_gradients(body(shape));
  expect_layouts_agree<float>(body({3, 4, 19}));
  expect_threads_agree<float>(body({3, 64, 257}));
  expect_records<float>("mse_loss", {"x", "target"}, body({2, 3, 5}));
}

TEST(LossOps, SayWhatIsWrong) {
  const auto logits = [](Context& c) { return c.zeros<float>(Shape<3>{2, 3, 5}); };
  const auto with_label = [&](std::int64_t label) {
    return [label](Context& c) {
      cross_entropy(c.zeros<float>(Shape<2>{2, 5}), of<std::int64_t>(c, Shape<1>{2}, {0, label}));
    };
  };
  expect_errors({
      {"label too large", with_label(5), {"cross_entropy: ", "label 5 of row 1", "expected 0 to 4", "-100"}},
      {"label negative", with_label(-1), {"cross_entropy: ", "label -1 of row 1"}},
      {"label shape",
       [&](Context& c) {
         cross_entropy(logits(c), c.zeros<std::int64_t>(Shape<2>{2, 4}));
       },
       {"cross_entropy: ", "labels [2, 4]", "logits [2, 3, 5]", "expected [2, 3]"}},
      {"exchanged axes",
       [&](Context& c) {
         cross_entropy(logits(c), c.zeros<std::int64_t>(Shape<2>{3, 2}));
       },
       {"labels [3, 2]", "expected [2, 3]"}},
      {"no logits",
       [&](Context& c) { cross_entropy(Tensor<float, 2>(), c.zeros<std::int64_t>(Shape<1>{2})); },
       {"cross_entropy: logits is empty"}},
      {"no labels",
       [&](Context& c) { cross_entropy(logits(c), Tensor<std::int64_t, 2>()); },
       {"cross_entropy: labels is empty"}},
      {"mse shapes",
       [&](Context& c) {
         mse_loss(logits(c), c.zeros<float>(Shape<3>{2, 3, 1}));
       },
       {"mse_loss: ", "x [2, 3, 5]", "target [2, 3, 1]"}},
      {"mse x", [&](Context& c) { mse_loss(Tensor<float, 3>(), logits(c)); }, {"mse_loss: x is empty"}},
      {"mse target", [&](Context& c) { mse_loss(logits(c), {}); }, {"mse_loss: target is empty"}},
  });
}

}  // namespace
