// Learning-rate schedules: cosine and warmup-stable-decay.
#pragma once

#include <cmath>
#include <numbers>
#include <string>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"

namespace aulos::inline AULOS_ISA::train {

// The shape f of the cooldown, from f(0) = 1 (0.7 for lowered_linear) to f(1) = 0.
enum class CooldownShape { linear, cosine, mirror_cosine, square, sqrt, lowered_linear };

inline double cooldown(CooldownShape shape, double p) {
  const double cosine = (1 + std::cos(std::numbers::pi * p)) / 2;
  switch (shape) {
    case CooldownShape::linear:
      return 1 - p;
    case CooldownShape::cosine:
      return cosine;
    case CooldownShape::mirror_cosine:
      return 2 * (1 - p) - cosine;
    case CooldownShape::square:
      return 1 - p * p;
    case CooldownShape::sqrt:
      return 1 - std::sqrt(p);
    case CooldownShape::lowered_linear:
      return 0.7 * (1 - p);
  }
  return 0;
}

struct ScheduleOptions {
  double peak = 1e-3;  // the learning rate after warm-up
  Index warmup = 0;    // updates
  Index total = 1;     // updates
  double final = 0;    // of the peak, at the last update
};

namespace detail {

// Throws ConfigError unless warm-up and cooldown fit into the whole and t is one of its updates (or later).
inline void check_schedule(const char* schedule, const ScheduleOptions& o, Index cooldown_updates, Index t) {
  if (o.warmup < 0 || cooldown_updates < 0 || o.total < 1 || o.warmup + cooldown_updates > o.total)
    throw ConfigError(std::string(schedule) + ": warmup " + std::to_string(o.warmup) + " and cooldown " +
                      std::to_string(cooldown_updates) + " do not fit into total " + std::to_string(o.total));
  if (t < 0) throw ConfigError(std::string(schedule) + ": update " + std::to_string(t) + ", expected 0 or later");
}

}  // namespace detail

// (t + 1) / warmup of the peak while t < warmup, then half a cosine down to `final` at the last update. t from 0.
inline double cosine_schedule(const ScheduleOptions& o, Index t) {
  detail::check_schedule("cosine_schedule", o, 0, t);
  if (t < o.warmup) return o.peak * static_cast<double>(t + 1) / static_cast<double>(o.warmup);
  const double p = static_cast<double>(t - o.warmup + 1) / static_cast<double>(o.total - o.warmup);
  return o.peak * (o.final + (1 - o.final) * cooldown(CooldownShape::cosine, p < 1 ? p : 1));
}

// Warm-up, the peak, and over the last `cooldown_updates` the shape: "Training Dynamics of the Cooldown Stage in
// Warmup-Stable-Decay Learning Rate Scheduler". Throws ConfigError where the stages do not fit into `total`.
inline double warmup_stable_decay(const ScheduleOptions& o, Index cooldown_updates, CooldownShape shape, Index t) {
  detail::check_schedule("warmup_stable_decay", o, cooldown_updates, t);
  const Index start = o.total - cooldown_updates;
  if (t < o.warmup) return o.peak * static_cast<double>(t + 1) / static_cast<double>(o.warmup);
  if (t < start) return o.peak;
  const double p =
      cooldown_updates == 0 ? 1 : static_cast<double>(t - start + 1) / static_cast<double>(cooldown_updates);
  return o.peak * (o.final + (1 - o.final) * cooldown(shape, p < 1 ? p : 1));
}

}  // namespace aulos::inline AULOS_ISA::train
