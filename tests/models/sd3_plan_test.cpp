// compile: -O0
// What SD3 costs by its plan, by hand and in fact.
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <vector>

#include "aulos/autograd/tape.hpp"
#include "aulos/nn/plan.hpp"
#include "aulos/ops/loss.hpp"
#include "tests/models/sd3_support.hpp"

namespace {

using aulos::Context;
using aulos::GradTape;
using aulos::Index;
using aulos::Plan;
using aulos::Shape;
using aulos::Tensor;
using aulos_tests::SD3;
using aulos_tests::SD3Config;
using aulos_tests::SD3Inputs;

TEST(SD3Plan, CountsTheParametersOfThePublishedModels) {
  EXPECT_EQ(aulos::nn::parameter_count(SD3(SD3Config::sd3_medium())), 2028328000);
  EXPECT_EQ(aulos::nn::parameter_count(SD3(SD3Config::sd35_medium())), 2243171520);
  EXPECT_EQ(aulos::nn::parameter_count(SD3(SD3Config::sd35_large())), 8056627520);
}

TEST(SD3Plan, TheLargestModelIsPlannedAtOnceAndWithoutMemory) {
  const auto start = std::chrono::steady_clock::now();
  const SD3 model(SD3Config::sd35_large());
  const Plan plan = aulos::nn::plan(model, [&](Context& dry) {  // 1024 x 1024 pixels
    return SD3Inputs(dry, model.config, 1, 128, 128, 154).run(dry, model);
  });
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  EXPECT_LT(time.count(), 1.0);  // it takes a millisecond; arithmetic would take a minute
  EXPECT_EQ(plan.parameters, 8056627520);
  EXPECT_GT(plan.flops, 2.9e13);
  EXPECT_LT(plan.flops, 3.0e13);
  EXPECT_LT(plan.peak_bytes, std::size_t{250} << 20);
  for (const auto& block : model.transformer_blocks) EXPECT_FALSE(block.joint.norm1.weight.rows().ready());
}

// The FLOPs of one block by hand: products, norms and attention; what is linear in the tokens is counted as the ops
// document it.
TEST(SD3Plan, CountsTheFlopsOfABlock) {
  const SD3Config config = aulos_tests::small_sd35();
  const double b = 2, n = 24, m = 7, d = 64, h = 4, w = 16;
  const double linear = 2 * b * d * d;  // one row of each sample through a square product
  const double norm = 8;                // per element: moments, scale, shift
  const double tokens = n + m;
  const double attention = 4 * b * tokens * tokens * d;   // Q K^T and P V
  const double qk_norms = 2 * norm * b * tokens * h * w;  // of queries and keys
  const double feed_forward = 2 * 4 * linear;             // per token
  for (const bool dual : {false, true}) {
    const aulos::models::SD3Block<float> block(config, false, dual);
    const Plan plan = aulos::plan([&](Context& dry) {
      const auto image = dry.empty<float>(Shape<3>{2, 24, 64}), text = dry.empty<float>(Shape<3>{2, 7, 64});
      block({image, text}, dry.empty<float>(Shape<2>{2, 64}));
    });
    double flops = (6 + 6) * linear              // modulation rows of image and text
                   + tokens * 4 * linear         // q, k, v, out
                   + qk_norms + attention        //
                   + tokens * feed_forward       //
                   + 2 * norm * b * tokens * d;  // norm1 and norm2
    if (dual) {
      flops += 3 * linear + n * 4 * linear + 2 * norm * b * n * h * w + 4 * b * n * n * d + norm * b * n * d;
    }
    EXPECT_EQ(plan.flops, flops) << dual;
    // What the specification says of it: 4 (N+M)^2 D, 8 (N+M) D^2 and 16 (N+M) D^2 for each sample.
    const double main = b * (4 * tokens * tokens * d + 24 * tokens * d * d);
    EXPECT_NEAR(plan.flops / main, dual ? 1.3 : 1, 0.1);
  }
}

TEST(SD3Plan, PredictsTheMemoryOfInferenceExactly) {
  const SD3 model = aulos_tests::random_sd3(aulos_tests::small_sd35());
  for (const Index batch : {1, 2}) {
    for (const int threads : {1, 2}) {
      const auto call = [&](Context& context) { SD3Inputs(context, model.config, batch).run(context, model); };
      const Plan plan = aulos::plan(call);
      Context fresh({.threads = threads});
      call(fresh);
      EXPECT_EQ(fresh.memory().peak, plan.peak_bytes);
      Context reserved({.threads = threads, .reserve_bytes = plan.held_bytes});
      for (int round = 0; round < 3; ++round) call(reserved);
      EXPECT_EQ(reserved.memory().peak, plan.peak_bytes);
      EXPECT_EQ(reserved.memory().held, plan.held_bytes);
      EXPECT_LE(static_cast<double>(plan.held_bytes), 1.1 * static_cast<double>(plan.peak_bytes));
    }
  }
  EXPECT_EQ(aulos::plan([&](Context& dry) { SD3Inputs(dry, model.config, 1).run(dry, model); }).flops,
            aulos::plan([&](Context& dry) { SD3Inputs(dry, model.config, 1).run(dry, SD3(model.config)); }).flops);
}

TEST(SD3Plan, PredictsTheMemoryOfATrainingStepExactly) {
  const SD3 model = aulos_tests::random_sd3(aulos_tests::small_sd35());
  const auto step = [&](Context& context) {
    const SD3Inputs inputs(context, model.config, 2);
    const auto target = context.normal<float>(Shape<4>{2, 3, 12, 8});
    GradTape tape(context);
    tape.backward(aulos::mse_loss(inputs.run(context, model), target));
  };
  const Plan plan = aulos::plan(step);
  for (const int threads : {1, 2}) {
    Context fresh({.threads = threads});
    step(fresh);
    EXPECT_EQ(fresh.memory().peak, plan.peak_bytes);
    Context reserved({.threads = threads, .reserve_bytes = plan.held_bytes});
    step(reserved);
    step(reserved);
    EXPECT_EQ(reserved.memory().peak, plan.peak_bytes);
    EXPECT_EQ(reserved.memory().held, plan.held_bytes);
  }
  EXPECT_LE(static_cast<double>(plan.held_bytes), 1.15 * static_cast<double>(plan.peak_bytes));
  const Plan forward = aulos::plan([&](Context& dry) { SD3Inputs(dry, model.config, 2).run(dry, model); });
  EXPECT_NEAR(plan.flops / forward.flops, 3, 0.3);  // the gradient of a product is two products
}

TEST(SD3Plan, ThePoolHoldsLittleMoreThanItsPeak) {
  struct Case {
    SD3Config config;
    Index tokens;
    double most;
  };
  const Case cases[] = {{SD3Config::sd3_medium(), 154, 1.05},
                        {SD3Config::sd35_medium(), 154, 1.15},
                        {SD3Config::sd35_medium(), 333, 1.15},
                        {SD3Config::sd35_large(), 77, 1.05},
                        {SD3Config::sd35_large(), 154, 1.17}};
  for (const Case& c : cases) {
    const SD3 model(c.config);
    const Plan plan =
        aulos::plan([&](Context& dry) { SD3Inputs(dry, model.config, 1, 128, 128, c.tokens).run(dry, model); });
    EXPECT_LE(static_cast<double>(plan.held_bytes), c.most * static_cast<double>(plan.peak_bytes)) << c.tokens;
  }
}

}  // namespace
