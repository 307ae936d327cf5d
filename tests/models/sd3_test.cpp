// compile: -O0
// The transformer's forward: what must hold without data.
#include "aulos/models/sd3.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "aulos/autograd/tape.hpp"
#include "tests/models/sd3_support.hpp"
#include "tests/support/paths.hpp"

std::vector<float> aulos_tests::sd3_output(const SD3& model) {
  aulos::Context context({.threads = 1, .seed = 2});
  return values(SD3Inputs(context, model.config, 2).run(context, model));
}

namespace {

using aulos::Context;
using aulos::Index;
using aulos::Numeric;
using aulos::Shape;
using aulos::Tensor;
using aulos::models::SD3Block;
using aulos_tests::random_sd3;
using aulos_tests::SD3;
using aulos_tests::SD3Config;
using aulos_tests::SD3Inputs;
using aulos_tests::small_sd35;
using aulos_tests::values;

using Floats = std::vector<float>;

double distance(const Floats& a, const Floats& b) {
  double error = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(error / size);
}

SD3Block<float> random_block(bool last, bool dual) {
  SD3Block<float> block(small_sd35(), last, dual);
  aulos::Random random(3);
  aulos::nn::initialise_normal(block, random, 0.2);
  return block;
}

struct Streams {
  Tensor<float, 3> image, text;
  Tensor<float, 2> c;
  explicit Streams(Context& context, Index batch = 2)
      : image(context.normal<float>(Shape<3>{batch, 24, 64})),
        text(context.normal<float>(Shape<3>{batch, 7, 64})),
        c(context.normal<float>(Shape<2>{batch, 64})) {}
};

void clear(aulos::nn::Linear<float>& layer) { aulos::nn::zero(layer); }

TEST(SD3Block, WithoutModulationIsTheIdentity) {
  Context context({.threads = 1});
  const Streams in(context);
  for (const bool dual : {false, true}) {
    auto block = random_block(false, dual);
    clear(block.joint.norm1);
    clear(block.joint.norm1_context);
    const auto out = block({in.image, in.text}, in.c);
    EXPECT_EQ(values(out[0]), values(in.image));
    EXPECT_EQ(values(out[1]), values(in.text));
  }
}

TEST(SD3Block, PermutingTextTokensPermutesTheTextAndLeavesTheImage) {
  Context context({.threads = 1});
  const Streams in(context, 1);
  const auto block = random_block(false, true);
  const auto out = block({in.image, in.text}, in.c);
  Tensor<float, 3> turned = context.empty<float>(in.text.shape());
  for (Index m = 0; m < 7; ++m)
    std::memcpy(turned.mutable_data() + m * 64, in.text.data() + (m + 3) % 7 * 64, 64 * sizeof(float));
  const auto other = block({in.image, turned}, in.c);
  EXPECT_LT(distance(values(other[0]), values(out[0])), 1e-5);
  for (Index m = 0; m < 7; ++m)
    for (Index k = 0; k < 64; ++k) EXPECT_NEAR(other[1](0, m, k), out[1](0, (m + 3) % 7, k), 1e-4);
}

TEST(SD3Block, TheLastOneLeavesTheTextAsItIs) {
  Context context({.threads = 1});
  const Streams in(context);
  const auto block = random_block(true, false);
  EXPECT_TRUE(block.joint.block.sides[1].to_out.empty());
  EXPECT_TRUE(block.joint.block.sides[1].ff.empty());
  const auto out = block({in.image, in.text}, in.c);
  EXPECT_EQ(values(out[1]), values(in.text));
  EXPECT_NE(values(out[0]), values(in.image));
}

TEST(SD3Block, TheLastOnesTextQueriesHaveNoInfluence) {
  Context context({.threads = 1});
  auto model = random_sd3(small_sd35());
  const SD3Inputs inputs(context, model.config, 2);
  const Floats before = values(inputs.run(context, model));
  auto& last = model.transformer_blocks.back().joint.block.sides[1].qkv;
  aulos::GradTape tape(context);
  const auto y = inputs.run(context, model);
  const aulos::Seed<float> seed{y.any(), context.full<float>(y.shape(), 1).any()};
  tape.backward(std::span<const aulos::Seed<float>>(&seed, 1));
  const auto gradient = tape.gradient(std::as_const(last.to_q.weight).rows());
  if (!gradient.empty()) {
    for (Index i = 0; i < gradient.count(); ++i) EXPECT_EQ(gradient.data()[i], 0);
  }
  EXPECT_FALSE(tape.gradient(std::as_const(last.to_k.weight).rows()).empty());
  for (Index i = 0; i < last.to_q.weight.count(); ++i) last.to_q.weight.rows().data()[i] = 1e30f;
  EXPECT_EQ(values(inputs.run(context, model)), before);
}

// Two streams with the same weights and modulation are one sequence.
TEST(SD3Block, EqualStreamsAreOneSequence) {
  Context context({.threads = 1});
  auto block = random_block(false, false);
  block.joint.block.sides[1] = block.joint.block.sides[0];
  block.joint.norm1_context = block.joint.norm1;
  const Streams in(context);
  const auto out = block({in.image, in.text}, in.c);
  const auto together = concat(std::array{in.image, in.text}, 1);
  const auto split = block({together.slice(1, 0, 10), together.slice(1, 10, 31)}, in.c);  // cut elsewhere
  const auto whole = concat(std::array{out[0], out[1]}, 1), other = concat(std::array{split[0], split[1]}, 1);
  EXPECT_LT(distance(values(other), values(whole)), 1e-5);
}

// The order of the modulation rows: one at a time changes only what it stands for.
TEST(SD3Block, ModulationRowsStandInTheOrderOfThePaper) {
  Context context({.threads = 1});
  const Streams in(context, 1);
  const auto with = [&](Index row, float value, Index gate) {
    auto block = random_block(false, true);
    clear(block.joint.norm1);
    clear(block.joint.norm1_context);
    const auto set = [&](Index which, float to) {
      for (Index k = 0; k < 64; ++k) block.joint.norm1.bias.data()[which * 64 + k] = to;
    };
    set(gate, 1);
    if (row != gate) set(row, value);
    return values(block({in.image, in.text}, in.c)[0]);
  };
  // Gates: attention 2, feed-forward 5, second attention 8; each opens on shift and scale of its own.
  for (const Index gate : {2, 5, 8}) {
    const Floats plain = with(gate, 1, gate);
    EXPECT_NE(plain, values(in.image));
    for (const Index row : {0, 1, 3, 4, 6, 7}) {
      const bool own = row / 3 == gate / 3;
      EXPECT_EQ(with(row, 0.5f, gate) != plain, own) << "row " << row << " of gate " << gate;
    }
    // A scale of -1 leaves nothing but the shift, which is the same for every token: a feed-forward adds one row.
    if (gate == 5) {
      const Floats out = with(4, -1, gate);
      for (std::size_t k = 0; k < 64; ++k)
        EXPECT_NEAR(out[k] - values(in.image)[k], out[64 + k] - values(in.image)[64 + k], 1e-5);
    }
  }
}

TEST(SD3Model, TheFinalModulationHasTheScaleFirst) {
  Context context({.threads = 1});
  const aulos::conditioning::AdaLayerNormContinuous<float> prototype(
      2, 2, aulos::nn::LayerNorm<float>(2, 1e-6, aulos::nn::Affine::no));
  for (const auto order :
       {aulos::conditioning::FinalOrder::scale_shift, aulos::conditioning::FinalOrder::shift_scale}) {
    auto norm = prototype;
    norm.order = order;
    clear(norm.linear);
    for (Index i = 0; i < 4; ++i) norm.linear.bias.data()[i] = i < 2 ? 2 : 3;
    const float row[] = {-1, 1};
    const auto y = norm(context.from(Shape<3>{1, 1, 2}, row), context.zeros<float>(Shape<2>{1, 2}));
    const bool scale_first = order == aulos::conditioning::FinalOrder::scale_shift;
    EXPECT_NEAR(y(0, 0, 0), scale_first ? 0 : -2, 1e-4);
    EXPECT_NEAR(y(0, 0, 1), 6, 1e-4);
  }
  EXPECT_EQ(SD3(small_sd35()).norm_out.order, aulos::conditioning::FinalOrder::scale_shift);
}

// ---- the whole

class SD3Mode : public ::testing::TestWithParam<Numeric> {
 protected:
  // With its weights stored for the mode.
  static SD3 packed_sd3() {
    SD3 model = random_sd3(small_sd35(), 1, 0.1);
    if (GetParam() != Numeric::exact) aulos::nn::pack(model, GetParam());
    return model;
  }
};

TEST_P(SD3Mode, ResultsDoNotDependOnThreads) {
  const SD3 model = packed_sd3();
  Floats first;
  for (const int threads : {1, 2, 3, 4, 8}) {
    Context context({.threads = threads, .seed = 4, .numeric = GetParam()});
    const SD3Inputs inputs(context, model.config, 2, 24, 20, 33);
    const Floats out = values(inputs.run(context, model));
    if (first.empty()) first = out;
    EXPECT_EQ(out, first) << threads;
    EXPECT_EQ(values(inputs.run(context, model)), first) << "again";
  }
  for (const float x : first) ASSERT_TRUE(std::isfinite(x));
}

TEST_P(SD3Mode, ASampleDoesNotDependOnTheOthersOfItsBatch) {
  const SD3 model = packed_sd3();
  Context context({.threads = 2, .numeric = GetParam()});
  const SD3Inputs inputs(context, model.config, 2);
  const auto both = inputs.run(context, model);
  for (const Index b : {0, 1}) {
    const auto one = model(context, inputs.latent.slice(0, b, b + 1), inputs.prompt.slice(0, b, b + 1),
                           inputs.pooled.slice(0, b, b + 1), inputs.timestep.slice(0, b, b + 1));
    EXPECT_EQ(one.shape(), (Shape<4>{1, 3, 12, 8}));
    EXPECT_EQ(values(one), values(both.slice(0, b, b + 1)));
  }
}

TEST_P(SD3Mode, APackedFileHoldsTheWholeModel) {
  const SD3 model = packed_sd3();
  const std::string path = (aulos_tests::fresh_dir() / "packed.safetensors").string();
  aulos::nn::save_packed(model, path);
  const SD3 mapped = SD3::load(path, {.mode = aulos::io::Mode::map}), read = SD3::load(path);
  Context context({.threads = 1, .numeric = GetParam()});
  const SD3Inputs inputs(context, model.config, 1);
  const Floats y = values(inputs.run(context, model));
  EXPECT_EQ(values(inputs.run(context, mapped)), y);
  EXPECT_EQ(values(inputs.run(context, read)), y);
}

INSTANTIATE_TEST_SUITE_P(Numeric, SD3Mode, ::testing::Values(Numeric::exact, Numeric::bf16, Numeric::int8),
                         [](const auto& mode) { return std::string(name_of(mode.param)); });

TEST(SD3Model, PackedWeightsGiveTheSameAndBf16NearlyTheSame) {
  const SD3 model = random_sd3(small_sd35(), 1, 0.1);
  SD3 packed = model, half = model;
  aulos::nn::pack(packed);
  aulos::nn::pack(half, Numeric::bf16);
  Context context({.threads = 2});
  const SD3Inputs inputs(context, model.config, 2);
  const Floats y = values(inputs.run(context, model));
  EXPECT_LT(distance(values(inputs.run(context, packed)), y), 1e-6);
  const double rounding = distance(values(inputs.run(context, half)), y);
  EXPECT_GT(rounding, 1e-5);
  EXPECT_LT(rounding, 2e-2);
}

TEST(SD3Model, IsARegularType) {
  SD3 model = random_sd3(small_sd35());
  Context context({.threads = 1});
  const SD3Inputs inputs(context, model.config, 1);
  const Floats y = values(inputs.run(context, model));
  const SD3 copy = model;
  EXPECT_EQ(values(inputs.run(context, copy)), y);
  model.proj_out.bias.data()[0] += 1;
  EXPECT_NE(values(inputs.run(context, model)), y);
  EXPECT_EQ(values(inputs.run(context, copy)), y);
  model = copy;
  EXPECT_EQ(values(inputs.run(context, model)), y);
  const SD3 moved = std::move(model);
  EXPECT_EQ(values(inputs.run(context, moved)), y);
}

TEST(SD3Model, AConstModelServesManyThreads) {
  const SD3 model = random_sd3(small_sd35());
  const auto call = [&](Index n) {  // other shapes in each thread
    Context context({.threads = 1, .seed = 8});
    return values(SD3Inputs(context, model.config, 1, 8 + 2 * n, 6, 3 + n).run(context, model));
  };
  std::vector<Floats> alone, together(4);
  for (Index n = 0; n < 4; ++n) alone.push_back(call(n));
  std::vector<std::thread> threads;
  for (Index n = 0; n < 4; ++n)
    threads.emplace_back([&, n] {
      for (int round = 0; round < 5; ++round) together[static_cast<std::size_t>(n)] = call(n);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, alone);
}

TEST(SD3Model, SaysWhatDoesNotFit) {
  const SD3 model = random_sd3(small_sd35());
  Context context({.threads = 1});
  const SD3Inputs in(context, model.config, 2);
  const auto expect = [&](const std::string& text, auto&& f) {
    try {
      f();
      ADD_FAILURE() << text;
    } catch (const aulos::Error& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
  };
  const auto zeros = [&](const auto& shape) { return context.zeros<float>(shape); };
  expect("patchify: x [2, 4, 13, 8]", [&] {
    model(context, zeros(Shape<4>{2, 4, 13, 8}), in.prompt, in.pooled, in.timestep);
  });
  expect("13 by 4 patches, expected at most 12 by 12", [&] {
    model(context, zeros(Shape<4>{2, 4, 26, 8}), in.prompt, in.pooled, in.timestep);
  });
  expect("linear: x [2, 24, 12] has 12 channels, the weight [64, 16] takes 16", [&] {
    model(context, zeros(Shape<4>{2, 3, 12, 8}), in.prompt, in.pooled, in.timestep);
  });
  expect("linear: x [2, 7, 47] has 47 channels, the weight [64, 48] takes 48", [&] {
    model(context, in.latent, zeros(Shape<3>{2, 7, 47}), in.pooled, in.timestep);
  });
  expect("layer_norm: shift [2, 1, 64] for x [1, 7, 64]", [&] {
    model(context, in.latent, zeros(Shape<3>{1, 7, 48}), in.pooled, in.timestep);
  });
  expect("transformer_blocks.0", [&] { model(context, in.latent, zeros(Shape<3>{1, 7, 48}), in.pooled, in.timestep); });
  const SD3 unloaded(small_sd35());
  expect("has no values yet: load or initialise the model first", [&] { in.run(context, unloaded); });
}

}  // namespace
