// wsd-schedule: the learning-rate shapes and a training run.
#include <map>

#include "aulos/nn/feed_forward.hpp"
#include "aulos/ops/loss.hpp"
#include "aulos/train/clip.hpp"
#include "aulos/train/ema.hpp"
#include "aulos/train/optimizer.hpp"
#include "aulos/train/schedule.hpp"
#include "verify/families.hpp"
#include "verify/trajectory.hpp"

namespace verify {

using namespace aulos;

namespace {

const std::map<std::string, train::CooldownShape> shapes{
    {"linear", train::CooldownShape::linear},
    {"cosine", train::CooldownShape::cosine},
    {"mirror_cosine", train::CooldownShape::mirror_cosine},
    {"square", train::CooldownShape::square},
    {"sqrt", train::CooldownShape::sqrt},
    {"lowered_linear", train::CooldownShape::lowered_linear},
};

train::ScheduleOptions schedule_options(const io::json::Value& config) {
  return {.peak = config.get<double>("lr"),
          .warmup = config.get<Index>("warmup"),
          .total = config.get<Index>("total"),
          .final = config.get<double>("final")};
}

void schedule_shapes(Case& c) {
  const train::ScheduleOptions options = schedule_options(c.config());
  const Index cooldown = c.config().get<Index>("cooldown");
  const auto output = [&](const std::string& name, auto rate) {
    std::vector<float> rates;
    for (Index t = 0; t < options.total; ++t) rates.push_back(static_cast<float>(rate(t)));
    c.output(name, {options.total}, rates);
  };
  for (const auto& [name, shape] : shapes) {
    const train::CooldownShape kind = shape;
    output(name, [&](Index t) { return train::warmup_stable_decay(options, cooldown, kind, t); });
  }
  output("full_cosine", [&](Index t) { return train::cosine_schedule(options, t); });
}

struct TwoLayers {
  nn::Linear<float> fc1, fc2;

  Tensor<float, 2> operator()(const Tensor<float, 2>& x) const { return fc2(fc1(x, Activation::gelu)); }
  void visit(auto&& v) {
    v("fc1", fc1);
    v("fc2", fc2);
  }
};

void output_model(Case& c, const std::string& prefix, const TwoLayers& model) {
  nn::for_each_parameter(model, [&](const auto& p) {
    const float* x = p.any().data();
    c.output(prefix + p.name, p.shape, std::vector<float>(x, x + p.count()));
  });
}

}  // namespace

void trajectory(Case& c) {
  const io::json::Value& config = c.config();
  const auto x = c.input<3>("x");
  const auto y = c.indices<2>("y");
  const io::TensorInfo& fc1 = c.checkpoint().info("param/fc1.weight");
  const io::TensorInfo& fc2 = c.checkpoint().info("param/fc2.weight");
  TwoLayers model = c.module<TwoLayers>(
      TwoLayers{nn::Linear<float>(fc1.shape[1], fc1.shape[0]), nn::Linear<float>(fc2.shape[1], fc2.shape[0])});
  nn::unpack(model);  // in another mode than exact it was packed, and is trained from the values so rounded

  const train::ScheduleOptions options = schedule_options(config);
  const Index cooldown = config.get<Index>("cooldown");
  const train::CooldownShape shape = shapes.at(config.get<std::string>("shape"));
  const double clip = config.get<double>("clip");
  train::AdamW<float> optimizer({.beta1 = config.find("betas")->items()[0].as<double>(),
                                 .beta2 = config.find("betas")->items()[1].as<double>(),
                                 .eps = config.get<double>("eps"),
                                 .weight_decay = config.get<double>("weight_decay"),
                                 .decay = train::Decay::matrices_only});
  train::Ema<TwoLayers> ema(model, config.get<double>("ema"));
  std::vector<float> losses, norms, rates;
  GradTape tape(c.context());
  for (Index t = 0; t < options.total; ++t) {
    if (t == options.total - cooldown) {
      output_model(c, "before_cooldown.", model);
      optimizer.options.beta2 = config.get<double>("beta2_cooldown");
    }
    const auto loss = cross_entropy(model(x.select(0, t)), y.select(0, t));
    tape.backward(loss);
    const double lr = train::warmup_stable_decay(options, cooldown, shape, t);
    losses.push_back(loss(0));
    norms.push_back(static_cast<float>(train::clip_gradient_norm(model, tape, clip)));
    rates.push_back(static_cast<float>(lr));
    optimizer.step(model, tape, lr);
    ema.update(c.context(), model);
  }
  c.output("loss", {options.total}, losses);
  c.output("grad_norm", {options.total}, norms);
  c.output("lr", {options.total}, rates);
  output_model(c, "final.", model);
  output_model(c, "ema.", ema.model());
}

void add_wsd_schedule(Registry& registry) {
  registry.add("wsd-schedule.shapes", schedule_shapes);
  registry.add("wsd-schedule.trajectory", trajectory);
}

}  // namespace verify
