// Trains a small shapes model on pictures drawn on the fly: rectified flow, as tools/train_shapes.py.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "aulos/autograd/tape.hpp"
#include "aulos/core/context.hpp"
#include "aulos/models/config_fields.hpp"
#include "aulos/train/ema.hpp"
#include "aulos/train/optimizer.hpp"
#include "aulos/train/schedule.hpp"
#include "shapes_model.hpp"

namespace aulos_examples {

enum class Schedule { warmup_stable_decay, cosine };

inline constexpr aulos::models::Spelling<Schedule> kSchedules[] = {{Schedule::warmup_stable_decay, "wsd"},
                                                                   {Schedule::cosine, "cosine"}};
inline constexpr aulos::models::Spelling<aulos::train::CooldownShape> kCooldownShapes[] = {
    {aulos::train::CooldownShape::linear, "linear"},
    {aulos::train::CooldownShape::cosine, "cosine"},
    {aulos::train::CooldownShape::mirror_cosine, "mirror_cosine"},
    {aulos::train::CooldownShape::square, "square"},
    {aulos::train::CooldownShape::sqrt, "sqrt"},
    {aulos::train::CooldownShape::lowered_linear, "lowered_linear"}};

// All that decides the bits of a run but the number of its steps.
struct Recipe {
  aulos::Index side = 32, patch = 4, layers = 4, heads = 2, head_width = 32, text_layers = 1, text_width = 64;
  aulos::Index seed = 1, batch = 16, accumulate = 1;
  double alone = 1, dropout = 0.1, time_mean = 0.8, time_deviation = 1.2, shift = 3;
  double lr = 3e-3, beta1 = 0.9, beta2 = 0.99, weight_decay = 0.01, clip = 1, ema = 0.998;
  aulos::Index warmup = 100;
  Schedule schedule = Schedule::warmup_stable_decay;
  double cooldown = 0.3;
  aulos::train::CooldownShape shape = aulos::train::CooldownShape::cosine;

  // f(name, member, least, most, help), and f(name, member, spellings, help): reading, writing and the command line.
  template <class Self, class F>
  static void fields(Self& r, F&& f) {
    f("side", r.side, 8, 256, "of the pictures, in pixels");
    f("patch", r.patch, 1, 64, "side of a token's patch, in pixels");
    f("layers", r.layers, 1, 64, "joint blocks");
    f("heads", r.heads, 1, 64, "heads of attention");
    f("head-width", r.head_width, 4, 256, "channels of a head, a multiple of 4");
    f("text-layers", r.text_layers, 1, 64, "layers of the text encoder");
    f("text-width", r.text_width, 32, 4096, "channels of the text encoder, a multiple of 32");
    f("seed", r.seed, 0, std::int64_t{1} << 62, "of initial weights, pictures, times and noise");
    f("batch", r.batch, 1, 65536, "pictures of an update");
    f("accumulate", r.accumulate, 1, 65536, "micro-batches that an update's pictures are split into");
    f("alone", r.alone, 0, 1, "share of pictures with one object; the others have two");
    f("dropout", r.dropout, 0, 1, "share of prompts that are emptied, for guidance");
    f("time-mean", r.time_mean, -10, 10, "of the times' logits, normal; 1 is pure noise");
    f("time-deviation", r.time_deviation, 0, 10, "of the same; a tenth of the times is uniform");
    f("shift", r.shift, 0.01, 100, "towards noise of the times at which the model draws");
    f("lr", r.lr, 0, 1, "learning rate after warm-up");
    f("beta1", r.beta1, 0, 1, "of AdamW");
    f("beta2", r.beta2, 0, 1, "of AdamW");
    f("weight-decay", r.weight_decay, 0, 10, "of AdamW, on matrices");
    f("clip", r.clip, 0, 1e9, "largest norm of the gradient; 0: any");
    f("ema", r.ema, 0, 1, "decay of the averaged weights, which are the ones that are kept; 0: the last weights");
    f("warmup", r.warmup, 0, 1000000000, "updates up to the full learning rate");
    f("schedule", r.schedule, kSchedules, "of the learning rate: warm-up, stable, decay; or half a cosine");
    f("cooldown", r.cooldown, 0, 1, "share of the updates in which wsd decays");
    f("cooldown-shape", r.shape, kCooldownShapes, "how wsd decays");
  }

  ShapesConfig model() const;
  static Recipe from_json(const aulos::io::json::Value& json);
  std::string to_json() const;
};

// Pictures with noise, times in (0, 1) and token ids, a row each.
struct FlowBatch {
  aulos::Tensor<float, 4> x0, noise;
  aulos::Tensor<float, 1> time;
  aulos::Tensor<std::int64_t, 2> ids;
};

struct Update {
  double loss, gradient_norm, lr;
};

class Trainer {
 public:
  explicit Trainer(const Recipe& recipe);
  // From given weights; of the recipe's the model's sizes don't count then.
  Trainer(const Recipe& recipe, const ShapesModel& start);
  // From what save() wrote. The run goes on as if it had never stopped, bit for bit.
  static Trainer resume(const std::string& path);
  void save(const std::string& path) const;

  // One update. The step's pictures, times and noise depend on the seed and their number alone.
  Update step(aulos::Context& context);
  // One update with given micro-batches.
  Update step(aulos::Context& context, std::span<const FlowBatch> batches);
  // Pictures `first` and on.
  FlowBatch draw_batch(aulos::Context& context, aulos::Index first, aulos::Index count) const;
  // The mean squared error of the velocity.
  static aulos::Tensor<float, 1> loss(aulos::Context& context, const ShapesModel& model, const FlowBatch& batch);

  // How many updates the run is to have: the schedule needs it for its decay. 0: not known yet, which warm-up and the
  // stable phase of wsd can do without.
  void set_total(aulos::Index steps) { total_ = steps; }
  aulos::Index total() const { return total_; }
  aulos::Index steps() const { return static_cast<aulos::Index>(losses_.size()); }
  double learning_rate(aulos::Index step) const;

  const Recipe& recipe() const { return recipe_; }
  const ShapesModel& model() const { return model_; }
  const ShapesModel& average() const { return average_.model(); }

  // Of every update so far.
  const std::vector<double>& losses() const { return losses_; }
  // Of training so far, by whoever measures them; kept across resumes.
  double seconds = 0;

 private:
  Recipe recipe_;
  ShapesModel model_;
  aulos::train::Ema<ShapesModel> average_;
  aulos::train::AdamW<float> optimizer_;
  aulos::Index total_ = 0;
  std::vector<double> losses_;
};

}  // namespace aulos_examples
