#include "aulos/train/clip.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "aulos/ops/activation.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/reduce.hpp"
#include "aulos/train/optimizer.hpp"
#include "train/gradients.hpp"

namespace {

using namespace train_support;
using aulos::train::clip_gradient_norm;
using aulos::train::gradient_norm;
using aulos::train::NonFiniteError;

struct Hundred {
  Parameter<float, 2> w{Shape<2>{10, 10}};
  void visit(auto&& v) { v("w", w); }
};

struct Scalar {
  Parameter<float, 1> w{Shape<1>{3}};
  void visit(auto&& v) { v("log.w", w); }
};

template <class T>
class Clip : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Clip, Types);

double some(const std::string& name, Index i) { return 0.1 * static_cast<double>(i + 1) * (name == "matrix" ? 1 : -1); }

// 15 + 4 + 2 gradients; the table has none.
TYPED_TEST(Clip, ScalesAllByTheirNorm) {
  using T = TypeParam;
  Context context({.threads = 1});
  GradTape tape(context);
  const Model<T> model;
  double squares = 0;
  aulos::nn::for_each_parameter(model, [&](const auto& p) {
    for (Index i = 0; i < p.count() && p.name != "table"; ++i) {
      const double g = static_cast<double>(static_cast<T>(some(p.name, i)));
      squares += g * g;
    }
  });
  give_gradients<T>(tape, model, some);
  EXPECT_NEAR(gradient_norm(model, tape), std::sqrt(squares), 1e-12);
  EXPECT_NEAR(clip_gradient_norm(model, tape, 0.5), std::sqrt(squares), 1e-12);  // the norm before
  const double factor = 0.5 / (std::sqrt(squares) + 1e-6);
  const auto check = [&](const std::string& name, const std::vector<T>& g) {
    for (std::size_t i = 0; i < g.size(); ++i)
      EXPECT_NEAR(static_cast<double>(g[i]), factor * some(name, static_cast<Index>(i)),
                  std::numeric_limits<T>::epsilon());
  };
  check("matrix", values(tape.gradient(model.matrix)));
  check("vector", values(tape.gradient(model.vector)));
  check("other", values(tape.gradient(model.other)));
  EXPECT_TRUE(tape.gradient(model.table).empty());
  EXPECT_NEAR(gradient_norm(model, tape), 0.5, 1e-5);
}

TYPED_TEST(Clip, BelowTheLimitNoBitChanges) {
  using T = TypeParam;
  Context context({.threads = 1});
  GradTape tape(context);
  const Model<T> model;
  give_gradients<T>(tape, model, some);
  const auto before = values(tape.gradient(model.matrix));
  const double norm = gradient_norm(model, tape);
  for (const double limit : {norm + 1e-5, 100.0, std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(clip_gradient_norm(model, tape, limit), norm);
    EXPECT_EQ(values(tape.gradient(model.matrix)), before);
  }
}

TYPED_TEST(Clip, ZeroNorm) {
  using T = TypeParam;
  Context context({.threads = 1});
  GradTape tape(context);
  const Model<T> model;
  EXPECT_EQ(clip_gradient_norm(model, tape, 1), 0);  // no gradient at all
  give_gradients<T>(tape, model, [](const std::string&, Index) { return 0.0; });
  EXPECT_EQ(clip_gradient_norm(model, tape, 1), 0);
  for (const T g : values(tape.gradient(model.matrix))) EXPECT_EQ(g, T(0));
  EXPECT_EQ(clip_gradient_norm(model, tape, 0), 0);
}

// Squares of 1e20 leave the range of float: they are summed in double.
TEST(ClipHuge, AHundredGradientsOf1e20) {
  Context context({.threads = 1});
  GradTape tape(context);
  Hundred model;
  model.w.data();
  tape.backward(aulos::sum(aulos::multiply(model.w.tensor(), context.full<float>(Shape<2>{10, 10}, 1e20f))));
  EXPECT_NEAR(clip_gradient_norm(model, tape, 1) / 1e21, 1, 1e-6);
  const auto gradient = tape.gradient(model.w);
  for (Index i = 0; i < 100; ++i) EXPECT_NEAR(gradient.data()[i], 0.1f, 1e-6f);
}

// One bad number: the error names its parameter, and gradients, parameters and moments keep their bits.
TYPED_TEST(Clip, NonFiniteGradientsChangeNothing) {
  using T = TypeParam;
  for (const double bad :
       {std::nan(""), std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()}) {
    for (const std::string at : {"matrix", "vector", "other"}) {
      Context context({.threads = 1});
      GradTape tape(context);
      Model<T> model;
      aulos::train::AdamW<T> optimizer;
      give_gradients<T>(tape, model, some);
      optimizer.step(model, tape, 0.1);
      const Model<T> before = model;
      const auto moments = optimizer.state();

      give_gradients<T>(tape, model,
                        [&](const std::string& name, Index i) { return name == at && i == 1 ? bad : some(name, i); });
      const auto matrix = values(tape.gradient(model.matrix));
      const auto vector = values(tape.gradient(model.vector));
      try {  // as a training loop does it
        clip_gradient_norm(model, tape, 0.01);
        optimizer.step(model, tape, 0.1);
        ADD_FAILURE() << "no error";
      } catch (const NonFiniteError& error) {
        EXPECT_EQ(error.what(), "gradient of " + at + " is not finite; parameters and moments are unchanged");
      }
      EXPECT_THROW(gradient_norm(model, tape), aulos::Error);
      EXPECT_EQ(model, before);
      EXPECT_EQ(optimizer.steps(), 1);
      for (std::size_t i = 0; i < moments.size(); ++i) {
        EXPECT_EQ(optimizer.state()[i].first, moments[i].first);
        EXPECT_EQ(optimizer.state()[i].second, moments[i].second);
      }
      if (at == "other") {
        EXPECT_EQ(values(tape.gradient(model.matrix)), matrix);
        EXPECT_EQ(values(tape.gradient(model.vector)), vector);
      }
    }
  }
}

// A loss that is not a number reaches the gradients, and so the check before the step.
TEST(ClipOfALoss, NaNLossThrowsBeforeTheStep) {
  Context context({.threads = 1});
  GradTape tape(context);
  Scalar model;
  model.w.data()[0] = -1;  // the root of a negative number
  const auto x = aulos::multiply(model.w.tensor(), context.full<float>(Shape<1>{3}, 1));
  const auto loss = aulos::mean(aulos::apply(x, aulos::Activation::sqrt));
  EXPECT_TRUE(std::isnan(loss(0)));
  tape.backward(loss);
  try {
    gradient_norm(model, tape);
    ADD_FAILURE() << "no error";
  } catch (const NonFiniteError& error) {
    EXPECT_NE(std::string(error.what()).find("log.w"), std::string::npos);
  }
}

TEST(ClipErrors, LimitMustBeAPositiveNumber) {
  Context context({.threads = 1});
  GradTape tape(context);
  const Model<float> model;
  for (const double limit : {-1.0, std::nan("")}) {
    try {
      clip_gradient_norm(model, tape, limit);
      ADD_FAILURE() << "no error";
    } catch (const aulos::ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find("max_norm"), std::string::npos);
    }
  }
}

}  // namespace
