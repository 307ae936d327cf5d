// Training: resumed runs, batches, schedules, and files that survive a kill.
#include "common/trainer.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "aulos/core/context.hpp"
#include "aulos/io/checkpoint.hpp"
#include "tests/support/child.hpp"
#include "tests/support/paths.hpp"

namespace {

using namespace aulos_examples;
using aulos::Context;
using aulos::Index;
namespace fs = std::filesystem;

Recipe tiny() {
  Recipe recipe;
  recipe.side = 8;
  recipe.patch = 2;
  recipe.layers = recipe.heads = 1;
  recipe.head_width = 16;
  recipe.text_width = 32;
  recipe.batch = 4;
  recipe.accumulate = 2;
  recipe.warmup = 2;
  recipe.ema = 0.9;
  return recipe;
}

std::string file_of(const char* name) { return (aulos_tests::fresh_dir() / name).string(); }

std::string contents(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// The state after `updates`, saved and resumed before each of those in `breaks`.
std::string state_after(Index updates, const std::vector<Index>& breaks, int threads, const Recipe& recipe = tiny()) {
  const std::string path = file_of("aulos_trainer_test.safetensors");
  Trainer trainer(recipe);
  trainer.set_total(8);
  while (trainer.steps() < updates) {
    for (const Index at : breaks) {
      if (at != trainer.steps()) continue;
      trainer.save(path);
      trainer = Trainer::resume(path);
    }
    Context context({.threads = threads});
    trainer.step(context);
  }
  trainer.save(path);
  const std::string bytes = contents(path);
  fs::remove(path);
  return bytes;
}

// Model, average, moments, counts and losses: the very bytes, on any number of threads.
TEST(Trainer, AResumedRunIsTheUnbrokenOne) {
  const std::string unbroken = state_after(8, {}, 1);
  EXPECT_EQ(state_after(8, {0}, 1), unbroken);
  EXPECT_EQ(state_after(8, {3}, 2), unbroken);
  EXPECT_EQ(state_after(8, {1, 2, 7}, 1), unbroken);
  EXPECT_NE(state_after(7, {}, 1), unbroken);
}

std::vector<float> weights(const ShapesModel& model) {
  std::vector<float> values;
  aulos::nn::for_each_parameter(
      model, [&](const auto& p) { values.insert(values.end(), p.any().data(), p.any().data() + p.count()); });
  return values;
}

TEST(Trainer, OptionsDecide) {
  const auto averages = [](auto&& change) {
    Recipe recipe = tiny();
    change(recipe);
    Trainer trainer(recipe);
    trainer.set_total(4);
    Context context({.threads = 1});
    while (trainer.steps() < 4) trainer.step(context);
    return weights(trainer.average());
  };
  const std::vector<float> usual = averages([](Recipe&) {});
  EXPECT_EQ(averages([](Recipe&) {}), usual);
  EXPECT_NE(averages([](Recipe& r) { r.seed = 2; }), usual);
  EXPECT_NE(averages([](Recipe& r) { r.clip = 0.01; }), usual);
  EXPECT_NE(averages([](Recipe& r) { r.ema = 0; }), usual);
  EXPECT_NE(averages([](Recipe& r) { r.schedule = Schedule::cosine; }), usual);
  EXPECT_NE(averages([](Recipe& r) { r.dropout = 1; }), usual);
  EXPECT_NE(averages([](Recipe& r) { r.alone = 0; }), usual);
  EXPECT_NE(averages([](Recipe& r) { r.weight_decay = 1; }), usual);
}

// Two micro-batches make the update of their union, but for rounding.
TEST(Trainer, AccumulatesMicroBatches) {
  Recipe whole = tiny();
  whole.accumulate = 1;
  Trainer one(whole), two(tiny());
  Context context({.threads = 1});
  for (int i = 0; i < 3; ++i) {
    const Update a = one.step(context), b = two.step(context);
    EXPECT_NEAR(a.loss, b.loss, 1e-5);
    EXPECT_NEAR(a.gradient_norm, b.gradient_norm, 1e-4 * a.gradient_norm);
  }
}

TEST(Trainer, KeepsTheLastWeightsWithoutAverage) {
  Recipe recipe = tiny();
  recipe.ema = 0;
  Trainer trainer(recipe);
  Context context({.threads = 1});
  trainer.step(context);
  EXPECT_EQ(weights(trainer.model()), weights(trainer.average()));
}

TEST(Trainer, LearningRates) {
  Recipe recipe = tiny();
  recipe.lr = 1;
  recipe.cooldown = 0.5;
  recipe.shape = aulos::train::CooldownShape::linear;
  Trainer trainer(recipe);
  EXPECT_EQ(trainer.learning_rate(0), 0.5);  // warm-up
  EXPECT_EQ(trainer.learning_rate(1), 1);
  EXPECT_EQ(trainer.learning_rate(1000), 1);  // as long as nobody says when it ends
  trainer.set_total(8);
  EXPECT_EQ(trainer.learning_rate(3), 1);
  EXPECT_EQ(trainer.learning_rate(4), 0.75);
  EXPECT_EQ(trainer.learning_rate(7), 0);
  recipe.schedule = Schedule::cosine;
  Trainer cosine(recipe);
  cosine.set_total(8);
  EXPECT_NEAR(cosine.learning_rate(4), 0.5, 1e-12);
}

// Pictures, noise and times of a batch depend on the seed and their numbers, not on how they are cut into batches.
TEST(Trainer, BatchesAreCutFromOneSequence) {
  Context context({.threads = 2});
  const Trainer trainer(tiny());
  const FlowBatch whole = trainer.draw_batch(context, 10, 6), part = trainer.draw_batch(context, 13, 2);
  const Index values = 3 * 8 * 8;
  for (Index i = 0; i < 2; ++i) {
    EXPECT_EQ(whole.time(3 + i), part.time(i));
    EXPECT_GT(part.time(i), 0);
    EXPECT_LT(part.time(i), 1);
    for (Index k = 0; k < values; ++k) {
      ASSERT_EQ(whole.x0.data()[(3 + i) * values + k], part.x0.data()[i * values + k]);
      ASSERT_EQ(whole.noise.data()[(3 + i) * values + k], part.noise.data()[i * values + k]);
    }
    for (Index k = 0; k < 16; ++k) ASSERT_EQ(whole.ids(3 + i, k), part.ids(i, k));
  }
}

TEST(Trainer, WeightsReadBack) {
  const std::string path = file_of("aulos_trainer_weights.safetensors");
  const Trainer trainer(tiny());
  trainer.model().save(path, aulos::Dtype::f32);
  const ShapesModel model = ShapesModel::read(aulos::io::Checkpoint::open(path));
  model.save(path + "2", aulos::Dtype::f32);
  EXPECT_EQ(contents(path), contents(path + "2"));
  Context context({.threads = 1});
  const ShapesModel packed = ShapesModel::load(path);
  EXPECT_EQ(packed.draw(context, parse_prompt("a red star"), {.steps = 1}).size(), std::size_t{3 * 8 * 8});
  fs::remove(path);
  fs::remove(path + "2");
}

// The process dies in the middle of the file: the old one is still there, whole.
TEST(Trainer, AKilledSaveLeavesTheOldState) {
  const std::string path = file_of("aulos_trainer_killed.safetensors");
  Trainer trainer(tiny());
  trainer.save(path);
  const std::string before = contents(path);
  Context context({.threads = 1});
  trainer.step(context);
  const int status = aulos_tests::in_child([&] {
    const rlimit half{before.size() / 2, before.size() / 2};
    setrlimit(RLIMIT_FSIZE, &half);
    std::signal(SIGXFSZ, SIG_DFL);  // which kills
    trainer.save(path);
    return 0;
  });
  EXPECT_EQ(status, -1);
  EXPECT_EQ(contents(path), before);
  EXPECT_EQ(Trainer::resume(path).steps(), 0);
  trainer.save(path);  // what the dead one left is in nobody's way
  EXPECT_EQ(Trainer::resume(path).steps(), 1);
  fs::remove(path);
}

TEST(Trainer, RefusesWhatCannotBe) {
  const auto refused = [](auto&& change) {
    Recipe recipe = tiny();
    change(recipe);
    EXPECT_THROW(Trainer{recipe}, aulos::ConfigError);
  };
  refused([](Recipe& r) { r.patch = 3; });
  refused([](Recipe& r) { r.accumulate = 3; });
  refused([](Recipe& r) { r.text_width = 33; });
  refused([](Recipe& r) { r.head_width = 6; });
  const std::string path = file_of("aulos_trainer_none.safetensors");
  EXPECT_THROW(Trainer::resume(path), aulos::CheckpointError);
  Trainer(tiny()).model().save(path, aulos::Dtype::f32);
  EXPECT_THROW(Trainer::resume(path), aulos::CheckpointError);
  fs::remove(path);
}

TEST(Trainer, RecipesReadBack) {
  Recipe recipe = tiny();
  recipe.schedule = Schedule::cosine;
  recipe.shape = aulos::train::CooldownShape::sqrt;
  recipe.lr = 0.1 + 0.2;
  const Recipe read = Recipe::from_json(aulos::io::json::parse(recipe.to_json()));
  EXPECT_EQ(read.to_json(), recipe.to_json());
  EXPECT_EQ(read.lr, recipe.lr);
  EXPECT_EQ(read.schedule, Schedule::cosine);
  EXPECT_EQ(read.shape, aulos::train::CooldownShape::sqrt);
}

}  // namespace
