// Trains a small text-to-image model of shapes on pictures that are drawn on the way.
//
//     train_shapes                                   five minutes: weights, the state of the run, its curve
//     train_shapes --steps 4000 --schedule cosine
//     train_shapes --resume                          goes on from the state, bit for bit
//     score_shapes --single --prompts 50 --weights trained.safetensors
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "aulos/core/context.hpp"
#include "aulos/io/checkpoint.hpp"
#include "common/cli.hpp"
#include "common/output_file.hpp"
#include "common/plot.hpp"
#include "common/progress.hpp"
#include "common/trainer.hpp"

namespace {

using namespace aulos_examples;
using aulos::Index;

struct Options {
  Recipe recipe;
  Index steps = 0, stop = 0, save_every = 500;
  double minutes = 5;
  int threads = 0;
  std::string out = "trained.safetensors", state = "trained.state.safetensors", curve = "trained.svg", replay;
  bool resume = false;
};

// One command line option for each field of the recipe.
class RecipeOptions {
 public:
  explicit RecipeOptions(CLI::App& app) : app_(app) {}

  template <class V, class L, class M>
  void operator()(const char* name, V& value, L least, M most, const char* help) {
    added.push_back(
        add_number(app_, std::string("--") + name, value, static_cast<V>(least), static_cast<V>(most), help));
  }
  template <class E, std::size_t Count>
  void operator()(const char* name, E& value, const aulos::models::Spelling<E> (&spellings)[Count], const char* help) {
    std::vector<std::string> names;
    std::string now;
    for (const auto& spelling : spellings) {
      names.emplace_back(spelling.text);
      if (spelling.value == value) now = spelling.text;
    }
    const auto read = [&value, &spellings](const std::string& text) {
      for (const auto& spelling : spellings)
        if (spelling.text == text) value = spelling.value;
    };
    added.push_back(app_.add_option_function<std::string>(std::string("--") + name, read, help)
                        ->check(CLI::IsMember(names))
                        ->default_str(now));
  }

  std::vector<CLI::Option*> added;

 private:
  CLI::App& app_;
};

volatile std::sig_atomic_t interrupted = 0;

// The mean of each `width` losses.
PlotLine averaged(const std::vector<double>& losses, std::size_t width, const char* label, const char* colour) {
  PlotLine line{label, colour, {}};
  for (std::size_t end = width; end <= losses.size(); end += width) {
    double sum = 0;
    for (std::size_t i = end - width; i < end; ++i) sum += losses[i];
    line.points.emplace_back(static_cast<double>(end), sum / static_cast<double>(width));
  }
  return line;
}

// Weights and state first, for they can't be made again.
void save(const Trainer& trainer, const Options& options) {
  trainer.save(options.state);
  trainer.average().save(options.out, aulos::Dtype::bf16);
  const std::size_t updates = trainer.losses().size();
  write_svg(options.curve,
            {"training loss (mean squared error of the velocity)",
             "updates",
             {averaged(trainer.losses(), std::max<std::size_t>(updates / 500, 1), "loss", "#b9c7e4"),
              averaged(trainer.losses(), std::max<std::size_t>(updates / 50, 1), "its mean", "#1947a8")}});
}

// A run of so many minutes decays from when its stable phase has used its share of them.
void fix_total(Trainer& trainer, const Options& options) {
  const double stable = 1 - trainer.recipe().cooldown;
  if (trainer.total() > 0 || trainer.seconds < 60 * options.minutes * stable) return;
  trainer.set_total(std::max(trainer.steps() + 1, static_cast<Index>(static_cast<double>(trainer.steps()) / stable)));
}

Index expected_total(const Trainer& trainer, const Options& options) {
  Index total = trainer.total();
  if (total == 0)
    total = static_cast<Index>(static_cast<double>(trainer.steps()) * 60 * options.minutes /
                               std::max(trainer.seconds, 1e-3));
  return options.stop > 0 ? std::min(total, options.stop) : total;
}

int train(const Options& options) {
  check_output(options.out, ".safetensors");
  check_output(options.state, ".safetensors");
  check_output(options.curve, ".svg");
  Trainer trainer = options.resume ? Trainer::resume(options.state) : Trainer(options.recipe);
  const Recipe& recipe = trainer.recipe();
  if (!options.resume) trainer.set_total(options.steps);
  if (trainer.total() == 0 && (recipe.schedule == Schedule::cosine || recipe.cooldown > 0.9))
    throw aulos::ConfigError(
        "a run of so many minutes needs --schedule wsd and a --cooldown of at most 0.9; use --steps");

  aulos::Context context({.threads = options.threads});
  const Index first = trainer.steps();
  const double seconds_before = trainer.seconds;
  {
    Progress progress("training", std::max<Index>(trainer.total() - first, 1));
    std::signal(SIGINT, [](int) { interrupted = 1; });
    const auto finished = [&] {
      const Index last = options.stop > 0 ? options.stop : trainer.total();
      return interrupted != 0 || (last > 0 && trainer.steps() >= last) ||
             (trainer.total() > 0 && trainer.steps() >= trainer.total());
    };
    while (!finished()) {
      const Update update = trainer.step(context);
      trainer.seconds = seconds_before + progress.elapsed_seconds();
      fix_total(trainer, options);
      const double rate = static_cast<double>((trainer.steps() - first) * recipe.batch) / progress.elapsed_seconds();
      progress.set_total(expected_total(trainer, options) - first);
      progress.set_note("loss " + format_number(update.loss, 4) + "  lr " + format_number(1e3 * update.lr, 3) +
                        "e-3  " + format_number(rate, 0) + " pictures/s");
      progress.step();
      if (trainer.steps() % options.save_every == 0) save(trainer, options);
    }
    std::signal(SIGINT, SIG_DFL);
  }
  save(trainer, options);
  std::printf("%lld parameters, %lld updates of %lld pictures in %s\n%s\n%s\n%s\n",
              static_cast<long long>(aulos::nn::parameter_count(trainer.model())),
              static_cast<long long>(trainer.steps()), static_cast<long long>(recipe.batch),
              format_duration(trainer.seconds).c_str(), options.out.c_str(), options.state.c_str(),
              options.curve.c_str());
  return interrupted != 0 ? kFailure : kSuccess;
}

// The updates of a file that tools/train_curve.py made.
class Curve {
 public:
  explicit Curve(const std::string& path)
      : file_(aulos::io::Checkpoint::open(path)),
        loss_(file_.values<double>("loss")),
        norm_(file_.values<double>("gradient_norm")),
        lr_(file_.values<double>("lr")),
        average_loss_(file_.values<double>("average_loss")),
        x0_(file_.values<std::int64_t>("x0")),
        ids_(file_.values<std::int64_t>("ids")),
        noise_(file_.values<float>("noise")),
        time_(file_.values<float>("time")) {
    const auto shape = file_.info("x0").shape;
    const bool fits = shape.size() == 5 && shape[0] > 0 && file_.info("loss").count == shape[0] &&
                      file_.info("gradient_norm").count == shape[0] && file_.info("lr").count == shape[0] &&
                      file_.info("average_loss").count == 1 && noise_.size() == x0_.size() &&
                      file_.info("time").count == shape[0] * shape[1] &&
                      file_.info("ids").count % std::max<Index>(shape[0] * shape[1], 1) == 0;
    if (!fits) throw aulos::CheckpointError(path + ": the shapes are not those of a training curve");
  }

  const aulos::io::Checkpoint& file() const { return file_; }
  Index updates() const { return file_.info("x0").shape[0]; }
  Index batch() const { return file_.info("x0").shape[1]; }
  double loss(Index update) const { return loss_[at(update)]; }
  double norm(Index update) const { return norm_[at(update)]; }
  double lr(Index update) const { return lr_[at(update)]; }
  double average_loss() const { return average_loss_[0]; }

  // Pictures `first` to `first + count` of an update.
  FlowBatch pictures(aulos::Context& context, Index update, Index first, Index count) const {
    const auto shape = file_.info("x0").shape;
    const Index row = update * batch() + first, values = shape[2] * shape[3] * shape[4];
    const Index words = file_.info("ids").count / (updates() * batch());
    FlowBatch result;
    result.x0 = context.empty<float>(aulos::Shape<4>{count, shape[2], shape[3], shape[4]});
    for (Index i = 0; i < result.x0.count(); ++i)
      result.x0.mutable_data()[i] = static_cast<float>(x0_[at(row * values + i)]) / 127.5F - 1;
    result.noise = context.from<float>(result.x0.shape(), noise_.data() + row * values);
    result.time = context.from<float>(aulos::Shape<1>{count}, time_.data() + row);
    result.ids = context.from<std::int64_t>(aulos::Shape<2>{count, words}, ids_.data() + row * words);
    return result;
  }

 private:
  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }

  aulos::io::Checkpoint file_;
  std::vector<double> loss_, norm_, lr_, average_loss_;
  std::vector<std::int64_t> x0_, ids_;
  std::vector<float> noise_, time_;
};

std::string padded(double value) {
  const std::string text = format_number(value, 8);
  return std::string(12 - std::min<std::size_t>(text.size(), 12), ' ') + text;
}

std::string scientific(double value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::scientific, 1);
  return {text.data(), end.ptr};
}

double relative(double got, double want) { return std::abs(got - want) / std::max(std::abs(want), 1e-12); }

// Takes the same updates and prints both losses.
int replay(const Options& options) {
  constexpr double kTolerance = 1e-4;
  const Curve curve(options.replay);
  const std::string* recipe_text = curve.file().metadata().find("recipe");
  if (recipe_text == nullptr) throw aulos::CheckpointError(options.replay + ": no `recipe` in the metadata");
  const Recipe recipe = Recipe::from_json(aulos::io::json::parse(*recipe_text));
  Trainer trainer(recipe, ShapesModel::read(curve.file()));
  if (recipe.batch != curve.batch()) throw aulos::CheckpointError(options.replay + ": the recipe has another batch");
  trainer.set_total(curve.updates());
  aulos::Context context({.threads = options.threads});
  const Index each = recipe.batch / recipe.accumulate;
  double worst = 0, worst_norm = 0, worst_lr = 0;
  std::printf("update      PyTorch        aulos  relative difference\n");
  const auto compare = [&](const char* what, double want, double got) {
    const double difference = relative(got, want);
    worst = difference <= worst ? worst : difference;  // NaN is the worst
    std::printf("%-7s %s %s  %s%s\n", what, padded(want).c_str(), padded(got).c_str(), scientific(difference).c_str(),
                difference <= kTolerance ? "" : "  MISSED");
  };
  for (Index i = 0; i < curve.updates(); ++i) {
    std::vector<FlowBatch> batches;
    for (Index first = 0; first < recipe.batch; first += each)
      batches.push_back(curve.pictures(context, i, first, each));
    const Update update = trainer.step(context, batches);
    compare(number_text(i + 1).c_str(), curve.loss(i), update.loss);
    worst_norm = std::max(worst_norm, relative(update.gradient_norm, curve.norm(i)));
    worst_lr = std::max(worst_lr, relative(update.lr, curve.lr(i)));
  }
  const FlowBatch last = curve.pictures(context, curve.updates() - 1, 0, recipe.batch);
  compare("average", curve.average_loss(), static_cast<double>(Trainer::loss(context, trainer.average(), last)(0)));
  std::printf("largest relative difference of the loss %s (at most %s), of the gradient's norm %s, of the rate %s\n",
              scientific(worst).c_str(), scientific(kTolerance).c_str(), scientific(worst_norm).c_str(),
              scientific(worst_lr).c_str());
  return worst <= kTolerance ? kSuccess : kFailure;
}

}  // namespace

int main(int argc, char** argv) {
  if (const char* problem = aulos::unsupported_processor()) return report("train_shapes", problem);
  Options options;
  CLI::App app(
      "Trains a small text-to-image model of shapes on pictures drawn on the way.\n"
      "Exit status: 0, 1 if it was interrupted (the state is saved) or a replay differs, 2 on an error.",
      "train_shapes");
  app.add_option("--out", options.out, "the weights")->type_name("FILE")->capture_default_str();
  app.add_option("--state", options.state, "all that --resume goes on from")->type_name("FILE")->capture_default_str();
  app.add_option("--curve", options.curve, "the loss, as SVG")->type_name("FILE")->capture_default_str();
  add_number(app, "--minutes", options.minutes, 0.01, 100000, "how long a run without --steps takes");
  add_number(app, "--stop", options.stop, 0, Index{1} << 40, "stop after this update, to be resumed; 0: at the end");
  add_number(app, "--save-every", options.save_every, 1, Index{1} << 40, "updates between two saves");
  add_number(app, "--threads", options.threads, 0, 1024, "threads; 0: all processors");
  auto* const resume = app.add_flag("--resume", options.resume, "go on from --state, with the recipe that it holds");
  auto* const replayed =
      app.add_option("--replay", options.replay,
                     "take the updates of a file by tools/train_curve.py and compare with PyTorch's losses")
          ->type_name("FILE")
          ->excludes(resume);
  RecipeOptions recipe(app);
  recipe.added.push_back(
      add_number(app, "--steps", options.steps, 0, Index{1} << 40, "updates; 0: as many as fit into --minutes"));
  Recipe::fields(options.recipe, recipe);
  for (CLI::Option* option : recipe.added) option->excludes(resume)->excludes(replayed);
  return run_program(app, argc, argv, [&] { return options.replay.empty() ? train(options) : replay(options); });
}
