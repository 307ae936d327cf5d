// Which steps of a training chain a shorter chain keeps, as published diffusion code writes it.
#pragma once

#include <charconv>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"

namespace aulos::inline AULOS_ISA::diffusion {

namespace detail {

[[noreturn]] inline void refuse_respacing(std::string_view spec, const std::string& reason) {
  throw ConfigError("respaced_timesteps: '" + std::string(spec) + "': " + reason);
}

// A count in a respacing text.
template <class = Deferred>
Index respacing_count(std::string_view spec, std::string_view digits) {
  while (!digits.empty() && digits.front() == ' ') digits.remove_prefix(1);
  while (!digits.empty() && digits.back() == ' ') digits.remove_suffix(1);
  Index count = 0;
  const char* end = digits.data() + digits.size();
  const auto result = std::from_chars(digits.data(), end, count);
  if (result.ec != std::errc{} || result.ptr != end || count < 1)
    refuse_respacing(spec, "'" + std::string(digits) + "' is no count of steps");
  return count;
}

}  // namespace detail

// The steps kept of 0 .. train_steps - 1, rising. "": all. "ddimN": the multiples of the smallest stride that gives N.
// "a,b,..": the chain is cut into as many sections as there are counts (the first ones a step longer where that does
// not come out even) and each gives its count, from its first step to its last, rounded to even. space_timesteps of
// guided diffusion and DiT.
template <class = Deferred>
std::vector<Index> respaced_timesteps(std::string_view spec, Index train_steps) {
  if (train_steps < 1)
    throw ConfigError("respaced_timesteps: train_steps is " + std::to_string(train_steps) + ", expected >= 1");
  std::vector<Index> steps;
  if (spec.substr(0, 4) == "ddim") {
    const Index wanted = detail::respacing_count(spec, spec.substr(4));
    for (Index stride = 1; stride <= train_steps; ++stride) {
      if ((train_steps + stride - 1) / stride != wanted) continue;
      for (Index t = 0; t < train_steps; t += stride) steps.push_back(t);
      return steps;
    }
    detail::refuse_respacing(
        spec, "no stride over " + std::to_string(train_steps) + " steps gives " + std::to_string(wanted));
  }
  std::vector<Index> counts;
  for (std::string_view rest = spec; !spec.empty();) {
    const std::size_t comma = rest.find(',');
    counts.push_back(detail::respacing_count(spec, rest.substr(0, comma)));
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  if (counts.empty()) counts.push_back(train_steps);
  const Index sections = static_cast<Index>(counts.size());
  Index start = 0;
  for (Index section = 0; section < sections; ++section) {
    const Index count = counts[static_cast<std::size_t>(section)];
    const Index size = train_steps / sections + (section < train_steps % sections ? 1 : 0);
    if (count > size)
      detail::refuse_respacing(spec, "section " + std::to_string(section) + " has " + std::to_string(size) +
                                         " steps, not " + std::to_string(count));
    const double stride = count > 1 ? static_cast<double>(size - 1) / static_cast<double>(count - 1) : 1.0;
    double at = 0;
    for (Index i = 0; i < count; ++i, at += stride)  // added up as the published code does: ties depend on it
      steps.push_back(start + static_cast<Index>(std::nearbyint(at)));
    start += size;
  }
  return steps;
}

}  // namespace aulos::inline AULOS_ISA::diffusion
