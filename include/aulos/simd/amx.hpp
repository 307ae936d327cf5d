// Matrix tiles (AMX): eight registers of 16 rows of 64 bytes. Where they are not compiled for, has_tiles is false and
// plain code computes what the tiles would: slowly, for tests of what is built on them.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "aulos/core/config.hpp"
#include "aulos/core/numeric.hpp"
#include "aulos/core/processor.hpp"
#include "aulos/simd/unroll.hpp"
#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AMX_INT8__)
#define AULOS_HAS_TILES 1
#else
#define AULOS_HAS_TILES 0
#endif

namespace aulos::inline AULOS_ISA::simd {

inline constexpr bool has_tiles = AULOS_HAS_TILES != 0;

#if AULOS_HAS_TILES

// Makes the tiles of the calling thread 16 rows of 64 bytes each, and gives them back at the end. Own instructions and
// not the compilers' functions: g++ 12 tells its optimizer of too few of the bytes that those read and write.
class TileScope {
 public:
  TileScope() noexcept {
    struct {
      std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
      std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } const layout;
    static_assert(sizeof(layout) == 64);
    asm volatile("ldtilecfg %0" ::"m"(layout) : "memory");
  }
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
  ~TileScope() { asm volatile("tilerelease" ::: "memory"); }
};

// Tile `number`: zeros; 16 rows from memory, `stride` bytes apart; back to memory.
template <int number>
inline void zero_tile() noexcept {
  asm volatile("tilezero %%tmm%c0" ::"i"(number));
}
template <int number>
inline void load_tile(const void* p, Index stride) noexcept {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(number), "r"(p), "r"(stride) : "memory");
}
template <int number>
inline void store_tile(void* p, Index stride) noexcept {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(number), "r"(p), "r"(stride) : "memory");
}

// Tile sum += a b for 32-bit words: row i of a holds 16 words, row p of b the words p of 16 columns. bf16 pairs are
// summed in float; in 8-bit fours a is unsigned, b signed, and the sums are integers.
template <int sum, int a, int b>
inline void multiply_tiles_bf16() noexcept {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sum), "i"(a), "i"(b));
}
template <int sum, int a, int b>
inline void multiply_tiles_int8() noexcept {
  asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sum), "i"(a), "i"(b));
}

#else

namespace detail {

using TileWords = std::uint32_t[16][16];

template <int number>
inline TileWords& tile_words() noexcept {
  static thread_local TileWords words;
  return words;
}

// tdpbf16ps: lower and upper products of a row and a column are each summed in order from 0, then both sums added, then
// the result to the tile; every sum is rounded to the nearest, and denormal numbers count as 0 on the way in and out.
inline float flush_denormal(float x) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return (bits & 0x7f800000u) == 0 ? std::bit_cast<float>(bits & 0x80000000u) : x;
}

}  // namespace detail

class TileScope {
 public:
  // Neither is defaulted: a scope that nothing but its life is wanted of would be an unused variable.
  TileScope() noexcept {}  // NOLINT(modernize-use-equals-default)
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
  ~TileScope() {}  // NOLINT(modernize-use-equals-default)
};

template <int number>
inline void zero_tile() noexcept {
  std::memset(detail::tile_words<number>(), 0, sizeof(detail::TileWords));
}
template <int number>
inline void load_tile(const void* p, Index stride) noexcept {
  for (Index i = 0; i < 16; ++i) {
    std::memcpy(detail::tile_words<number>()[i], static_cast<const std::byte*>(p) + i * stride, 64);
  }
}
template <int number>
inline void store_tile(void* p, Index stride) noexcept {
  for (Index i = 0; i < 16; ++i) {
    std::memcpy(static_cast<std::byte*>(p) + i * stride, detail::tile_words<number>()[i], 64);
  }
}
template <int sum, int a, int b>
inline void multiply_tiles_bf16() noexcept {
  const auto flush = [](float x) { return detail::flush_denormal(x); };
  const auto lower = [flush](std::uint32_t pair) { return flush(std::bit_cast<float>(pair << 16)); };
  const auto upper = [flush](std::uint32_t pair) { return flush(std::bit_cast<float>(pair & 0xffff0000u)); };
  for (Index i = 0; i < 16; ++i) {
    for (Index j = 0; j < 16; ++j) {
      float even = 0, odd = 0;
      for (Index p = 0; p < 16; ++p) {
        const std::uint32_t x = detail::tile_words<a>()[i][p], y = detail::tile_words<b>()[p][j];
        even = flush(even + lower(x) * lower(y));  // the products are exact
        odd = flush(odd + upper(x) * upper(y));
      }
      std::uint32_t& to = detail::tile_words<sum>()[i][j];
      to = std::bit_cast<std::uint32_t>(flush(flush(std::bit_cast<float>(to)) + flush(even + odd)));
    }
  }
}
template <int sum, int a, int b>
inline void multiply_tiles_int8() noexcept {
  for (Index i = 0; i < 16; ++i) {
    for (Index j = 0; j < 16; ++j) {
      for (Index p = 0; p < 16; ++p) {
        for (int shift = 0; shift < 32; shift += 8) {
          const auto x = static_cast<std::uint8_t>(detail::tile_words<a>()[i][p] >> shift);
          const auto y = static_cast<std::int8_t>(detail::tile_words<b>()[p][j] >> shift);
          detail::tile_words<sum>()[i][j] += static_cast<std::uint32_t>(x * y);
        }
      }
    }
  }
}

#endif

// A block of sums in the tiles 0 to 3: 16 or 32 rows (`halves`) by 32 columns. Tiles 4 to 7 hold what is multiplied.
template <Numeric mode, int halves>
struct TileBlock {
  static_assert(mode != Numeric::exact && (halves == 1 || halves == 2));

  static void zero() noexcept {
    zero_tile<0>();
    zero_tile<1>();
    if constexpr (halves == 2) zero_tile<2>();
    if constexpr (halves == 2) zero_tile<3>();
  }

  static void load(const float* c, Index stride) noexcept {
    const float* lower = c + 16 * stride / Index(sizeof(float));
    load_tile<0>(c, stride);
    load_tile<1>(c + 16, stride);
    if constexpr (halves == 2) load_tile<2>(lower, stride);
    if constexpr (halves == 2) load_tile<3>(lower + 16, stride);
  }

  // Every row = c [32].
  static void load_row(const float* c) noexcept {
    load_tile<0>(c, 0);
    load_tile<1>(c + 16, 0);
    if constexpr (halves == 2) load_tile<2>(c, 0);
    if constexpr (halves == 2) load_tile<3>(c + 16, 0);
  }

  // += a b: 16 words of each row of a, 16 rows of 32 words of b; the rows are so many bytes apart. between(i) is called
  // behind the i-th of four products.
  template <class Between>
  static void add(const float* a, Index a_stride, const float* b, Index b_stride, const Between& between) noexcept {
    load_tile<6>(b, b_stride);
    load_tile<7>(b + 16, b_stride);
    load_tile<4>(a, a_stride);
    if constexpr (halves == 2) load_tile<5>(a + 16 * a_stride / Index(sizeof(float)), a_stride);
    multiply<0, 4, 6>();
    between(0);
    multiply<1, 4, 7>();
    between(1);
    if constexpr (halves == 2) multiply<2, 5, 6>();
    between(2);
    if constexpr (halves == 2) multiply<3, 5, 7>();
    between(3);
  }

  // A `between` that asks the first-level cache for 16 times two lines, `stride` bytes apart from `soon` on (which need
  // not exist): where a neighbour shares the core, tile loads wait for products, and this order loses least (a fifth
  // faster than without, 3 % slower where there is no neighbour).
  static auto asking_for(const void* soon, Index stride) noexcept {
    return [=](int part) {
      // A number: behind the last rows no object lies that a pointer could point into.
      auto row = reinterpret_cast<std::uintptr_t>(soon) + static_cast<std::uintptr_t>(4 * part * stride);
      AULOS_UNROLL for (int i = 0; i < 4; ++i, row += static_cast<std::uintptr_t>(stride)) {
        __builtin_prefetch(reinterpret_cast<const void*>(row), 0, 3);       // NOLINT(performance-no-int-to-ptr)
        __builtin_prefetch(reinterpret_cast<const void*>(row + 64), 0, 3);  // NOLINT(performance-no-int-to-ptr)
      }
    };
  }
  // The same, asking for the rows of b that come after the next 16.
  static void add(const float* a, Index a_stride, const float* b, Index b_stride) noexcept {
    const auto soon = reinterpret_cast<std::uintptr_t>(b) + static_cast<std::uintptr_t>(32 * b_stride);
    add(a, a_stride, b, b_stride,
        asking_for(reinterpret_cast<const void*>(soon), b_stride));  // NOLINT(performance-no-int-to-ptr)
  }

  static void store(float* c, Index stride) noexcept {
    float* lower = c + 16 * stride / Index(sizeof(float));
    store_tile<0>(c, stride);
    store_tile<1>(c + 16, stride);
    if constexpr (halves == 2) store_tile<2>(lower, stride);
    if constexpr (halves == 2) store_tile<3>(lower + 16, stride);
  }

 private:
  template <int sum, int a, int b>
  static void multiply() noexcept {
    if constexpr (mode == Numeric::bf16) {
      multiply_tiles_bf16<sum, a, b>();
    } else {
      multiply_tiles_int8<sum, a, b>();
    }
  }
};

}  // namespace aulos::inline AULOS_ISA::simd

#undef AULOS_HAS_TILES
