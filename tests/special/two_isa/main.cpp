#include <cstdio>

extern "C" int run_avx2();
extern "C" int run_avx512();

int main() {
  constexpr int skipped = 77;
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    std::puts("skipped: this processor has no AVX2");
    return skipped;
  }
  if (int step = run_avx2()) {
    std::printf("avx2 failed at step %d\n", step);
    return 1;
  }
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512cd")) {
    std::puts("skipped: this processor has no AVX-512");
    return skipped;
  }
  if (int step = run_avx512()) {
    std::printf("avx512 failed at step %d\n", step);
    return 1;
  }
  return 0;
}
