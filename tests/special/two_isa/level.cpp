// Built once per instruction set: a little of each floor, so that its inline functions, lambdas and tables are emitted.
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "aulos/core/error.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/simd/batch.hpp"

#define JOIN(a, b) JOIN_(a, b)
#define JOIN_(a, b) a##b
#define TEXT(x) TEXT_OF(x)
#define TEXT_OF(x) #x

// 0 when this level computes what it should.
extern "C" int JOIN(run_, AULOS_LEVEL)() {
  using namespace aulos;
  if (std::string_view(TEXT(AULOS_ISA)).find(TEXT(AULOS_LEVEL)) != 0) return 1;
  if (simd::lanes<float> != (std::string_view(TEXT(AULOS_LEVEL)) == "avx2" ? 8 : 16)) return 2;

  constexpr Index n = 1024;
  std::vector<float> x(n), y(n, 1.0F);
  std::iota(x.begin(), x.end(), 0.0F);
  ThreadTeam team(2);
  const Index step = simd::lanes<float>;
  team.threads(256).run(n / step, [&](Index piece, Scratch& scratch) {
    float* half = scratch.take<float>(step);
    for (Index i = 0; i < step; ++i) half[i] = 0.5F;
    float* out = y.data() + piece * step;
    simd::store(out, simd::fma(simd::load(x.data() + piece * step), simd::load(half), simd::load(out)));
  });
  for (Index i = 0; i < n; ++i) {
    if (y[static_cast<std::size_t>(i)] != 0.5F * static_cast<float>(i) + 1.0F) return 3;
  }

  try {
    throw ShapeError(std::string("op: ") + TEXT(AULOS_LEVEL));
  } catch (const Error& error) {
    return std::string_view(error.what()) == "op: " TEXT(AULOS_LEVEL) ? 0 : 4;
  }
}
