#include "bench/peers/peak.hpp"

#include <atomic>
#include <chrono>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "aulos/simd/amx.hpp"

namespace peers {
namespace {

// Runs step(a) `steps` times on each of twelve accumulators, which hides an instruction's latency (two a cycle, four
// or five cycles each). They are named, because g++ 12 keeps an array of them in memory.
template <class Register, class Step>
[[gnu::always_inline]] inline void twelve(long steps, Register start, Step step) {
  Register a0 = start, a1 = start, a2 = start, a3 = start, a4 = start, a5 = start, a6 = start, a7 = start, a8 = start,
           a9 = start, a10 = start, a11 = start;
  for (long i = 0; i < steps; ++i) {
    step(a0), step(a1), step(a2), step(a3), step(a4), step(a5);
    step(a6), step(a7), step(a8), step(a9), step(a10), step(a11);
  }
}

struct Loop {
  const char* instruction;
  double operations;        // of one instruction
  void (*run)(long steps);  // twelve instructions a step
};

#if defined(__AVX512F__)
void fma_loop(long steps) {
  const __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.001f);
  twelve(steps, x, [=](__m512& a) {
    a = _mm512_fmadd_ps(a, x, y);
    asm volatile("" : "+v"(a));
  });
}
constexpr Loop fma{"fma", 32, fma_loop};
#elif defined(__FMA__)
void fma_loop(long steps) {
  const __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f);
  twelve(steps, x, [=](__m256& a) {
    a = _mm256_fmadd_ps(a, x, y);
    asm volatile("" : "+x"(a));
  });
}
constexpr Loop fma{"fma", 16, fma_loop};
#elif defined(__aarch64__)
void fma_loop(long steps) {
  using Register [[gnu::vector_size(16)]] = float;
  const Register x = {0.999f, 0.999f, 0.999f, 0.999f};
  twelve(steps, x, [=](Register& a) { asm volatile("fmla %0.4s, %1.4s, %1.4s" : "+w"(a) : "w"(x)); });
}
constexpr Loop fma{"fma", 8, fma_loop};
#else
void fma_loop(long steps) {
  twelve(steps, 0.999f, [](float& a) {
    a = a * 0.999f + 0.001f;
    asm volatile("" : "+r"(a));
  });
}
constexpr Loop fma{"fma", 2, fma_loop};
#endif

#if defined(__AVX512BF16__)
void bf16_loop(long steps) {
  const __m512 x = _mm512_set1_ps(0.999f);
  twelve(steps, x, [=](__m512& a) { asm volatile("vdpbf16ps %1, %1, %0" : "+v"(a) : "v"(x)); });
}
constexpr Loop bf16{"vdpbf16ps", 64, bf16_loop};
#else
constexpr Loop bf16 = fma;
#endif

#if defined(__AVX512VNNI__)
void int8_loop(long steps) {
  const __m512i x = _mm512_set1_epi8(1);
  twelve(steps, x, [=](__m512i& a) { asm volatile("vpdpbusd %1, %1, %0" : "+v"(a) : "v"(x)); });
}
constexpr Loop int8{"vpdpbusd", 128, int8_loop};
#else
constexpr Loop int8 = fma;
#endif

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AMX_INT8__)
struct Tiles {
  static bool permitted() {
    try {
      aulos::request_tiles();
      return true;
    } catch (const aulos::Error&) {
      return false;
    }
  }
};

// Twelve products into four accumulators, as in a 32 x 32 tile.
template <class Multiply>
void tile_loop(long steps, const Multiply& multiply) {
  const aulos::simd::TileScope tiles;
  const auto each = [](auto... tile) { (aulos::simd::zero_tile<tile()>(), ...); };
  using std::integral_constant;
  each(integral_constant<int, 0>{}, integral_constant<int, 1>{}, integral_constant<int, 2>{},
       integral_constant<int, 3>{}, integral_constant<int, 6>{}, integral_constant<int, 7>{});
  for (long i = 0; i < 3 * steps; ++i) multiply();
}
void tile_bf16_loop(long steps) {
  tile_loop(steps, [] {
    aulos::simd::multiply_tiles_bf16<0, 6, 7>();
    aulos::simd::multiply_tiles_bf16<1, 6, 7>();
    aulos::simd::multiply_tiles_bf16<2, 6, 7>();
    aulos::simd::multiply_tiles_bf16<3, 6, 7>();
  });
}
void tile_int8_loop(long steps) {
  tile_loop(steps, [] {
    aulos::simd::multiply_tiles_int8<0, 6, 7>();
    aulos::simd::multiply_tiles_int8<1, 6, 7>();
    aulos::simd::multiply_tiles_int8<2, 6, 7>();
    aulos::simd::multiply_tiles_int8<3, 6, 7>();
  });
}
constexpr Loop tile_bf16{"tdpbf16ps", 16 * 16 * 32 * 2, tile_bf16_loop};
constexpr Loop tile_int8{"tdpbusd", 16 * 16 * 64 * 2, tile_int8_loop};
#else
struct Tiles {
  static bool permitted() { return false; }
};
constexpr Loop tile_bf16 = bf16, tile_int8 = int8;
#endif

const Loop& loop_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::bf16:
      return Tiles::permitted() ? tile_bf16 : bf16;
    case Dtype::int8:
      return Tiles::permitted() ? tile_int8 : int8;
    default:
      return fma;
  }
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

const char* peak_instruction(Dtype dtype) { return loop_of(dtype).instruction; }

void run_peak(Dtype dtype, long steps) { loop_of(dtype).run(steps); }

double peak_rate(Dtype dtype, int threads) {
  const Loop& loop = loop_of(dtype);
  // A tile's product takes some sixteen cycles, the others one or less.
  const long steps = (loop.operations > 1000 ? 5'000 : 100'000) * (threads > 1 ? 4 : 1);
  const double operations = static_cast<double>(steps) * 12 * loop.operations;
  if (threads == 1) {
    const auto begin = std::chrono::steady_clock::now();
    loop.run(steps);
    return operations / seconds_since(begin);
  }
  // Each thread times itself: that of starting it is not the processor's.
  std::vector<double> rates(static_cast<std::size_t>(threads));
  std::atomic<int> waiting{threads};
  std::vector<std::thread> team;
  for (double& rate : rates) {
    team.emplace_back([&] {
      waiting.fetch_sub(1);
      while (waiting.load() > 0) std::this_thread::yield();
      const auto begin = std::chrono::steady_clock::now();
      loop.run(steps);
      rate = operations / seconds_since(begin);
    });
  }
  for (std::thread& thread : team) thread.join();
  double sum = 0;
  for (const double rate : rates) sum += rate;
  return sum;
}

}  // namespace peers
