#include "trainer.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/loss.hpp"
#include "aulos/train/clip.hpp"
#include "aulos/train/state.hpp"
#include "scenes.hpp"

namespace aulos_examples {

using aulos::Index;
using aulos::Tensor;

namespace {

constexpr double kUniformTimes = 0.1;
constexpr std::uint64_t kNoiseStreams = std::uint64_t{1} << 63, kWeightStream = ~std::uint64_t{0};

const Recipe& checked(const Recipe& r) {
  const auto require = [](bool holds, const char* what) {
    if (!holds) throw aulos::ConfigError(std::string("recipe: ") + what);
  };
  require(r.side % r.patch == 0, "side is no multiple of patch");
  require(r.head_width % 4 == 0, "head-width is no multiple of 4");
  require(r.text_width % 32 == 0, "text-width is no multiple of 32");
  require(r.batch % r.accumulate == 0, "batch is no multiple of accumulate");
  return r;
}

ShapesModel initial_model(const Recipe& recipe) {
  ShapesModel model(checked(recipe).model());
  aulos::Random random(static_cast<std::uint64_t>(recipe.seed), kWeightStream);
  model.initialise(random);
  return model;
}

class Reader {
 public:
  explicit Reader(const aulos::io::json::Value& json) : read_("recipe", json) {}
  template <class V, class L, class M>
  void operator()(const char* name, V& value, L, M, const char*) const {
    read_(name, value);
  }
  template <class E, std::size_t Count>
  void operator()(const char* name, E& value, const aulos::models::Spelling<E> (&spellings)[Count], const char*) const {
    read_(name, value, spellings);
  }

 private:
  aulos::models::FieldReader read_;
};

class Writer {
 public:
  explicit Writer(aulos::io::json::Writer& json) : write_(json) {}
  template <class V, class L, class M>
  void operator()(const char* name, const V& value, L, M, const char*) const {
    write_(name, value);
  }
  template <class E, std::size_t Count>
  void operator()(const char* name, const E& value, const aulos::models::Spelling<E> (&spellings)[Count],
                  const char*) const {
    write_(name, value, spellings);
  }

 private:
  aulos::models::FieldWriter write_;
};

}  // namespace

ShapesConfig Recipe::model() const {
  ShapesConfig c;
  c.transformer = {.sample_size = side,
                   .patch_size = patch,
                   .in_channels = 3,
                   .out_channels = 3,
                   .num_layers = layers,
                   .attention_head_dim = head_width,
                   .num_attention_heads = heads,
                   .joint_attention_dim = text_width,
                   .pooled_projection_dim = text_width,
                   .pos_embed_max_size = side / patch,
                   .qk_norm = aulos::models::QkNormKind::rms_norm};
  c.text_encoder.vocab_size = static_cast<Index>(Vocabulary::of_the_language().size());
  c.text_encoder.hidden_size = text_width;
  c.text_encoder.num_hidden_layers = text_layers;
  c.text_encoder.num_attention_heads = text_width / 32;
  c.text_encoder.intermediate_size = 4 * text_width;
  c.shift = shift;
  c.guidance = 3;
  return c;
}

Recipe Recipe::from_json(const aulos::io::json::Value& json) {
  Recipe recipe;
  fields(recipe, Reader(json));
  return checked(recipe);
}

std::string Recipe::to_json() const {
  aulos::io::json::Writer json;
  json.begin_object();
  fields(*this, Writer(json));
  json.end_object();
  return json.take();
}

Trainer::Trainer(const Recipe& recipe) : Trainer(recipe, initial_model(recipe)) {}

Trainer::Trainer(const Recipe& recipe, const ShapesModel& start)
    : recipe_(checked(recipe)),
      model_(start),
      average_(model_, recipe.ema, aulos::train::EmaWarmup::tenths),
      optimizer_({.beta1 = recipe.beta1,
                  .beta2 = recipe.beta2,
                  .weight_decay = recipe.weight_decay,
                  .decay = aulos::train::Decay::matrices_only}) {}

Trainer Trainer::resume(const std::string& path) {
  aulos::train::StateReader state(path);
  const std::string* found = state.metadata().find("recipe");
  if (found == nullptr)
    throw aulos::CheckpointError(path + ": no `recipe` in the metadata; is this the state of a training?");
  Trainer trainer(Recipe::from_json(aulos::io::json::parse(*found)));
  state.read("model.", trainer.model_);
  state.read("ema.", trainer.average_);
  state.read("optimizer.", trainer.optimizer_, trainer.model_);
  state.read("losses", trainer.losses_);
  state.read("total", trainer.total_);
  state.read("seconds", trainer.seconds);
  state.finish();
  return trainer;
}

void Trainer::save(const std::string& path) const {
  aulos::train::StateWriter state;
  state.metadata = {{"recipe", recipe_.to_json()}};
  state.add("model.", model_);
  state.add("ema.", average_);
  state.add("optimizer.", optimizer_);
  state.add("losses", losses_);
  state.add("total", total_);
  state.add("seconds", seconds);
  state.save(path);
}

FlowBatch Trainer::draw_batch(aulos::Context& context, Index first, Index count) const {
  const Index side = model_.side();
  FlowBatch batch;
  batch.x0 = context.empty<float>(aulos::Shape<4>{count, 3, side, side});
  batch.noise = context.empty<float>(batch.x0.shape());
  batch.time = context.empty<float>(aulos::Shape<1>{count});
  std::vector<std::vector<std::string>> captions(static_cast<std::size_t>(count));
  const auto seed = static_cast<std::uint64_t>(recipe_.seed);
  float* const x0 = batch.x0.mutable_data();
  float* const noise = batch.noise.mutable_data();
  float* const time = batch.time.mutable_data();
  const auto draw = [&](Index i, aulos::Scratch&) {
    const auto number = static_cast<std::uint64_t>(first + i);
    const Index values = 3 * side * side;
    DrawnScene scene = draw_scene(seed, number, recipe_.alone);
    paint(scene, static_cast<int>(side), x0 + i * values);
    aulos::Random random(seed, number | kNoiseStreams);
    random.normal(noise + i * values, values);
    const double logit = recipe_.time_mean + recipe_.time_deviation * random.normal();
    const bool uniform = random.uniform01() < kUniformTimes;
    time[i] = static_cast<float>(uniform ? random.uniform01() : 1 / (1 + std::exp(-logit)));
    if (random.uniform01() >= recipe_.dropout) captions[static_cast<std::size_t>(i)] = std::move(scene.caption);
  };
  context.run("draw_batch", {.flops = 1e6 * static_cast<double>(count)},
              [&](aulos::Threads threads) { threads.run(count, draw); });
  batch.ids = model_.tokens(context, captions);
  return batch;
}

Tensor<float, 1> Trainer::loss(aulos::Context& context, const ShapesModel& model, const FlowBatch& batch) {
  const Index count = batch.x0.extent(0), values = batch.x0.count() / std::max<Index>(count, 1);
  auto x = context.empty<float>(batch.x0.shape());
  for (Index i = 0; i < count; ++i) {
    const float t = batch.time(i);
    const float *x0 = batch.x0.data() + i * values, *noise = batch.noise.data() + i * values;
    float* const mixed = x.mutable_data() + i * values;
    for (Index k = 0; k < values; ++k) mixed[k] = (1 - t) * x0[k] + t * noise[k];
  }
  const auto target = aulos::subtract(batch.noise, batch.x0);
  return aulos::mse_loss(model.velocity(context, x, batch.ids, batch.time), target);
}

Update Trainer::step(aulos::Context& context) {
  const Index each = recipe_.batch / recipe_.accumulate;
  std::vector<FlowBatch> batches;
  for (Index i = 0; i < recipe_.accumulate; ++i)
    batches.push_back(draw_batch(context, steps() * recipe_.batch + i * each, each));
  return step(context, batches);
}

Update Trainer::step(aulos::Context& context, std::span<const FlowBatch> batches) {
  Update update{0, 0, learning_rate(steps())};
  const double share = 1.0 / static_cast<double>(batches.size());
  aulos::GradTape tape(context);
  for (const FlowBatch& batch : batches) {
    const auto loss = aulos::scale(Trainer::loss(context, model_, batch), static_cast<float>(share));
    tape.backward(loss, aulos::Accumulate::add);
    update.loss += static_cast<double>(loss(0));
  }
  update.gradient_norm = recipe_.clip > 0 ? aulos::train::clip_gradient_norm(model_, tape, recipe_.clip)
                                          : aulos::train::gradient_norm(model_, tape);
  optimizer_.step(model_, tape, update.lr);
  average_.update(context, model_);
  losses_.push_back(update.loss);
  return update;
}

double Trainer::learning_rate(Index step) const {
  const Index total = total_ > 0 ? std::max(total_, step + 1) : std::max(step, recipe_.warmup) + 1;
  const aulos::train::ScheduleOptions options{
      .peak = recipe_.lr, .warmup = std::min(recipe_.warmup, total), .total = total};
  if (recipe_.schedule == Schedule::cosine) return aulos::train::cosine_schedule(options, step);
  const Index decay = total_ > 0 ? static_cast<Index>(recipe_.cooldown * static_cast<double>(total)) : 0;
  return aulos::train::warmup_stable_decay(options, std::min(decay, total - options.warmup), recipe_.shape, step);
}

}  // namespace aulos_examples
