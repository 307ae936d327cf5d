// The eps of every norm that a model runs, found from what goes in and what comes out. Ordinary inputs can't tell 1e-5
// from 1e-6 by looking at the model's result; a row of variance v can, where y = x / sqrt(v + eps) is at hand.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "aulos/core/context.hpp"

namespace aulos_tests {

struct FoundEps {
  std::string norm;    // "transformer_blocks.0.norm1/layer_norm"
  double eps, spread;  // the estimate, and the variance (mean square) of the row that it is from
};

// One norm, y = (n weight + bias) (1 + scale) + shift with one row of each for all tokens, so of a single sample: from
// the row with the smallest spread.
inline FoundEps find_eps(const std::string& name, const std::map<std::string, aulos::AnyTensor<float>>& of,
                         const aulos::AnyTensor<float>& y) {
  using aulos::Index;
  const aulos::AnyTensor<float>& x = of.at("x");
  const bool layer = name.find("layer_norm") != std::string::npos;
  const Index width = x.last(), rows = y.count() / width;
  FoundEps found{name, 0, 1e30};
  for (Index r = 0; r < rows; ++r) {
    Index offset = 0;
    for (Index rest = r, axis = x.rank() - 2; axis >= 0; --axis) {
      offset += rest % x.extent(static_cast<int>(axis)) * x.stride(static_cast<int>(axis));
      rest /= x.extent(static_cast<int>(axis));
    }
    const float* in = x.data() + offset;
    const float* out = y.data() + r * width;
    const auto part = [&](const char* which, Index i, double absent) {
      const auto at = of.find(which);
      return at == of.end() ? absent : static_cast<double>(at->second.data()[i]);
    };
    double mean = 0, spread = 0, squares = 0, normed = 0;
    for (Index i = 0; layer && i < width; ++i) mean += in[i] / static_cast<double>(width);
    for (Index i = 0; i < width; ++i) spread += (in[i] - mean) * (in[i] - mean) / static_cast<double>(width);
    if (!(spread > 0) || spread >= found.spread) continue;
    for (Index i = 0; i < width; ++i) {
      const double by = 1 + part("scale", i, 0), weight = part("weight", i, 1);
      if (std::fabs(by * weight) < 0.01) continue;
      const double n = ((out[i] - part("shift", i, 0)) / by - part("bias", i, 0)) / weight;
      squares += (in[i] - mean) * (in[i] - mean);
      normed += n * n;
    }
    if (normed > 0) found = {name, squares / normed - spread, spread};
  }
  return found;
}

// Runs `forward` and finds the eps of each norm in it, in the order in which they run.
template <class Forward>
std::vector<FoundEps> norms_of(aulos::Context& context, const Forward& forward) {
  context.start_capture("_norm");
  forward();
  std::vector<FoundEps> found;
  std::map<std::string, aulos::AnyTensor<float>> arguments;
  for (const aulos::Captured<float>& each : context.stop_capture<float>()) {
    const auto colon = each.name.find(':');
    if (colon != std::string::npos) {
      if (each.name.compare(colon, std::string::npos, ":x") == 0) arguments.clear();
      arguments[each.name.substr(colon + 1)] = each.value;
    } else {
      found.push_back(find_eps(each.name, arguments, each.value));
    }
  }
  return found;
}

inline void expect_eps(const std::vector<FoundEps>& found, std::size_t norms, double eps) {
  EXPECT_EQ(found.size(), norms);
  for (const FoundEps& each : found)
    EXPECT_NEAR(each.eps / eps, 1, 0.25) << each.norm << " on a row of variance " << each.spread;
}

}  // namespace aulos_tests
