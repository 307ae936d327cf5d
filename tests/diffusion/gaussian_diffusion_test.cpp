#include "aulos/diffusion/gaussian_diffusion.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "aulos/autograd/gradcheck.hpp"
#include "aulos/diffusion/diffusion_samplers.hpp"
#include "diffusion/gaussian.hpp"

namespace {

using namespace diffusion_support;
using namespace aulos::diffusion;
using aulos::AnyTensor;

constexpr Prediction predictions[] = {Prediction::epsilon, Prediction::sample, Prediction::v};
using Steps = std::vector<Index>;

// [B, 2 C]: the prediction, then the range.
Batch with_range(Context& context, const Batch& prediction, double range) {
  return concat(std::array{prediction, context.full<double>(prediction.shape(), range)}, 1);
}

Batch mixed(Context& context, double a, const Batch& x, double b, const Batch& y) {
  Batch z = context.empty<double, 2>(x.shape());
  for (Index i = 0; i < x.count(); ++i) z.mutable_data()[i] = a * x.data()[i] + b * y.data()[i];
  return z;
}

TEST(GaussianDiffusion, TablesOfTheWholeChain) {
  const GaussianDiffusion process;
  EXPECT_EQ(process.steps(), 1000);
  const std::vector<double> alphas = alphas_cumprod({});
  for (std::size_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(process.alphas_cumprod()[i], alphas[i]);
    EXPECT_NEAR(process.betas()[i], 1e-4 + (0.02 - 1e-4) * static_cast<double>(i) / 999, 1e-12);
    EXPECT_EQ(process.timestep_map()[i], static_cast<Index>(i));
  }
  // Ten times fewer steps, ten times larger.
  const GaussianDiffusion shorter({.train_steps = 100});
  EXPECT_NEAR(shorter.betas()[99], 0.2, 1e-12);
}

// The kept steps of a chain have its A, whatever lies between.
TEST(GaussianDiffusion, RespacingKeepsTheSignal) {
  for (const BetaSchedule betas : {BetaSchedule::linear, BetaSchedule::squaredcos_cap_v2}) {
    const GaussianDiffusion whole({.betas = betas}), part({.betas = betas, .respacing = "10,5"});
    EXPECT_EQ(part.steps(), 15);
    double product = 1;
    for (std::size_t i = 0; i < 15; ++i) {
      const auto t = static_cast<std::size_t>(part.timestep_map()[i]);
      EXPECT_EQ(part.alphas_cumprod()[i], whole.alphas_cumprod()[t]);
      product *= 1 - part.betas()[i];
      EXPECT_NEAR(product / part.alphas_cumprod()[i], 1, 1e-9);  // 1 - beta is small at the end
    }
  }
}

// With the true x0 every prediction gives the posterior, for samples at steps of their own.
TEST(GaussianDiffusion, PredictionsAgree) {
  Context context({.threads = 1});
  const Batch x0 = start(context), eps = noise(context, 1);
  const Steps t{0, 7};
  for (const Prediction prediction : predictions) {
    const GaussianDiffusion process(
        {.respacing = "10", .prediction = prediction, .variance = ReverseVariance::fixed_large});
    const Batch x = process.q_sample(x0, t, eps);
    const auto target = [&](std::size_t b, std::size_t at) {
      const double a = std::sqrt(process.alphas_cumprod()[static_cast<std::size_t>(t[b])]);
      const double s = std::sqrt(1 - a * a), e = eps.data()[at], d = x0.data()[at];
      EXPECT_NEAR(x.data()[at], a * d + s * e, 1e-14);
      return prediction == Prediction::epsilon ? e : prediction == Prediction::sample ? d : a * e - s * d;
    };
    Batch output = context.empty<double, 2>(x.shape());
    for (std::size_t i = 0; i < 6; ++i) output.mutable_data()[i] = target(i / 3, i);
    const auto step = process.reverse(x, output, t);
    expect_near(step.x0, values(x0), 1e-13);
    expect_near(step.mean, values(process.posterior_mean(x0, x, t)), 1e-13);
    EXPECT_EQ(step.log_variance.shape(), (Shape<2>{2, 1}));
    EXPECT_NEAR(step.log_variance(1, 0), std::log(process.betas()[7]), 1e-14);
    const auto losses = process.losses(x0, eps, output, t);
    EXPECT_NEAR(losses.mse(0) + losses.mse(1), 0, 1e-24);
    EXPECT_TRUE(losses.vb.empty());
    // At the first step the posterior is the data.
    for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(step.mean.data()[i], x0.data()[i], 1e-13);
  }
}

// Bayes: the posterior's mean and variance from the two Gaussians it is made of.
TEST(GaussianDiffusion, ThePosteriorIsTheProductOfGaussians) {
  Context context({.threads = 1});
  const GaussianDiffusion process({.respacing = "10"});
  const Batch x0 = start(context), x = noise(context, 2);
  for (Index t = 1; t < 10; ++t) {
    const auto at = static_cast<std::size_t>(t);
    const double before = process.alphas_cumprod()[at - 1], beta = process.betas()[at];
    const double prior = 1 / (1 - before), likelihood = (1 - beta) / beta;  // precisions of x_(t - 1)
    const double precision = prior + likelihood;
    const Batch want =
        mixed(context, std::sqrt(before) * prior / precision, x0, likelihood / std::sqrt(1 - beta) / precision, x);
    expect_near(process.posterior_mean(x0, x, Steps{t, t}), values(want), 1e-12);
    // -1: the smallest variance is the posterior's; 1: beta; 0: their geometric mean.
    for (const double v : {-1.0, 0.0, 1.0}) {
      const auto step = process.reverse(x, with_range(context, x0, v), Steps{t, t});
      EXPECT_NEAR(step.log_variance(1, 2), (1 + v) / 2 * std::log(beta) - (1 - v) / 2 * std::log(precision), 1e-12);
    }
  }
  // The first step borrows the variance of the second.
  const auto first = process.reverse(x, with_range(context, x0, -1), Steps{0, 1});
  EXPECT_NEAR(first.log_variance(0, 0), first.log_variance(1, 0), 1e-14);
}

TEST(GaussianDiffusion, ClippingLimitsTheData) {
  Context context({.threads = 1});
  const GaussianDiffusion process(
      {.respacing = "10", .prediction = Prediction::sample, .variance = ReverseVariance::fixed_large});
  const Batch x = noise(context, 2), x0 = start(context);
  const Steps t{3, 9};
  const auto step = process.reverse(x, x0, t, 0.5);
  for (Index i = 0; i < 6; ++i) EXPECT_EQ(step.x0.data()[i], std::min(0.5, std::max(-0.5, x0.data()[i])));
  expect_near(step.mean, values(process.posterior_mean(step.x0, x, t)), 1e-15);
}

TEST(GaussianDiffusion, NoNoiseAtTheFirstStep) {
  Context context({.threads = 1});
  const GaussianDiffusion process({.respacing = "10"});
  const Batch x = noise(context, 2), z = noise(context, 3);
  const Steps t{0, 4};
  const auto step = process.reverse(x, with_range(context, start(context), 0.3), t);
  const Batch ddpm = process.ddpm_step(step, t, z), ddim = process.ddim_step(x, step, t, z, 1);
  const Batch still = process.ddim_step(x, step, t, z, 0);
  for (std::size_t i = 0; i < 6; ++i) {
    const double deviation = std::exp(0.5 * step.log_variance.data()[i]);
    EXPECT_NEAR(ddpm.data()[i], step.mean.data()[i] + (i < 3 ? 0 : deviation * z.data()[i]), 1e-14);
    if (i < 3) {
      EXPECT_NEAR(ddim.data()[i], step.x0.data()[i], 1e-12);
      EXPECT_NEAR(still.data()[i], step.x0.data()[i], 1e-12);
    } else {
      EXPECT_GT(std::fabs(ddim.data()[i] - still.data()[i]), 1e-3);
    }
  }
}

// The same chains as those of the samplers, whose numbers come from another implementation.
TEST(GaussianDiffusion, SamplesAsTheSamplersDo) {
  Context context({.threads = 1});
  const std::vector<double> alphas = alphas_cumprod({});
  const auto model = [&](const Batch& x, Index t) {
    const double a = std::sqrt(alphas[static_cast<std::size_t>(t)]), s = std::sqrt(1 - a * a);
    return map(context, x, [&](double v, std::size_t c) { return (v - a * expected(v, c, a, s)) / s; });
  };
  const auto z = [&](Index i) { return noise(context, i); };
  const GaussianDiffusion every({.variance = ReverseVariance::fixed_large});
  const GaussianDiffusion fixed({.respacing = "ddim10", .variance = ReverseVariance::fixed_large});
  const GaussianDiffusion learned({.respacing = "ddim10"});
  std::vector<Index> seen;
  const auto watch = [&](Index i, const Batch&) { seen.push_back(i); };

  const std::vector<double> ddim_want =
      values(ddim<double, 2>({.timesteps = {.steps = 10}, .eta = 0.4}, alphas, start(context), model, z));
  expect_near(fixed.sample({.method = RespacedMethod::ddim, .eta = 0.4}, start(context), model, z, watch), ddim_want,
              1e-9);
  EXPECT_EQ(seen, (std::vector<Index>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));

  const DdpmOptions large{.timesteps = {.steps = 10}, .variance = DdpmVariance::fixed_large};
  expect_near(fixed.sample({}, start(context), model, z),
              values(ddpm<double, 2>(large, alphas, start(context), model, z)), 1e-9);
  // A range of 1 is the large variance, of -1 the small one, in both.
  for (const double range : {1.0, -1.0, 0.2}) {
    const auto ranged = [&](const Batch& x, Index t) { return with_range(context, model(x, t), range); };
    DdpmOptions options = large;
    options.variance = DdpmVariance::learned_range;
    const std::vector<double> got = values(ddpm<double, 2>(options, alphas, start(context), ranged, z));
    expect_near(learned.sample({}, start(context), ranged, z), got, 1e-9);
    if (range == 0.2) continue;
    options.variance = range > 0 ? DdpmVariance::fixed_large : DdpmVariance::fixed_small;
    expect_near(ddpm<double, 2>(options, alphas, start(context), model, z), got, 1e-9);
  }
}

TEST(GaussianDiffusion, LossesAreMeansOverASample) {
  Context context({.threads = 1});
  const GaussianDiffusion process({.respacing = "10"});
  const Batch x0 = map(context, start(context), [](double v, std::size_t) { return v / 2; });
  const Batch eps = noise(context, 1), guess = noise(context, 2);
  const Steps t{0, 5};
  const Batch output = with_range(context, guess, -1);
  const auto losses = process.losses(x0, eps, output, t);
  const Batch x = process.q_sample(x0, t, eps);
  const auto step = process.reverse(x, output, t);
  const Batch posterior = process.posterior_mean(x0, x, t);
  for (Index b = 0; b < 2; ++b) {
    double mse = 0, bits = 0;
    for (Index c = 0; c < 3; ++c) {
      mse += std::pow(eps(b, c) - guess(b, c), 2) / 3;
      // Of equal variances the divergence is that of the means.
      const double variance = std::exp(step.log_variance(b, c));
      bits += std::pow(posterior(b, c) - step.mean(b, c), 2) / (2 * variance) / std::log(2.0) / 3;
    }
    EXPECT_NEAR(losses.mse(b), mse, 1e-13);
    if (b == 1) {
      EXPECT_NEAR(losses.vb(b), bits, 1e-12 * (1 + bits));
    } else {
      EXPECT_GT(losses.vb(b), 0);  // of the data's mass: see the kernel's test
    }
    EXPECT_NEAR(losses.total(0.01)(b), losses.mse(b) + 0.01 * losses.vb(b), 1e-12 * (1 + losses.vb(b)));
  }
}

// The bound trains the range, the squared error the prediction.
TEST(GaussianDiffusion, GradientsOfTheLosses) {
  Context context({.threads = 1});
  const GaussianDiffusion process({.respacing = "10"});
  const Batch x0 = map(context, start(context), [](double v, std::size_t) { return v / 2; }), eps = noise(context, 1);
  const Steps t{0, 5};
  Batch output = with_range(context, map(context, eps, [](double v, std::size_t) { return v + 0.05; }), 0.3);
  const auto mse = [&](std::span<const AnyTensor<double>> in, std::vector<AnyTensor<double>>& out) {
    out.push_back(process.losses(x0, eps, Batch(in[0]), t).mse.any());
  };
  const auto a = gradcheck_list(context, mse, std::span(&output.any(), 1));
  EXPECT_TRUE(a) << to_string(a);
  const Batch prediction = output.slice(1, 0, 3);
  const auto vb = [&](std::span<const AnyTensor<double>> in, std::vector<AnyTensor<double>>& out) {
    out.push_back(process.losses(x0, eps, concat(std::array{prediction, Batch(in[0])}, 1), t).vb.any());
  };
  const Batch range = context.full<double>(Shape<2>{2, 3}, 0.3);
  const auto b = gradcheck_list(context, vb, std::span(&range.any(), 1));
  EXPECT_TRUE(b) << to_string(b);
  aulos::GradTape tape(context);
  tape.watch(output);
  tape.backward(sum(process.losses(x0, eps, output, t).vb));
  const Batch g = tape.gradient(output);
  for (Index i = 0; i < 2; ++i)
    for (Index c = 0; c < 6; ++c) EXPECT_EQ(g(i, c) == 0, c < 3) << i << ' ' << c;
}

TEST(GaussianDiffusion, SaysWhatIsWrong) {
  Context context({.threads = 1});
  const GaussianDiffusion process({.respacing = "10"});
  const Batch x = start(context);
  const auto error = [](auto&& f) -> std::string {
    try {
      f();
    } catch (const aulos::Error& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_EQ(error([&] { process.q_sample(x, Steps{1}, x); }),
            "gaussian_diffusion: 1 steps for x [2, 3], expected one for each sample");
  EXPECT_EQ(error([&] { process.q_sample(x, Steps{1, 10}, x); }), "gaussian_diffusion: step 10, expected 0 to 9");
  EXPECT_EQ(error([&] {
              process.reverse(x, x, Steps{1, 1});
            }),
            "learned range: output [2, 3] for x [2, 3], expected twice its channels");
  EXPECT_EQ(config_error([&] {
              process.sample(
                  {.eta = 2}, x, [](const Batch& y, Index) { return y; }, [&](Index) { return x; });
            }).find("gaussian_diffusion: eta is 2"),
            0u);
  EXPECT_EQ(config_error([] { GaussianDiffusion({.train_steps = 5}); }).find("alphas_cumprod: beta_end is 4"), 0u);
}

}  // namespace
