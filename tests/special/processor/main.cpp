// Asks first, then works with vectors.
#include "aulos/core/processor.hpp"

#include <cstdio>
#include <vector>

#include "aulos/core/random.hpp"
#include "aulos/core/threads.hpp"

namespace {

int run() {
  std::vector<float> values(1000);
  aulos::Random(1).normal(values.data(), 1000);
  float sum = 0;
  aulos::ThreadTeam team(2);
  team.serial().run(1000, [&](aulos::Index i, aulos::Scratch&) { sum += values[static_cast<std::size_t>(i)] * 0.5F; });
  std::printf("sum %g\n", static_cast<double>(sum));
  return 0;
}

}  // namespace

int main() {
  if (const char* problem = aulos::unsupported_processor()) {
    std::fprintf(stderr, "%s\n", problem);
    return 1;
  }
  return run();
}
