// The rate of the instruction that a product of some dtype consists of.
#pragma once

#include "bench/peers/plugin.hpp"

namespace peers {

// "fma", "vdpbf16ps", "vpdpbusd", "tdpbf16ps" or "tdpbssd": what our kernels use for this dtype in this build.
const char* peak_instruction(Dtype dtype);

// Its rate over some 0.3 ms on each of `threads` threads, all together, in operations (2 for a multiply-add) a second.
double peak_rate(Dtype dtype, int threads);

// Steps of that loop on the calling thread: for the time of a run of it.
void run_peak(Dtype dtype, long steps);

}  // namespace peers
