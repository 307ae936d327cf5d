#include "aulos/train/state.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/paths.hpp"
#include "train/gradients.hpp"

namespace {

using namespace train_support;
using aulos::Random;
using aulos::train::AdamW;
using aulos::train::Ema;
using aulos::train::EmaWarmup;
using aulos::train::Sgd;
using aulos::train::StateReader;
using aulos::train::StateWriter;

std::string file_of(const char* name) { return (aulos_tests::fresh_dir() / name).string(); }

template <class T>
class State : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(State, Types);

// What a run consists of. `other` has no gradient before update 4, so that its moments start late.
template <class T>
struct Run {
  Model<T> model;
  Ema<Model<T>> ema{model, 0.9, EmaWarmup::tenths};
  AdamW<T> adamw;
  Sgd<T> sgd{{.momentum = 0.9, .nesterov = true}};
  Random random{7, 3};
  Index step = 0;
  double seconds = 0.1;
  std::vector<double> losses;

  void update(Context& context) {
    GradTape tape(context);
    const double scale = random.normal();
    give_gradients<T>(
        tape, model, [&](const std::string&, Index i) { return scale * std::sin(static_cast<double>(i) + 1); },
        [&](const std::string& name) { return name != "table" && (name != "other" || step >= 4); });
    adamw.step(model, tape, 0.01);
    sgd.step(model, tape, 0.01);
    ema.update(context, model);
    losses.push_back(scale);
    ++step;
  }
  void save(const std::string& path) const {
    StateWriter state;
    state.metadata = {{"recipe", "{}"}};
    state.add("model.", model);
    state.add("ema.", ema);
    state.add("adamw.", adamw);
    state.add("sgd.", sgd);
    state.add("random", random);
    state.add("step", step);
    state.add("seconds", seconds);
    state.add("losses", losses);
    state.save(path);
  }
  void load(const std::string& path) {
    StateReader state(path);
    EXPECT_EQ(state.metadata().at("recipe"), "{}");
    state.read("model.", model);
    state.read("ema.", ema);
    state.read("adamw.", adamw, model);
    state.read("sgd.", sgd, model);
    state.read("random", random);
    state.read("step", step);
    state.read("seconds", seconds);
    state.read("losses", losses);
    state.finish();
  }
};

TYPED_TEST(State, ARunGoesOnBitForBit) {
  using T = TypeParam;
  Context context({.threads = 1});
  const std::string path = file_of("aulos_state_test.safetensors");
  for (const int stop : {0, 1, 4, 9}) {
    Run<T> unbroken;
    for (int i = 0; i < 10; ++i) unbroken.update(context);
    Run<T> first;
    for (int i = 0; i < stop; ++i) first.update(context);
    first.save(path);
    Run<T> second;
    Model<T>::fill(second.model, 9);
    second.random = Random(1);
    second.load(path);
    for (int i = stop; i < 10; ++i) second.update(context);
    EXPECT_EQ(second.model, unbroken.model) << stop;
    EXPECT_EQ(second.ema.model(), unbroken.ema.model());
    EXPECT_EQ(second.ema.updates(), 10);
    EXPECT_EQ(second.adamw.steps(), 10);
    EXPECT_EQ(second.random, unbroken.random);
    EXPECT_EQ(second.losses, unbroken.losses);
    ASSERT_EQ(second.adamw.state().size(), unbroken.adamw.state().size());
    for (std::size_t i = 0; i < second.adamw.state().size(); ++i) {
      const auto &a = second.adamw.state()[i], &b = unbroken.adamw.state()[i];
      EXPECT_EQ(a.name, b.name);
      EXPECT_EQ(a.first, b.first);
      EXPECT_EQ(a.second, b.second);
      EXPECT_EQ(a.steps, b.steps);
      EXPECT_EQ(second.sgd.state()[i].first, unbroken.sgd.state()[i].first);
    }
  }
  std::filesystem::remove(path);
}

TYPED_TEST(State, NamesAreThoseOfPyTorch) {
  using T = TypeParam;
  Context context({.threads = 1});
  const std::string path = file_of("aulos_state_names.safetensors");
  Run<T> run;
  run.update(context);
  run.save(path);
  const auto file = aulos::io::Checkpoint::open(path);
  for (const char* name : {"model.matrix", "model.table", "ema.matrix", "ema.updates", "adamw.exp_avg.matrix",
                           "adamw.exp_avg_sq.vector", "adamw.step.matrix", "adamw.steps", "sgd.momentum_buffer.matrix"})
    EXPECT_NE(file.find(name), nullptr) << name;
  EXPECT_EQ(file.find("adamw.exp_avg.other"), nullptr);  // no gradient yet
  EXPECT_EQ(file.values<Index>("adamw.step.other"), std::vector<Index>{0});
  EXPECT_EQ(file.info("adamw.exp_avg.matrix").dtype, aulos::dtype_of<T>);
  std::filesystem::remove(path);
}

TEST(StateErrors, NameWhatDoesNotFit) {
  const std::string path = file_of("aulos_state_errors.safetensors");
  const Model<float> saved;
  StateWriter state;
  state.add("model.", saved);
  state.add("step", Index{3});
  state.save(path);

  const auto expect_error = [&](auto&& read, const char* part) {
    StateReader reader(path);
    try {
      read(reader);
      ADD_FAILURE() << "no error: " << part;
    } catch (const aulos::CheckpointError& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  Model<double> wide;
  Model<float> model;
  double number = 0;
  Index whole = 5;
  AdamW<float> optimizer;
  expect_error([&](StateReader& r) { r.read("model.", wide); }, "'model.matrix': expected F64 [3, 5], got F32 [3, 5]");
  expect_error([&](StateReader& r) { r.read("ema.", model); }, "has no tensor 'ema.matrix'");
  expect_error([&](StateReader& r) { r.read("step", number); }, "'step': expected F64 [1], got I64 [1]");
  expect_error([&](StateReader& r) { r.read("optimizer.", optimizer, model); }, "has no tensor 'optimizer.steps'");
  expect_error(
      [&](StateReader& r) {
        r.read("step", whole);
        r.finish();
      },
      "not the state of this run");
  EXPECT_EQ(whole, 3);
  EXPECT_EQ(model, Model<float>());
  std::filesystem::remove(path);

  Model<float> unset;
  unset.vector = aulos::Parameter<float, 1>(Shape<1>{4});
  StateWriter writer;
  EXPECT_THROW(writer.add("model.", unset), aulos::Error);
}

}  // namespace
