// Matrix tiles (AMX): eight registers of 16 rows of 64 bytes. Only where compiled for; elsewhere has_tiles is false and
// request_tiles does nothing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "aulos/core/config.hpp"
#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AMX_INT8__)
#include <sys/syscall.h>
#include <unistd.h>

#include "aulos/core/error.hpp"
#define AULOS_HAS_TILES 1
#else
#define AULOS_HAS_TILES 0
#endif

namespace aulos::inline AULOS_ISA::simd {

inline constexpr bool has_tiles = AULOS_HAS_TILES != 0;

// Asks the system to let this process use tiles, which is needed once and holds for all its threads; throws Error where
// it refuses. Cheap to call again.
inline void request_tiles() {
#if AULOS_HAS_TILES
  static const long refused = [] {
    constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return ::syscall(SYS_arch_prctl, request_permission, tile_data);
  }();
  if (refused != 0) {
    throw Error(
        "tiles: the system refuses AMX to this process; expected Linux 5.16 or newer on a processor with AMX, or a "
        "build for another instruction set");
  }
#endif
}

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

#endif

}  // namespace aulos::inline AULOS_ISA::simd

#undef AULOS_HAS_TILES
