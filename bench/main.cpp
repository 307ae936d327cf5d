// What all programs of bench/ share: main, and in the JSON's context the processor with the rates that bound it on one
// thread: of each mode's instruction in GFLOP/s, of copying in GB/s (read and written).
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "bench/peers/peak.hpp"
#include "bench/peers/processor.hpp"

namespace {

double best_copy_rate() {
  std::vector<char> from(std::size_t{64} << 20, 1), to(from.size());
  double best = 1e9;
  for (int i = 0; i < 10; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    std::memcpy(to.data(), from.data(), from.size());
    benchmark::DoNotOptimize(to.data());
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return 2 * static_cast<double>(from.size()) / best;
}

double best_peak_rate(peers::Dtype dtype) {
  double best = 0;
  for (int i = 0; i < 30; ++i) best = std::max(best, peers::peak_rate(dtype, 1));
  return best;
}

void describe_machine() {
  benchmark::AddCustomContext("processor", peers::processor_name());
  for (const peers::Dtype dtype : {peers::Dtype::f32, peers::Dtype::bf16, peers::Dtype::int8}) {
    const std::string key = std::string("peak_") + peers::name_of(dtype);
    benchmark::AddCustomContext(key, std::to_string(best_peak_rate(dtype) * 1e-9));
    benchmark::AddCustomContext(key + "_instruction", peers::peak_instruction(dtype));
  }
  benchmark::AddCustomContext("copy", std::to_string(best_copy_rate() * 1e-9));
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  describe_machine();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
