#include <gtest/gtest.h>

#include "aulos/autograd/tape.hpp"
#include "aulos/core/context.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/loss.hpp"
#include "aulos/train/clip.hpp"
#include "aulos/train/optimizer.hpp"

namespace {

using aulos::Context;
using aulos::GradTape;
using aulos::Shape;
using aulos::train::AdamW;
using aulos::train::Sgd;

// A real model learns: least squares by both optimizers, with the same bits on 1, 2 and 3 threads.
template <class Optimizer>
aulos::nn::Linear<float> fitted(Optimizer optimizer, double lr, int threads) {
  Context context({.threads = threads, .seed = 3});
  const auto x = context.normal<float>(Shape<2>{256, 96});
  const auto target = context.normal<float>(Shape<2>{256, 64});
  aulos::nn::Linear<float> model(96, 64);
  context.random().normal(model.weight.rows().data(), 96 * 64);
  model.bias.data();
  GradTape tape(context);
  float first = 0, last = 0;
  for (int step = 0; step < 20; ++step) {
    const auto loss = aulos::mse_loss(model(x), target);
    last = loss(0);
    if (step == 0) first = last;
    tape.backward(loss);
    aulos::train::clip_gradient_norm(model, tape, 0.7);
    optimizer.step(model, tape, lr);
  }
  EXPECT_LT(last, 0.9f * first);
  return model;
}

TEST(OptimizerThreads, TwentyStepsAreBitEqual) {
  const auto adamw = fitted(AdamW<float>(), 0.05, 1);
  const auto sgd = fitted(Sgd<float>({.momentum = 0.9, .nesterov = true}), 5, 1);
  for (const int threads : {2, 3}) {
    EXPECT_EQ(fitted(AdamW<float>(), 0.05, threads), adamw) << threads;
    EXPECT_EQ(fitted(Sgd<float>({.momentum = 0.9, .nesterov = true}), 5, threads), sgd) << threads;
  }
}

// Gradients of micro-batches, each loss scaled by its share, add up to those of the whole batch.
TEST(Accumulation, MicroBatchesMakeOneBatch) {
  Context context({.threads = 2, .seed = 5});
  const auto x = context.normal<double>(Shape<2>{12, 7});
  const auto target = context.normal<double>(Shape<2>{12, 3});
  aulos::nn::Linear<double> model(7, 3);
  context.random().normal(model.weight.rows().data(), 21);
  model.bias.data();
  GradTape whole(context);
  whole.backward(aulos::mse_loss(model(x), target));
  const auto want = whole.gradient(model.weight.rows());
  const auto want_bias = whole.gradient(model.bias);

  Context other({.threads = 2});
  const auto on = [&](const auto& t) { return other.from<double>(t.shape(), t.data()); };
  const auto x2 = on(x), target2 = on(target);
  GradTape tape(other);
  for (const auto accumulate : {aulos::Accumulate::restart, aulos::Accumulate::add}) {
    for (aulos::Index i = 0; i < 12; i += 3) {
      const auto loss = aulos::mse_loss(model(x2.slice(0, i, i + 3)), target2.slice(0, i, i + 3));
      tape.backward(aulos::scale(loss, 0.25), i == 0 ? accumulate : aulos::Accumulate::add);
    }
    const double times = accumulate == aulos::Accumulate::restart ? 1 : 2;
    const auto got = tape.gradient(model.weight.rows());
    for (aulos::Index i = 0; i < 21; ++i) EXPECT_NEAR(got.data()[i], times * want.data()[i], 1e-14);
    for (aulos::Index i = 0; i < 3; ++i)
      EXPECT_NEAR(tape.gradient(model.bias).data()[i], times * want_bias.data()[i], 1e-14);
  }
}

}  // namespace
