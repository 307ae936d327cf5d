// What the programs share that run a kernel beside Eigen on the same numbers: their memory, medians, peaks.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#include "aulos/core/numeric.hpp"
#include "aulos/core/pool.hpp"
#include "bench/peers/peak.hpp"

namespace bench {

// Memory as tensors have it: aligned, and in huge pages where it is large.
template <class T>
struct TensorMemory {
  using value_type = T;

  T* allocate(std::size_t n) { return reinterpret_cast<T*>(aulos::system_memory(n * sizeof(T))); }
  void deallocate(T* p, std::size_t n) noexcept { ::operator delete(p, aulos::alignment_of(n * sizeof(T))); }
  bool operator==(const TensorMemory&) const = default;
};

using Floats = std::vector<float, TensorMemory<float>>;

// Numbers of [-limit, limit).
inline Floats fill(aulos::Index count, std::uint32_t seed, float limit = 1.0f) {
  Floats x(static_cast<std::size_t>(count));
  for (float& v : x) {
    seed = seed * 1664525u + 1013904223u;
    v = (static_cast<float>(seed >> 8) * 0x1p-23f - 1.0f) * limit;
  }
  return x;
}

inline double median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2), x.end());
  return x[x.size() / 2];
}

// One core's rate of the instruction that multiplies in this mode, in operations a second.
inline double peak_rate(aulos::Numeric mode) {
  using aulos::Numeric, peers::Dtype;
  return peers::peak_rate(mode == Numeric::exact ? Dtype::f32 : mode == Numeric::bf16 ? Dtype::bf16 : Dtype::int8, 1);
}

}  // namespace bench
