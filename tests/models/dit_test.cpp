// compile: -O0
// DiT: what must hold without data. The numbers are the golden cases'.
#include "aulos/models/dit.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "aulos/nn/plan.hpp"
#include "tests/models/dit_support.hpp"

std::vector<float> aulos_tests::dit_output(const DiT& model, int threads) {
  aulos::Context context({.threads = threads, .seed = 2});
  return dit_values(DiTInputs(context, model.config, 3).run(context, model));
}

namespace {

using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;
using aulos::models::DiTBlock;
using aulos::models::DiTConditioning;
using namespace aulos_tests;

using Floats = std::vector<float>;

TEST(DiTPlan, CountsTheParametersOfThePublishedModels) {
  const auto count = [](const DiTConfig& config) {  // the published code counts the table of positions, too
    const DiT model(config);
    return aulos::nn::parameter_count(model) + model.x_embedder.pos_embed.count();
  };
  EXPECT_EQ(count(DiTConfig::s(2)), 32963360);
  EXPECT_EQ(count(DiTConfig::b(2)), 130512416);
  EXPECT_EQ(count(DiTConfig::b(8)), 130881536);
  EXPECT_EQ(count(DiTConfig::l(2)), 458102816);
  EXPECT_EQ(count(DiTConfig::xl(2)), 675129632);
  EXPECT_EQ(count(DiTConfig::xl(4)), 675074432);
  EXPECT_EQ(count(DiTConfig::xl(2, 64)), 675129632 + 3 * 256 * 1152);
}

// The paper's billions of multiply-adds at 32 by 32 latents, all four ways of conditioning.
TEST(DiTPlan, CostsWhatThePaperSays) {
  const auto multiply_adds = [](DiTConfig config, DiTConditioning conditioning = DiTConditioning::adaln_zero) {
    config.conditioning = conditioning;
    const DiT model(config);
    const auto plan = aulos::nn::plan(model, [&](Context& dry) { DiTInputs(dry, config, 1).run(dry, model); });
    return plan.flops / 2e9;
  };
  EXPECT_NEAR(multiply_adds(DiTConfig::xl(2)), 118.64, 0.5);
  EXPECT_NEAR(multiply_adds(DiTConfig::l(2)), 80.7, 0.4);
  EXPECT_NEAR(multiply_adds(DiTConfig::b(2)), 23.0, 0.2);
  EXPECT_NEAR(multiply_adds(DiTConfig::xl(2), DiTConditioning::in_context), 119.4, 0.5);
  EXPECT_NEAR(multiply_adds(DiTConfig::xl(2), DiTConditioning::cross_attention), 137.8, 0.5);
  EXPECT_NEAR(multiply_adds(DiTConfig::xl(2), DiTConditioning::adaln), 118.6, 0.5);
  EXPECT_NEAR(multiply_adds(DiTConfig::b(2)) / multiply_adds(DiTConfig::b(8)), 16, 2);
}

TEST(DiTModel, ResultsDoNotDependOnThreadsOrTheRestOfTheBatch) {
  for (const DiTConditioning conditioning : every_conditioning) {
    const DiT model = random_dit(small_dit(conditioning));
    const Floats one = dit_output(model);
    EXPECT_EQ(dit_output(model, 2), one);
    for (const float x : one) ASSERT_TRUE(std::isfinite(x));
    Context context({.threads = 1, .seed = 2});
    const DiTInputs in(context, model.config, 3);
    const auto each = static_cast<std::ptrdiff_t>(one.size() / 3);
    for (Index b = 0; b < 3; ++b) {
      const auto y =
          model(context, in.latent.slice(0, b, b + 1), in.timestep.slice(0, b, b + 1), in.labels.slice(0, b, b + 1));
      EXPECT_EQ(y.shape(), (Shape<4>{1, 8, 8, 8}));
      EXPECT_EQ(dit_values(y), Floats(one.begin() + b * each, one.begin() + (b + 1) * each));
    }
    EXPECT_EQ(DiTInputs(context, model.config, 0).run(context, model).count(), 0);
  }
}

// adaLN-Zero: with its linears zero every block returns what it was given, and the model nothing.
TEST(DiTModel, IsTheIdentityAtTheStart) {
  DiT model = random_dit(small_dit());
  for (auto& block : model.transformer.blocks) aulos::nn::zero(block.ada_zero.linear);
  Context context({.threads = 1, .seed = 2});
  const auto x = context.normal<float>(Shape<3>{2, 5, 24});
  const auto c = context.normal<float>(Shape<2>{2, 24});
  EXPECT_EQ(dit_values(model.transformer.blocks[0](x, {c, {}})), dit_values(x));
  aulos::nn::zero(model.transformer.final_layer);
  for (const float y : dit_output(model)) EXPECT_EQ(y, 0);
}

// Tokens exchanged with their positions come out exchanged, however they are conditioned.
TEST(DiTModel, TokensAreASet) {
  for (const DiTConditioning conditioning : every_conditioning) {
    DiT model = random_dit(small_dit(conditioning));
    for (Index i = 0; i < model.x_embedder.pos_embed.count(); ++i) model.x_embedder.pos_embed.data()[i] = 0;
    Context context({.threads = 1, .seed = 2});
    const DiTInputs in(context, model.config, 1);
    const auto turn = [](const Tensor<float, 4>& x) {
      return concat(std::array{x.slice(2, 4, 8), x.slice(2, 0, 4)}, 2);
    };
    const auto a = turn(in.run(context, model));
    const auto b = model(context, turn(in.latent), in.timestep, in.labels);
    for (Index i = 0; i < a.count(); ++i) EXPECT_NEAR(a.data()[i], b.data()[i], 2e-4);
  }
}

TEST(DiTModel, TimeAndLabelMatterInEveryWay) {
  for (const DiTConditioning conditioning : every_conditioning) {
    const DiT model = random_dit(small_dit(conditioning));
    Context context({.threads = 1, .seed = 2});
    const DiTInputs in(context, model.config, 1);
    const Floats y = dit_values(in.run(context, model));
    EXPECT_NE(dit_values(model(context, in.latent, context.full(Shape<1>{1}, 20.0f), in.labels)), y);
    EXPECT_NE(dit_values(model(context, in.latent, in.timestep, context.full(Shape<1>{1}, std::int64_t{4}))), y);
  }
}

// The column in the first half of the channels, sines first.
TEST(DiTModel, DerivesThePublishedTableOfPositions) {
  const DiT model = random_dit(small_dit());
  const float* table = model.x_embedder.pos_embed.tensor().data();
  for (Index row = 0; row < 4; ++row)
    for (Index column = 0; column < 4; ++column)
      for (Index k = 0; k < 24; ++k) {
        const double position = static_cast<double>(k < 12 ? column : row);
        const double angle = position * std::pow(10000.0, -static_cast<double>(k % 6) / 6);
        const double want = k % 12 < 6 ? std::sin(angle) : std::cos(angle);
        ASSERT_NEAR(table[(row * 4 + column) * 24 + k], want, 1e-7);
      }
}

TEST(DiTModel, GuidanceTakesTheFirstHalfsLatents) {
  const DiT model = random_dit(small_dit());
  Context context({.threads = 1, .seed = 2});
  DiTInputs in(context, model.config, 4);
  const auto null = model.y_embedder.null_label();
  EXPECT_EQ(null, 5);
  for (Index i = 0; i < 2; ++i) {
    in.timestep.mutable_data()[i + 2] = in.timestep.mutable_data()[i];
    in.labels.mutable_data()[i + 2] = null;
  }
  const auto half = in.latent.slice(0, 0, 2);
  const auto c = model(context, half, in.timestep.slice(0, 0, 2), in.labels.slice(0, 0, 2));
  const auto u = model(context, half, in.timestep.slice(0, 2, 4), in.labels.slice(0, 2, 4));
  for (const Index guided : {3, 4}) {
    const auto y = model.forward_with_cfg(context, in.latent, in.timestep, in.labels, 4, guided);
    for (Index b = 0; b < 4; ++b)
      for (Index k = 0; k < 8; ++k) {
        const float own = b < 2 ? c(b % 2, k, 3, 5) : u(b % 2, k, 3, 5);
        const float none = u(b % 2, k, 3, 5);
        EXPECT_NEAR(y(b, k, 3, 5), k < guided ? none + 4 * (c(b % 2, k, 3, 5) - none) : own, 1e-4);
      }
  }
}

TEST(DiTModel, SaysWhatDoesNotFit) {
  const DiT model = random_dit(small_dit());
  Context context({.threads = 1});
  const DiTInputs in(context, model.config, 2);
  const auto text = [&](auto&& f) -> std::string {
    try {
      f();
    } catch (const aulos::Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(text([&] {
              model(context, context.zeros<float>(Shape<4>{2, 4, 8, 10}), in.timestep, in.labels);
            }),
            "dit: latent [2, 4, 8, 10], expected height and width 8");
  EXPECT_NE(text([&] {
              model(context, in.latent, in.timestep, context.full(Shape<1>{2}, std::int64_t{6}));
            }).find("id 6 at position 0, expected 0 to 5"),
            std::string::npos);
  EXPECT_EQ(text([&] { model(context, in.latent, context.zeros<float>(Shape<1>{1}), in.labels); }),
            "dit: timestep [1] and labels [2] for latent [2, 4, 8, 8], expected one each for every sample");
  const DiT unloaded(small_dit());
  EXPECT_NE(text([&] { in.run(context, unloaded); }).find("has no values yet"), std::string::npos);
}

}  // namespace
