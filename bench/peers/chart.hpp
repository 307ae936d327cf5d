// Charts of measurements as SVG.
#pragma once

#include <string>
#include <vector>

#include "bench/peers/measurements.hpp"

namespace peers {

// Bars: the share of the peak that ours and the best peer reach, for each work with operations, at one thread.
// Above them a roofline: the same works by operations per byte that must be moved, under the peaks and the memory rate.
std::string chart(const std::vector<Measurement>& measurements);

}  // namespace peers
