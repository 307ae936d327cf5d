// The noise levels of rectified flow: x_t = (1 - t) x0 + t noise, t = sigma from 1 down to 0.
#pragma once

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"

namespace aulos::inline AULOS_ISA::diffusion {

// Where the levels lie before they are shifted.
enum class BaseSigmas {
  shifted_minimum,  // linspace(1, s(1 / train_steps), n), the smallest training level already shifted (SD3)
  one_over_n,       // linspace(1, 1 / n, n) (Flux, LTX-2)
};

struct FlowScheduleOptions {
  Index steps = 28;
  BaseSigmas base = BaseSigmas::shifted_minimum;
  double shift = 1;                          // static: sigma <- s sigma / (1 + (s - 1) sigma)
  std::optional<double> dynamic_shift = {};  // mu, instead: sigma <- e^mu / (e^mu + 1 / sigma - 1)
  std::optional<double> terminal = {};       // the last level but 0 is stretched to it (LTX-2: 0.1)
  Index train_steps = 1000;
};

// `sigmas` has n + 1 entries, the last 0; timesteps[i] = train_steps * sigmas[i] is what models are given.
struct FlowSchedule {
  std::vector<double> sigmas, timesteps;
  Index steps() const noexcept { return static_cast<Index>(timesteps.size()); }
};

inline double static_shift(double shift, double sigma) { return shift * sigma / (1 + (shift - 1) * sigma); }

// mu for a number of tokens, linear between (base_tokens, base_shift) and (max_tokens, max_shift).
inline double dynamic_shift_of(Index tokens, Index base_tokens, double base_shift, Index max_tokens, double max_shift) {
  const double slope = (max_shift - base_shift) / static_cast<double>(max_tokens - base_tokens);
  return base_shift + slope * static_cast<double>(tokens - base_tokens);
}

// FlowMatchEulerDiscreteScheduler of diffusers.
template <class = Deferred>
FlowSchedule flow_schedule(const FlowScheduleOptions& o) {
  const auto require = [](bool right, const char* field, const std::string& value, const char* expected) {
    if (!right) throw ConfigError(std::string("flow_schedule: ") + field + " is " + value + ", expected " + expected);
  };
  require(o.steps >= 1, "steps", std::to_string(o.steps), ">= 1");
  require(o.train_steps >= 1, "train_steps", std::to_string(o.train_steps), ">= 1");
  require(o.shift > 0, "shift", std::to_string(o.shift), "> 0");
  const double mu = o.dynamic_shift.value_or(0);
  require(mu > -700 && mu < 700, "dynamic_shift", std::to_string(mu), "a number whose exponential is finite");
  const double terminal = o.terminal.value_or(0);
  require(!o.terminal || (terminal > 0 && terminal < 1), "terminal", std::to_string(terminal), "in (0, 1)");
  const double n = static_cast<double>(o.steps);
  const double smallest = 1 / static_cast<double>(o.train_steps);  // with a dynamic shift the static one plays no part
  const double last = o.base == BaseSigmas::one_over_n ? 1 / n : static_shift(o.dynamic_shift ? 1 : o.shift, smallest);
  FlowSchedule schedule;
  for (Index i = 0; i < o.steps; ++i) {
    const double u = o.steps == 1 ? 0 : static_cast<double>(i) / (n - 1);
    const double sigma = 1 + u * (last - 1);
    const double e = std::exp(mu);
    schedule.sigmas.push_back(o.dynamic_shift ? e / (e + (1 / sigma - 1)) : static_shift(o.shift, sigma));
  }
  if (o.terminal && o.steps > 1) {
    const double stretch = (1 - terminal) / (1 - schedule.sigmas.back());
    for (double& sigma : schedule.sigmas) sigma = 1 - (1 - sigma) * stretch;
  }
  for (double sigma : schedule.sigmas) schedule.timesteps.push_back(static_cast<double>(o.train_steps) * sigma);
  schedule.sigmas.push_back(0);
  return schedule;
}

}  // namespace aulos::inline AULOS_ISA::diffusion
