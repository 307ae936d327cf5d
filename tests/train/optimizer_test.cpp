#include "aulos/train/optimizer.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "train/gradients.hpp"

namespace {

using namespace train_support;
using aulos::train::AdamW;
using aulos::train::Decay;
using aulos::train::Sgd;

double gradient_of(const std::string& name, Index i, int step) {
  return std::sin(static_cast<double>(i + 1) * (step + 1) + static_cast<double>(name.size()));
}

struct Other {
  Parameter<float, 1> bias{Shape<1>{4}};
  void visit(auto&& v) { v("bias", bias); }
};

struct Tied {
  Parameter<double, 1> w{Shape<1>{1}};
  void visit(auto&& v) { v("w", w); }
};

template <class T>
class Optimizers : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Optimizers, Types);

// torch.optim.AdamW written out for one parameter.
struct AdamWTwin {
  std::vector<double> w, m, v;
  int steps = 0;
  void step(const std::vector<double>& g, double lr, double beta1, double beta2, double decay) {
    m.resize(w.size(), 0);
    v.resize(w.size(), 0);
    ++steps;
    for (std::size_t i = 0; i < w.size(); ++i) {
      w[i] *= 1 - lr * decay;
      m[i] = beta1 * m[i] + (1 - beta1) * g[i];
      v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
      w[i] -=
          lr / (1 - std::pow(beta1, steps)) * m[i] / (std::sqrt(v[i]) / std::sqrt(1 - std::pow(beta2, steps)) + 1e-8);
    }
  }
};

// Decay on matrices alone, a beta2 that changes, and a parameter that has gradients in some steps only: as in PyTorch
// it stays, moments and step count included, while it has none.
TYPED_TEST(Optimizers, AdamWAsWrittenOut) {
  using T = TypeParam;
  for (const Decay decay : {Decay::all, Decay::matrices_only}) {
    Context context({.threads = 1});
    GradTape tape(context);
    Model<T> model;
    std::map<std::string, AdamWTwin> twins;
    aulos::nn::for_each_parameter(
        model, [&](const auto& p) { twins[p.name].w.assign(p.any().data(), p.any().data() + p.count()); });
    AdamW<T> optimizer({.beta2 = 0.95, .weight_decay = 0.1, .decay = decay});
    for (int step = 0; step < 9; ++step) {
      const double lr = 0.02 / (step + 1);
      if (step == 5) optimizer.options.beta2 = 0.99;
      const auto wants = [&](const std::string& name) { return name != "other" || step % 4 == 2; };
      give_gradients<T>(
          tape, model, [&](const std::string& name, Index i) { return gradient_of(name, i, step); }, wants);
      optimizer.step(model, tape, lr);
      aulos::nn::for_each_parameter(model, [&](const auto& p) {
        AdamWTwin& twin = twins[p.name];
        std::vector<double> g;
        for (Index i = 0; i < p.count(); ++i) g.push_back(gradient_of(p.name, i, step));
        const double by = decay == Decay::all || p.name == "matrix" ? 0.1 : 0.0;
        if (wants(p.name) && p.name != "table") twin.step(g, lr, 0.9, optimizer.options.beta2, by);
        for (std::size_t i = 0; i < g.size(); ++i) {
          ASSERT_NEAR(static_cast<double>(p.any().data()[i]), twin.w[i], 30 * std::numeric_limits<T>::epsilon())
              << p.name << ' ' << i << ' ' << step;
        }
      });
    }
    EXPECT_EQ(optimizer.steps(), 9);
    EXPECT_EQ(optimizer.state()[2].name, "other");
    EXPECT_EQ(optimizer.state()[2].steps, 2);
  }
}

TYPED_TEST(Optimizers, SgdAsWrittenOut) {
  using T = TypeParam;
  Context context({.threads = 1});
  GradTape tape(context);
  Model<T> model;
  Sgd<T> optimizer({.momentum = 0.9, .dampening = 0.25, .weight_decay = 0.1, .decay = Decay::matrices_only});
  std::vector<double> w(model.matrix.data(), model.matrix.data() + 15), buffer(15);
  for (int step = 0; step < 6; ++step) {
    optimizer.options.nesterov = step > 3;
    give_gradients<T>(tape, model, [&](const std::string& name, Index i) { return gradient_of(name, i, step); });
    optimizer.step(model, tape, 0.05);
    for (std::size_t i = 0; i < 15; ++i) {
      const double g = gradient_of("matrix", static_cast<Index>(i), step) + 0.1 * w[i];
      buffer[i] = step == 0 ? g : 0.9 * buffer[i] + 0.75 * g;
      w[i] -= 0.05 * (step > 3 ? g + 0.9 * buffer[i] : buffer[i]);
      ASSERT_NEAR(static_cast<double>(model.matrix.data()[i]), w[i], 30 * std::numeric_limits<T>::epsilon()) << step;
    }
  }
}

template <class T>
Model<T> trained(int steps, int restart_at, bool adam) {
  Context context({.threads = 1});
  GradTape tape(context);
  Model<T> model;
  AdamW<T> adamw({.weight_decay = 0.1});
  Sgd<T> sgd({.momentum = 0.9});
  for (int step = 0; step < steps; ++step) {
    if (step == restart_at) {  // as from a checkpoint: parameters, moments, counts
      const auto saved = adamw.state();
      AdamW<T> fresh({.weight_decay = 0.1});
      fresh.restore(adamw.steps(), saved);
      adamw = fresh;
      Sgd<T> fresh_sgd({.momentum = 0.9});
      fresh_sgd.restore(sgd.state());
      sgd = fresh_sgd;
      model = Model<T>(model);
    }
    give_gradients<T>(tape, model, [&](const std::string& name, Index i) { return gradient_of(name, i, step); });
    if (adam) {
      adamw.step(model, tape, 0.01);
    } else {
      sgd.step(model, tape, 0.01);
    }
  }
  return model;
}

TYPED_TEST(Optimizers, RestoredStateContinuesBitEqual) {
  for (const bool adam : {true, false}) EXPECT_EQ(trained<TypeParam>(9, 4, adam), trained<TypeParam>(9, -1, adam));
  EXPECT_FALSE(trained<TypeParam>(9, -1, true) == trained<TypeParam>(8, -1, true));
}

TYPED_TEST(Optimizers, WithoutGradientsNothingMoves) {
  using T = TypeParam;
  Context context({.threads = 1});
  GradTape tape(context);
  Model<T> model;
  const Model<T> before = model;
  AdamW<T> adamw({.weight_decay = 0.5});
  Sgd<T> sgd({.momentum = 0.9, .weight_decay = 0.5});
  adamw.step(model, tape, 1);
  sgd.step(model, tape, 1);
  model.matrix.set_trainable(false);
  give_gradients<T>(
      tape, model, [](const std::string&, Index) { return 1.0; },
      [](const std::string& name) { return name != "other" && name != "vector"; });
  adamw.step(model, tape, 1);
  sgd.step(model, tape, 1);
  for (const auto& moments : adamw.state()) EXPECT_TRUE(moments.first.empty() && moments.steps == 0) << moments.name;
  model.matrix.set_trainable(true);
  EXPECT_EQ(model, before);
}

TEST(OptimizerErrors, StateOfAnotherModel) {
  Context context({.threads = 1});
  GradTape tape(context);
  Model<float> model;
  AdamW<float> optimizer;
  optimizer.step(model, tape, 0.1);
  Other other;
  try {
    optimizer.step(other, tape, 0.1);
    ADD_FAILURE() << "no error";
  } catch (const aulos::Error& error) {
    EXPECT_STREQ(error.what(), "optimizer: the model has bias where the optimizer's state has matrix");
  }
}

// A weight used twice has one gradient, the sum: y = w (w x), w = 3, x = 2, dy/dw = 12.
TEST(OptimizerOfTiedWeights, OneGradientOneMoment) {
  Context context({.threads = 1});
  GradTape tape(context);
  Tied model;
  model.w.data()[0] = 3;
  const double two = 2;
  const auto x = context.from(Shape<1>{1}, &two);
  tape.backward(multiply(model.w.tensor(), multiply(model.w.tensor(), x)));
  EXPECT_EQ(tape.gradient(model.w)(0), 12);
  Sgd<double> optimizer;
  optimizer.step(model, tape, 0.25);
  EXPECT_EQ(model.w.data()[0], 0);
  EXPECT_EQ(optimizer.state().size(), 1u);
}

}  // namespace
