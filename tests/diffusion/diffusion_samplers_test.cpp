#include "aulos/diffusion/diffusion_samplers.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "diffusion/gaussian.hpp"

namespace {

using namespace diffusion_support;
using namespace aulos::diffusion;

// The Gaussian denoiser's output at time t, in the given parameterisation.
struct Model {
  Context& context;
  const std::vector<double>& alphas;
  Prediction prediction = Prediction::epsilon;

  Batch operator()(const Batch& x, Index t) const {
    const double a = std::sqrt(alphas[static_cast<std::size_t>(t)]);
    const double s = std::sqrt(1 - alphas[static_cast<std::size_t>(t)]);
    return map(context, x, [&](double v, std::size_t c) {
      const double x0 = expected(v, c, a, s), eps = (v - a * x0) / s;
      return prediction == Prediction::epsilon ? eps : prediction == Prediction::sample ? x0 : a * eps - s * x0;
    });
  }
};

constexpr Prediction predictions[] = {Prediction::epsilon, Prediction::sample, Prediction::v};

// States of a run: the one in the middle and the last.
struct Watch {
  std::vector<std::vector<double>> states;
  void operator()(Index i, const Batch& x) {
    EXPECT_EQ(i, static_cast<Index>(states.size()));
    states.push_back(values(x));
  }
};

void expect_states(const Watch& watch, const std::vector<double>& middle, const std::vector<double>& last) {
  const auto& at = watch.states[watch.states.size() / 2];
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(at[i], middle[i], 2e-7) << i;
    EXPECT_NEAR(watch.states.back()[i], last[i], 2e-7) << i;
  }
}

// Numbers of the reference implementation (PyTorch, run in double) for the data, start and noise of gaussian.hpp. The
// three parameterisations are one model and give the same numbers.
TEST(DiffusionSamplers, DdimReferenceNumbers) {
  Context context({.threads = 1});
  const auto z = [&](Index i) { return noise(context, i); };
  for (const Prediction prediction : predictions) {
    const std::vector<double> cosine = alphas_cumprod({.betas = BetaSchedule::squaredcos_cap_v2});
    Watch watch;
    ddim<double, 2>({.timesteps = {.steps = 6, .spacing = TimestepSpacing::trailing},
                     .denoise = {.prediction = prediction, .clip = 0.8},
                     .eta = 0.5},
                    cosine, start(context), Model{context, cosine, prediction}, z, std::ref(watch));
    expect_states(watch, {1.1167858, -0.8730336, 0.0090237, -0.9849172, -0.2821939, 0.9003716},
                  {0.7139976, -0.8002550, 0.3553342, -0.0218561, -0.3535013, 0.7736961});

    const std::vector<double> linear = alphas_cumprod({});
    Watch second;
    ddim<double, 2>({.timesteps = {.steps = 7, .offset = 3},
                     .denoise = {.prediction = prediction},
                     .eta = 1,
                     .set_alpha_to_one = false},
                    linear, start(context), Model{context, linear, prediction}, z, std::ref(second));
    expect_states(second, {0.2444559, -1.6886455, -0.0531475, 0.2336703, 0.2702848, 2.8249004},
                  {0.2162033, -1.9447194, 0.7376723, 0.7256036, -0.0936403, 3.4832807});
  }
}

TEST(DiffusionSamplers, DdpmReferenceNumbers) {
  Context context({.threads = 1});
  const auto z = [&](Index i) { return noise(context, i); };
  for (const Prediction prediction : predictions) {
    const std::vector<double> linear = alphas_cumprod({});
    Watch watch;
    ddpm<double, 2>({.timesteps = {.steps = 7, .spacing = TimestepSpacing::linspace},
                     .denoise = {.prediction = prediction},
                     .variance = DdpmVariance::fixed_large},
                    linear, start(context), Model{context, linear, prediction}, z, std::ref(watch));
    expect_states(watch, {0.0052882, -1.7875180, -0.1641163, 0.3802866, 0.5712685, 2.5453296},
                  {-0.4107186, -2.2438486, 1.2700954, 1.3779749, 0.3207781, 3.0060304});

    const std::vector<double> scaled = alphas_cumprod({.betas = BetaSchedule::scaled_linear});
    Watch second;
    ddpm<double, 2>({.timesteps = {.steps = 5, .spacing = TimestepSpacing::trailing},
                     .denoise = {.prediction = prediction, .clip = 1.0}},
                    scaled, start(context), Model{context, scaled, prediction}, z, std::ref(second));
    expect_states(second, {0.8352068, -1.1950036, -0.1391727, -0.2358401, -0.3761929, 1.6107704},
                  {0.5391405, -1.0000000, 0.2029224, 0.3847577, -0.4491712, 1.0000000});
  }
}

TEST(DiffusionSamplers, DpmSolverReferenceNumbers) {
  Context context({.threads = 1});
  for (const Prediction prediction : predictions) {
    const std::vector<double> cosine = alphas_cumprod({.betas = BetaSchedule::squaredcos_cap_v2});
    Watch watch;
    dpmpp_2m<double, 2>(
        {.timesteps = {.steps = 6, .spacing = TimestepSpacing::linspace}, .denoise = {.prediction = prediction}},
        cosine, start(context), Model{context, cosine, prediction}, std::ref(watch));
    expect_states(watch, {0.5866015, -1.3516282, 2.6708487, -0.5924268, -0.3301311, 2.4403575},
                  {0.6416828, -1.6417903, 3.5437893, -0.0667892, -0.6331917, 3.2630752});

    const std::vector<double> scaled =
        alphas_cumprod({.betas = BetaSchedule::scaled_linear, .beta_start = 0.00085, .beta_end = 0.012});
    Watch second;
    dpmpp_2m<double, 2>(
        {.timesteps = {.steps = 5, .spacing = TimestepSpacing::trailing}, .denoise = {.prediction = prediction}},
        scaled, start(context), Model{context, scaled, prediction}, std::ref(second));
    expect_states(second, {0.5456537, -1.2610019, 2.4711392, -0.6914882, -0.2018968, 2.2291735},
                  {0.5977328, -1.5281557, 3.3777089, 0.0463336, -0.6085119, 3.0917200});
  }
}

TEST(DiffusionSamplers, DpmTimes) {
  using V = std::vector<Index>;
  EXPECT_EQ(dpm_timesteps({.steps = 6, .spacing = TimestepSpacing::linspace}), (V{999, 832, 666, 500, 333, 166}));
  EXPECT_EQ(dpm_timesteps({.steps = 5, .spacing = TimestepSpacing::trailing}), (V{999, 799, 599, 399, 199}));
  EXPECT_EQ(dpm_timesteps({.steps = 4, .offset = 1}), (V{801, 601, 401, 201}));
  const std::vector<double> alphas = alphas_cumprod({});
  const std::vector<double> sigmas = dpm_sigmas({.steps = 4, .offset = 1}, alphas);
  ASSERT_EQ(sigmas.size(), 5u);
  EXPECT_DOUBLE_EQ(sigmas[3], std::sqrt((1 - alphas[201]) / alphas[201]));
  EXPECT_EQ(sigmas[4], 0);
}

// Where the noise has a unit variance at the start, the map ends at the data's standard deviation: the error falls with
// the number of steps, linearly for DDIM, with its square for DPM-Solver++(2M) but for the first and last step.
TEST(DiffusionSamplers, OrderOfConvergence) {
  Context context({.threads = 1});
  const std::vector<double> alphas =
      alphas_cumprod({.betas = BetaSchedule::linear, .beta_start = 1e-5, .beta_end = 2e-3, .train_steps = 10000});
  const double a0 = alphas[0], aT = alphas[9999];
  // The exact solution of the probability flow between two times keeps (x - alpha m) / sqrt(alpha^2 V + sigma^2).
  const std::vector<double> want = values(map(context, start(context), [&](double x, std::size_t c) {
    const double v = variance[c];
    return std::sqrt(a0) * mean[c] +
           std::sqrt(a0 * v + 1 - a0) * (x - std::sqrt(aT) * mean[c]) / std::sqrt(aT * v + 1 - aT);
  }));
  const auto none = [](Index) { return Batch(); };
  const auto error = [&](bool second_order, Index steps) {
    const TimestepOptions times{.steps = steps, .spacing = TimestepSpacing::trailing, .train_steps = 10000};
    const Model model{context, alphas};
    return distance(second_order ? dpmpp_2m<double, 2>({.timesteps = times}, alphas, start(context), model)
                                 : ddim<double, 2>({.timesteps = times}, alphas, start(context), model, none),
                    want);
  };
  EXPECT_NEAR(std::log2(error(false, 100) / error(false, 200)), 1, 0.3);
  EXPECT_LT(error(true, 100), 0.1 * error(false, 100));
  EXPECT_LT(error(true, 200), 0.45 * error(true, 100));
}

// DDIM with eta = 1 over all times is DDPM with the small variance.
TEST(DiffusionSamplers, DdimWithNoiseIsDdpm) {
  Context context({.threads = 1});
  const std::vector<double> alphas = alphas_cumprod({.train_steps = 40});
  const TimestepOptions times{.steps = 40, .train_steps = 40};
  const Model model{context, alphas};
  const auto z = [&](Index i) { return noise(context, i); };
  Watch by_ddim, by_ddpm;
  ddim<double, 2>({.timesteps = times, .eta = 1}, alphas, start(context), model, z, std::ref(by_ddim));
  ddpm<double, 2>({.timesteps = times}, alphas, start(context), model, z, std::ref(by_ddpm));
  for (std::size_t i = 0; i < by_ddim.states.size(); ++i)
    for (std::size_t k = 0; k < 6; ++k) ASSERT_NEAR(by_ddim.states[i][k], by_ddpm.states[i][k], 1e-9) << i;
}

TEST(DiffusionSamplers, OneStepIsTheDataPrediction) {
  Context context({.threads = 1});
  const std::vector<double> alphas = alphas_cumprod({});
  const auto none = [](Index) { return Batch(); };
  for (const TimestepSpacing spacing : {TimestepSpacing::leading, TimestepSpacing::trailing}) {
    const TimestepOptions times{.steps = 1, .spacing = spacing};
    const auto x0 = [&](Index t) {
      const double a = alphas[static_cast<std::size_t>(t)];
      return values(map(context, start(context),
                        [&](double v, std::size_t c) { return expected(v, c, std::sqrt(a), std::sqrt(1 - a)); }));
    };
    expect_near(dpmpp_2m<double, 2>({.timesteps = times}, alphas, start(context), Model{context, alphas}),
                x0(dpm_timesteps(times)[0]), 1e-12);
    expect_near(ddim<double, 2>({.timesteps = times}, alphas, start(context), Model{context, alphas}, none),
                x0(timesteps(times)[0]), 1e-12);
  }
}

// The exact answer for data that is one constant: finite throughout, and exact at the end.
TEST(DiffusionSamplers, ConstantDataComeOutExactly) {
  Context context({.threads = 1});
  const auto z = [&](Index i) { return noise(context, i); };
  for (const BetaSchedule betas :
       {BetaSchedule::linear, BetaSchedule::scaled_linear, BetaSchedule::squaredcos_cap_v2}) {
    const std::vector<double> alphas = alphas_cumprod({.betas = betas});
    const auto model = [&](const Batch& x, Index t) {
      const double a = alphas[static_cast<std::size_t>(t)];
      return map(context, x, [a](double v, std::size_t) { return (v - std::sqrt(a) * 0.7) / std::sqrt(1 - a); });
    };
    for (const TimestepSpacing spacing :
         {TimestepSpacing::leading, TimestepSpacing::trailing, TimestepSpacing::linspace}) {
      for (const Index steps : {1, 2, 3, 5, 11, 14, 20}) {
        const TimestepOptions times{.steps = steps, .spacing = spacing};
        const std::vector<double> want(6, 0.7);
        expect_near(dpmpp_2m<double, 2>({.timesteps = times}, alphas, start(context), model), want, 1e-6);
        if (spacing == TimestepSpacing::trailing) continue;  // its last step does not reach time 0 exactly
        expect_near(ddpm<double, 2>({.timesteps = times}, alphas, start(context), model, z), want, 1e-6);
        if (spacing == TimestepSpacing::leading) {
          expect_near(ddim<double, 2>({.timesteps = times}, alphas, start(context), model, z), want, 1e-6);
        }
      }
    }
  }
}

TEST(DiffusionSamplers, NoNoiseIsAskedForAtTimeZeroOrWithoutEta) {
  Context context({.threads = 1});
  const std::vector<double> alphas = alphas_cumprod({});
  std::vector<Index> asked;
  const auto z = [&](Index i) {
    asked.push_back(i);
    return noise(context, i);
  };
  ddim<double, 2>({.timesteps = {.steps = 4}}, alphas, start(context), Model{context, alphas}, z);
  EXPECT_TRUE(asked.empty());
  ddpm<double, 2>({.timesteps = {.steps = 4}}, alphas, start(context), Model{context, alphas}, z);
  EXPECT_EQ(asked, (std::vector<Index>{0, 1, 2}));
}

TEST(DiffusionSamplerErrors, NameTheField) {
  Context context({.threads = 1});
  const std::vector<double> alphas = alphas_cumprod({.train_steps = 100});
  const auto model = [](const Batch& x, Index) { return x; };
  const auto z = [&](Index i) { return noise(context, i); };
  EXPECT_EQ(config_error([&] { ddim<double, 2>({}, alphas, start(context), model, z); }),
            "ddim: train_steps is 1000, but alphas has 100 entries");
  EXPECT_EQ(config_error([&] { ddpm<double, 2>({}, alphas, start(context), model, z); }),
            "ddpm: train_steps is 1000, but alphas has 100 entries");
  EXPECT_EQ(config_error([&] { dpmpp_2m<double, 2>({}, alphas, start(context), model); }),
            "dpm_sigmas: train_steps is 1000, but alphas has 100 entries");
  const TimestepOptions times{.steps = 10, .train_steps = 100};
  for (const double eta : {-0.5, 1.5, std::nan("")}) {
    EXPECT_EQ(config_error([&] {
                ddim<double, 2>({.timesteps = times, .eta = eta}, alphas, start(context), model, z);
              }).find("ddim: eta is "),
              0u);
  }
  EXPECT_EQ(config_error([&] {
              dpmpp_2m<double, 2>({.timesteps = {.steps = 100, .train_steps = 100}}, alphas, start(context), model);
            }),
            "timesteps: steps is 100, expected 1 to 99");
}

}  // namespace
