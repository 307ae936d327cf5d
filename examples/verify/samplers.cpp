// samplers: schedules, samplers and guidance on an analytic denoiser for Gaussian data.
#include <cmath>
#include <span>

#include "aulos/diffusion/diffusion_samplers.hpp"
#include "aulos/diffusion/flow_samplers.hpp"
#include "aulos/diffusion/guidance.hpp"
#include "verify/families.hpp"

namespace verify {

using namespace aulos;

namespace {

// Samplers run in double here; a case gives and takes float.
using State = Tensor<double, 2>;

State widen(Case& c, const float* values, const Shape<2>& shape) {
  State x = c.context().empty<double>(shape);
  for (Index i = 0; i < x.count(); ++i) x.mutable_data()[i] = static_cast<double>(values[i]);
  return x;
}

State initial(Case& c) {
  const auto x = c.input<2>("x_init");
  return widen(c, x.data(), x.shape());
}

// noise(i): row i of input noise [n, B, d].
auto noise_rows(Case& c) {
  const Tensor<float, 3> rows = c.has_input("noise") ? c.input<3>("noise") : Tensor<float, 3>{};
  return [&c, rows](Index i) {
    return widen(c, rows.data() + i * rows.stride(0), Shape<2>{rows.extent(1), rows.extent(2)});
  };
}

// Collects output/trajectory [n + 1, B, d].
class Trajectory {
 public:
  void operator()(Index, const State& x) const {
    shape_ = x.shape();
    for (Index i = 0; i < x.count(); ++i) values_.push_back(static_cast<float>(x.data()[i]));
    ++count_;
  }
  void output(Case& c) const { c.output("trajectory", {count_, shape_[0], shape_[1]}, values_); }

 private:
  mutable std::vector<float> values_;
  mutable Shape<2> shape_{};
  mutable Index count_ = 0;
};

// f(x, mean, variance) for every element, mean and variance [d].
template <class F>
State per_element(Case& c, const State& x, const Tensor<float, 1>& mean, const Tensor<float, 1>& variance, F f) {
  State y = c.context().empty<double>(x.shape());
  const Index d = x.extent(1);
  for (Index i = 0; i < x.count(); ++i)
    y.mutable_data()[i] = f(x.data()[i], static_cast<double>(mean(i % d)), static_cast<double>(variance(i % d)));
  return y;
}

double flow_velocity(double x, double m, double v, double t) {
  const double expected = m + (1 - t) * v / ((1 - t) * (1 - t) * v + t * t) * (x - (1 - t) * m);
  return (x - expected) / t;
}

template <class List>
void output_list(Case& c, const char* name, const List& list) {
  std::vector<float> values;
  for (const auto v : list) values.push_back(static_cast<float>(v));
  c.output(name, {static_cast<Index>(values.size())}, values);
}

void flow_match_euler(Case& c) {
  const auto& scheduler = *c.config().find("scheduler");
  diffusion::FlowScheduleOptions options{.steps = c.config().get<Index>("steps")};
  options.shift = scheduler.get_or<double>("shift", 1.0);
  if (c.config().get_or<std::string>("sigmas", "") == "linspace_1_to_1_over_n")
    options.base = diffusion::BaseSigmas::one_over_n;
  if (scheduler.get_or<bool>("use_dynamic_shifting", false)) options.dynamic_shift = c.config().get<double>("mu");
  if (const auto* terminal = scheduler.find("shift_terminal"); terminal != nullptr && !terminal->is_null())
    options.terminal = terminal->as<double>();
  const diffusion::FlowSchedule schedule = flow_schedule(options);
  const auto mean = c.input<1>("mean");
  const auto variance = c.input<1>("variance");
  const Trajectory trajectory;
  const auto velocity = [&](const State& x, Index i) {
    const double t = schedule.sigmas[static_cast<std::size_t>(i)];
    return per_element(c, x, mean, variance, [t](double v, double m, double s) { return flow_velocity(v, m, s, t); });
  };
  diffusion::flow_euler(schedule, initial(c), velocity, trajectory);
  trajectory.output(c);
  output_list(c, "sigmas", schedule.sigmas);
  output_list(c, "timesteps", schedule.timesteps);
}

void sit(Case& c) {
  diffusion::SitOptions options{.steps = c.config().get<Index>("steps")};
  options.guidance = c.config().get<double>("cfg_scale");
  options.guidance_low = c.config().get<double>("guidance_low");
  options.guidance_high = c.config().get<double>("guidance_high");
  options.method = c.config().get<std::string>("sampler") == "sit_euler_maruyama" ? diffusion::SitMethod::euler_maruyama
                   : c.config().get_or<bool>("heun", false)                       ? diffusion::SitMethod::heun
                                                                                  : diffusion::SitMethod::euler;
  const auto means = c.input<2>("means");
  const auto null_mean = c.input<1>("mean_null");
  const auto variance = c.input<1>("variance");
  const auto y = c.indices<1>("y");
  const auto conditional = [&](const State& x, double t) {
    State v = c.context().empty<double>(x.shape());
    for (Index b = 0; b < x.extent(0); ++b)
      for (Index i = 0; i < x.extent(1); ++i)
        v.mutable_data()[b * x.extent(1) + i] =
            flow_velocity(x(b, i), static_cast<double>(means(y(b), i)), static_cast<double>(variance(i)), t);
    return v;
  };
  const auto unconditional = [&](const State& x, double t) {
    return per_element(c, x, null_mean, variance,
                       [t](double v, double m, double s) { return flow_velocity(v, m, s, t); });
  };
  const State x = diffusion::sit_sample(options, initial(c), conditional, unconditional, noise_rows(c));
  std::vector<float> sample;
  for (Index i = 0; i < x.count(); ++i) sample.push_back(static_cast<float>(x.data()[i]));
  c.output("sample", {x.extent(0), x.extent(1)}, sample);
}

// Variance-preserving samplers: schedule, model output in the configured parameterisation.
struct Vp {
  std::vector<double> alphas;
  diffusion::TimestepOptions timesteps;
  diffusion::DenoiseOptions denoise;
};

Vp vp_setup(const Case& c) {
  const auto& s = *c.config().find("scheduler");
  diffusion::NoiseScheduleOptions noise;
  const std::string betas = s.get_or<std::string>("beta_schedule", "linear");
  if (betas == "scaled_linear") noise.betas = diffusion::BetaSchedule::scaled_linear;
  if (betas == "squaredcos_cap_v2") noise.betas = diffusion::BetaSchedule::squaredcos_cap_v2;
  noise.beta_start = s.get_or<double>("beta_start", noise.beta_start);
  noise.beta_end = s.get_or<double>("beta_end", noise.beta_end);
  Vp vp;
  vp.alphas = diffusion::alphas_cumprod(noise);
  vp.timesteps.steps = c.config().get<Index>("steps");
  vp.timesteps.offset = s.get_or<Index>("steps_offset", 0);
  const std::string spacing = s.get_or<std::string>("timestep_spacing", "leading");
  if (spacing == "trailing") vp.timesteps.spacing = diffusion::TimestepSpacing::trailing;
  if (spacing == "linspace") vp.timesteps.spacing = diffusion::TimestepSpacing::linspace;
  const std::string prediction = s.get_or<std::string>("prediction_type", "epsilon");
  if (prediction == "sample") vp.denoise.prediction = diffusion::Prediction::sample;
  if (prediction == "v_prediction") vp.denoise.prediction = diffusion::Prediction::v;
  if (s.get_or<bool>("clip_sample", false)) vp.denoise.clip = s.get_or<double>("clip_sample_range", 1.0);
  return vp;
}

auto vp_model(Case& c, const Vp& vp) {
  const auto mean = c.input<1>("mean");
  const auto variance = c.input<1>("variance");
  return [&c, &vp, mean, variance](const State& x, Index time) {
    const double a = std::sqrt(vp.alphas[static_cast<std::size_t>(time)]);
    const double s = std::sqrt(1 - vp.alphas[static_cast<std::size_t>(time)]);
    return per_element(c, x, mean, variance, [&](double v, double m, double spread) {
      const double expected = m + a * spread / (a * a * spread + s * s) * (v - a * m);
      const double eps = (v - a * expected) / s;
      switch (vp.denoise.prediction) {
        case diffusion::Prediction::epsilon:
          return eps;
        case diffusion::Prediction::sample:
          return expected;
        case diffusion::Prediction::v:
          return a * eps - s * expected;
      }
      return 0.0;
    });
  };
}

void vp_outputs(Case& c, const Vp& vp, const Trajectory& trajectory, const std::vector<Index>& times) {
  trajectory.output(c);
  output_list(c, "timesteps", times);
  std::vector<double> every_20th;
  for (std::size_t i = 0; i < vp.alphas.size(); i += 20) every_20th.push_back(vp.alphas[i]);
  output_list(c, "alphas_cumprod", every_20th);
}

void ddim(Case& c) {
  const Vp vp = vp_setup(c);
  diffusion::DdimOptions options{vp.timesteps, vp.denoise, c.config().get_or<double>("eta", 0.0)};
  options.set_alpha_to_one = c.config().find("scheduler")->get_or<bool>("set_alpha_to_one", true);
  const Trajectory trajectory;
  diffusion::ddim(options, std::span<const double>(vp.alphas), initial(c), vp_model(c, vp), noise_rows(c), trajectory);
  vp_outputs(c, vp, trajectory, diffusion::timesteps(vp.timesteps));
}

void ddpm(Case& c) {
  const Vp vp = vp_setup(c);
  diffusion::DdpmOptions options{vp.timesteps, vp.denoise};
  if (c.config().find("scheduler")->get_or<std::string>("variance_type", "fixed_small") == "fixed_large")
    options.variance = diffusion::DdpmVariance::fixed_large;
  const Trajectory trajectory;
  diffusion::ddpm(options, std::span<const double>(vp.alphas), initial(c), vp_model(c, vp), noise_rows(c), trajectory);
  vp_outputs(c, vp, trajectory, diffusion::timesteps(vp.timesteps));
}

void dpm_solver(Case& c) {
  const Vp vp = vp_setup(c);
  const Trajectory trajectory;
  diffusion::dpmpp_2m({vp.timesteps, vp.denoise}, std::span<const double>(vp.alphas), initial(c), vp_model(c, vp),
                      trajectory);
  vp_outputs(c, vp, trajectory, diffusion::dpm_timesteps(vp.timesteps));
  output_list(c, "sigmas", diffusion::dpm_sigmas(vp.timesteps, std::span<const double>(vp.alphas)));
}

void guidance(Case& c) {
  const auto number = [&](const char* name) { return c.config().get<double>(name); };
  const auto cond = c.input<3>("cond");
  const auto uncond = c.input<3>("uncond");
  const auto perturbed = c.input<3>("perturbed");
  const auto isolated = c.input<3>("isolated");
  const auto cfg = diffusion::classifier_free_guidance(uncond, cond, number("cfg_scale"));
  c.output("cfg", cfg);
  c.output("cfg_rescale", diffusion::rescale_guidance(cfg, cond, number("rescale_phi")));
  const auto modality =
      diffusion::modality_guidance(cond, uncond, perturbed, isolated,
                                   {number("ltx_cfg_scale"), number("ltx_stg_scale"), number("ltx_modality_scale")});
  c.output("modality_cfg", modality);
  c.output("modality_cfg_rescale_global",
           diffusion::rescale_guidance(modality, cond, number("ltx_rescale"), diffusion::RescaleOver::all));
  c.output("modality_cfg_rescale_per_sample", diffusion::rescale_guidance(modality, cond, number("ltx_rescale")));
  c.output("motion_free", diffusion::motion_free_guidance(uncond, cond, c.input<3>("motion_only"),
                                                          number("lambda_text"), number("lambda_motion")));
  c.output("ucg", diffusion::cross_guidance(uncond, cond, c.input<3>("text_only"), number("ucg_text_scale"),
                                            number("ucg_cross_scale")));
  c.output("model_guidance_target", diffusion::model_guidance_target(c.input<3>("velocity_target"), uncond, cond,
                                                                     c.input<1>("keep"), number("mg_scale")));
}

}  // namespace

void add_samplers(Registry& registry) {
  registry.add("samplers.flow_match_euler", flow_match_euler);
  registry.add("samplers.sit_euler", sit);
  registry.add("samplers.sit_euler_maruyama", sit);
  registry.add("samplers.ddim", ddim);
  registry.add("samplers.ddpm", ddpm);
  registry.add("samplers.dpmsolver++", dpm_solver);
  registry.add("samplers.guidance", guidance);
}

}  // namespace verify
