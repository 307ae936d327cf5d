// dit: the diffusion process, with a constant for the network.
#include "aulos/diffusion/gaussian_diffusion.hpp"
#include "verify/families.hpp"

namespace verify {

using namespace aulos;

namespace {

diffusion::GaussianDiffusion process_of(const io::json::Value& config) {
  diffusion::GaussianDiffusionOptions o;
  const std::string schedule = config.get_or<std::string>("noise_schedule", "linear");
  if (schedule == "squaredcos_cap_v2") o.betas = diffusion::BetaSchedule::squaredcos_cap_v2;
  o.train_steps = config.get_or<Index>("diffusion_steps", 1000);
  o.respacing = config.get_or<std::string>("timestep_respacing", "");
  if (config.get_or<bool>("predict_xstart", false)) o.prediction = diffusion::Prediction::sample;
  if (!config.get_or<bool>("learn_sigma", true)) o.variance = diffusion::ReverseVariance::fixed_large;
  return diffusion::GaussianDiffusion(o);
}

void diffusion_case(Case& c) {
  const diffusion::GaussianDiffusion process = process_of(c.config());
  const auto x0 = c.input<4>("x0");
  const auto noise = c.input<4>("noise");
  const auto x = c.input<4>("x");
  const auto output = c.input<4>("model_output");
  const auto steps = c.indices<1>("t");
  const std::vector<Index> t(steps.data(), steps.data() + steps.count());

  const Index n = process.steps();
  std::vector<float> betas, alphas, model_t;
  for (double beta : process.betas()) betas.push_back(static_cast<float>(beta));
  for (double a : process.alphas_cumprod()) alphas.push_back(static_cast<float>(a));
  for (Index i : t) model_t.push_back(static_cast<float>(process.timestep_map()[static_cast<std::size_t>(i)]));
  c.output("betas", {n}, betas);
  c.output("alphas_cumprod", {n}, alphas);
  c.output("timestep_map", {n},
           std::vector<std::int64_t>(process.timestep_map().begin(), process.timestep_map().end()));
  c.output("model_t", {steps.count()}, model_t);

  std::optional<double> clip;
  if (c.config().get_or<bool>("clip_denoised", true)) clip = 1.0;
  const auto step = process.reverse(x, output, t, clip);
  c.output("pred_x0", step.x0);
  c.output("mean", step.mean);
  c.output("log_variance", add(step.log_variance, c.context().zeros<float>(x.shape())));
  c.output("ddpm_sample", process.ddpm_step(step, t, noise));
  c.output("ddim_sample", process.ddim_step(x, step, t, noise, c.config().get_or<double>("eta", 0.0)));
  c.output("q_sample", process.q_sample(x0, t, noise));
  const auto losses = process.losses(x0, noise, output, t);
  c.output("loss_mse", losses.mse);
  if (!losses.vb.empty()) c.output("loss_vb", losses.vb);
}

}  // namespace

void add_dit_diffusion(Registry& registry) { registry.add("dit.diffusion", diffusion_case); }

}  // namespace verify
