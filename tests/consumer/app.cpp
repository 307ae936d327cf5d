#include <cstdio>
#include <vector>

#include "aulos/core/error.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/simd/batch.hpp"

// A program of someone else: no flag of ours, its own warnings.
int main() {
  std::vector<float> x(64, 1.5F);
  aulos::ThreadTeam team(2);
  const aulos::Index step = aulos::simd::lanes<float>;
  team.threads().run(64 / step, [&](aulos::Index piece, aulos::Scratch&) {
    float* p = x.data() + piece * step;
    aulos::simd::store(p, aulos::simd::fma(aulos::simd::load(p), aulos::simd::load(p), aulos::simd::load(p)));
  });
  for (float value : x) {
    if (value != 3.75F) return 1;
  }
  std::printf("aulos %d.%d.%d\n", AULOS_VERSION_MAJOR, AULOS_VERSION_MINOR, AULOS_VERSION_PATCH);
  return 0;
}
