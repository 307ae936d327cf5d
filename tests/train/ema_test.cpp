#include "aulos/train/ema.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "aulos/nn/linear.hpp"
#include "train/gradients.hpp"

namespace {

using namespace train_support;
using aulos::train::Ema;
using aulos::train::EmaWarmup;

template <class T>
class Average : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Average, Types);

TYPED_TEST(Average, FollowsTheModel) {
  using T = TypeParam;
  for (const EmaWarmup warmup : {EmaWarmup::none, EmaWarmup::tenths}) {
    Context context({.threads = 1});
    Model<T> model;
    Ema<Model<T>> ema(model, 0.9, warmup);
    EXPECT_EQ(ema.model(), model);
    std::vector<double> want(model.matrix.data(), model.matrix.data() + 15);
    for (int i = 0; i < 100; ++i) {
      Model<T>::fill(model, std::sin(i));
      ema.update(context, model);
      const double decay = warmup == EmaWarmup::none ? 0.9 : std::min(0.9, (1.0 + i) / (10.0 + i));
      for (std::size_t k = 0; k < want.size(); ++k) {
        want[k] = decay * want[k] + (1 - decay) * static_cast<double>(model.matrix.data()[k]);
        ASSERT_NEAR(static_cast<double>(ema.model().matrix.data()[k]), want[k], 32 * std::numeric_limits<T>::epsilon());
      }
    }
    EXPECT_EQ(ema.updates(), 100);
  }
}

// The first update of a warm-up weighs 0.1, the 81st 81/90; from there on the decay itself holds.
TYPED_TEST(Average, WarmupValues) {
  using T = TypeParam;
  for (const auto& [updates, decay] : {std::pair<Index, double>{0, 0.1}, {10, 11.0 / 20}, {80, 0.9}, {500, 0.9}}) {
    Context context({.threads = 1});
    Model<T> zero;
    aulos::nn::for_each_parameter(zero, [](const auto& p) { std::fill(p.data(), p.data() + p.count(), T(0)); });
    Model<T> one;
    aulos::nn::for_each_parameter(one, [](const auto& p) { std::fill(p.data(), p.data() + p.count(), T(1)); });
    Ema<Model<T>> ema(one, 0.9, EmaWarmup::tenths);
    ema.restore(one, updates);
    ema.update(context, zero);
    EXPECT_NEAR(static_cast<double>(ema.model().vector.data()[0]), decay, 1e-6) << updates;
  }
}

TYPED_TEST(Average, RestoredContinuesBitEqual) {
  using T = TypeParam;
  Context context({.threads = 1});
  const auto run = [&](int restart_at) {
    Model<T> model;
    Ema<Model<T>> ema(model, 0.99, EmaWarmup::tenths);
    for (int i = 0; i < 12; ++i) {
      if (i == restart_at) {
        Ema<Model<T>> fresh(Model<T>(), 0.99, EmaWarmup::tenths);
        fresh.restore(ema.model(), ema.updates());
        ema = fresh;
      }
      Model<T>::fill(model, std::cos(i));
      ema.update(context, model);
    }
    return ema.model();
  };
  EXPECT_EQ(run(5), run(-1));
}

TYPED_TEST(Average, BuffersAndTheModelStay) {
  using T = TypeParam;
  Context context({.threads = 1});
  Model<T> model;
  Ema<Model<T>> ema(model, 0.5);
  const auto table = values(ema.model().table);
  Model<T>::fill(model, 3);
  const Model<T> before = model;
  ema.update(context, model);
  EXPECT_EQ(values(ema.model().table), table);
  EXPECT_EQ(model, before);
  EXPECT_NE(values(ema.model().other), values(model.other));
}

TEST(AverageThreads, BitEqual) {
  const auto run = [](int threads) {
    Context context({.threads = threads, .seed = 4});
    aulos::nn::Linear<float> model(300, 300);
    Ema<aulos::nn::Linear<float>> ema(model, 0.9);
    for (int i = 0; i < 3; ++i) {
      context.random().normal(model.weight.rows().data(), 90000);
      context.random().normal(model.bias.data(), 300);
      ema.update(context, model);
    }
    return ema.model();
  };
  const auto one = run(1);
  EXPECT_EQ(run(2), one);
  EXPECT_EQ(run(3), one);
}

TEST(AverageErrors, APackedModel) {
  Context context({.threads = 1});
  aulos::nn::Linear<float> model(8, 8);
  model.weight.rows().data();
  model.bias.data();
  Ema<aulos::nn::Linear<float>> ema(model, 0.9);
  aulos::nn::pack(model);
  try {
    ema.update(context, model);
    ADD_FAILURE() << "no error";
  } catch (const aulos::Error& error) {
    EXPECT_STREQ(error.what(), "ema: weight is packed for inference: unpack first");
  }
  EXPECT_EQ(ema.updates(), 0);
}

TEST(AverageErrors, ADecayOutsideOfZeroToOne) {
  for (const double decay : {-0.1, 1.1, std::nan("")})
    EXPECT_THROW(Ema<Model<float>>(Model<float>(), decay), aulos::ConfigError);
}

}  // namespace
