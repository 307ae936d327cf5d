// The Box-Muller transform in fixed point: two random words to two normal deviates, the same bits everywhere.
//
// In floating point the last bits would depend on whether the compiler fuses a*b + c, on -ffast-math and on the C
// library; integers have none of that. The end of a name tells its scale: x_q60 stands for x 2^60.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA {

// floor(a b / 2^64)
constexpr std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) noexcept {
#if defined(__SIZEOF_INT128__)
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>((static_cast<Wide>(a) * b) >> 64);
#else
  const std::uint64_t low = 0xFFFFFFFF, a0 = a & low, a1 = a >> 32, b0 = b & low, b1 = b >> 32;
  const std::uint64_t middle = a1 * b0 + ((a0 * b0) >> 32);
  return a1 * b1 + (middle >> 32) + ((a0 * b1 + (middle & low)) >> 32);
#endif
}

class BoxMuller {
 public:
  // (radius cos(angle), radius sin(angle)) times 2^59, with radius = sqrt(-2 log(u)): at most 9.42. The error is below
  // 2^-55 where the radius is 1 or more, and grows with 1/radius below that.
  static constexpr std::array<std::int64_t, 2> transform(std::uint64_t u, std::uint64_t angle) noexcept {
    const std::uint64_t radius_q60 = sqrt_q60(minus_two_log_q56(u));
    // angle / 2^64 = (quadrant + 1/2 + offset) / 4 turns; the constant 1/2 is left out: it turns all alike.
    const std::uint64_t quadrant = angle >> 62, half_q62 = std::uint64_t{1} << 61;
    const std::uint64_t part_q62 = angle & ((std::uint64_t{1} << 62) - 1);
    const bool below = part_q62 < half_q62;
    const std::uint64_t offset_q64 = (below ? half_q62 - part_q62 : part_q62 - half_q62) << 2;
    const std::uint64_t phi_q64 = multiply_high(offset_q64, half_pi_q63) << 1;  // at most pi/4
    const auto cosine = static_cast<std::int64_t>(multiply_high(radius_q60, cos_q63(phi_q64)));
    const auto size = static_cast<std::int64_t>(multiply_high(radius_q60, sin_q64(phi_q64)) >> 1);
    const std::int64_t sine = below ? -size : size;
    const bool odd = (quadrant & 1) != 0;
    const std::int64_t x = odd ? sine : cosine, y = odd ? cosine : sine;
    return {quadrant == 1 || quadrant == 2 ? -x : x, quadrant >= 2 ? -y : y};
  }

 private:
  static constexpr std::uint64_t half_pi_q63 = 0xC90FDAA22168C234, log_2_q64 = 0xB17217F7D1CF79AB;

  // One of 32 equal parts of [1, 2).
  struct Cell {
    std::uint32_t inverse_q16;  // 1 / its lower end, rounded up
    std::uint64_t log_q64;      // -log(inverse)
  };
  static constexpr Cell cells[32] = {
      {65536, 0x0000000000000000}, {63551, 0x07DFAEC4162C727E}, {61681, 0x0F8508600931532B},
      {59919, 0x16F06A8AFA8B45E3}, {58255, 0x1E26276E8CF2ACBF}, {56680, 0x252A65F047EA4542},
      {55189, 0x2BFD70E1BFA76141}, {53774, 0x32A3A53A792D0292}, {52429, 0x391FAF8F3D344202},
      {51151, 0x3F70F8DB7A9BBAA1}, {49933, 0x459C62AF3F17D1B4}, {48771, 0x4BA382EB8494C270},
      {47663, 0x51858F08A37AF51E}, {46604, 0x574616FDC226F017}, {45591, 0x5CE64FDB7FBFB419},
      {44621, 0x6267B61B9E28FB2F}, {43691, 0x67CC0FB31E612520}, {42800, 0x6D125DF0523C6A34},
      {41944, 0x723E5F1F8A6766B1}, {41121, 0x775110133432711E}, {40330, 0x7C49FD7EC41BB178},
      {39569, 0x812A6D2D31A7F5E1}, {38837, 0x85F2272231D3183B}, {38131, 0x8AA4769905CDC99B},
      {37450, 0x8F417AF4A20561F0}, {36793, 0x93C9689579A7A4FC}, {36158, 0x983E599A8A85EC7D},
      {35545, 0x9C9EEE9AB270CD3C}, {34953, 0xA0EB9F42959539F8}, {34380, 0xA526E2EDE3F59EE6},
      {33826, 0xA94F8934A02B24F6}, {33289, 0xAD684A632717B696}};

  static constexpr auto reciprocals_q64 = [] {  // 1/n
    std::array<std::uint64_t, 13> values{};
    for (std::size_t n = 1; n < values.size(); ++n) values[n] = ~std::uint64_t{0} / n;
    return values;
  }();
  static constexpr auto inverse_factorials_q64 = [] {  // 1/n!
    std::array<std::uint64_t, 19> values{~std::uint64_t{0}};
    for (std::size_t n = 1; n < values.size(); ++n) values[n] = values[n - 1] / n;
    return values;
  }();

  // -2 log(u / 2^64), an even u taken as u + 1.
  static constexpr std::uint64_t minus_two_log_q56(std::uint64_t u) noexcept {
    // u / 2^64 = f / 2^(zeros + 1) with f in [1, 2), and f inverse = 1 + t with t below 1/31.
    const int zeros = std::countl_zero(u | 1);
    const std::uint64_t f_q63 = (u | 1) << zeros;
    const Cell& cell = cells[(f_q63 >> 58) & 31];
    const std::uint64_t inverse_q63 = static_cast<std::uint64_t>(cell.inverse_q16) << 47;
    const std::uint64_t t_q64 = (multiply_high(f_q63, inverse_q63) - (std::uint64_t{1} << 62)) << 2;
    // log(1 + t) = t - t t (1/2 - t (1/3 - ...))
    std::uint64_t sum_q64 = 0;
    for (std::size_t n = 12; n >= 2; --n) sum_q64 = reciprocals_q64[n] - multiply_high(t_q64, sum_q64);
    const std::uint64_t log_1p_q64 = t_q64 - multiply_high(t_q64, multiply_high(t_q64, sum_q64));
    const std::uint64_t log_f_q57 = (cell.log_q64 + log_1p_q64) >> 7;
    const std::uint64_t exponent_q57 = multiply_high(static_cast<std::uint64_t>(zeros + 1) << 57, log_2_q64);
    return exponent_q57 - log_f_q57;  // of -log, which is -2 log at half the scale
  }

  // sqrt(x) for x below 2^7, by Newton's iteration for 1/sqrt.
  static constexpr std::uint64_t sqrt_q60(std::uint64_t x_q56) noexcept {
    const int steps = std::countl_zero(x_q56 | 1) / 2;
    const std::uint64_t m_q64 = (x_q56 | 1) << (2 * steps);  // x = m 4^(4 - steps), m in [1/4, 1)
    // y = 1/sqrt(m), at first by a parabola (within 2.5 percent), then by y (3 - m y^2) / 2 (to 1e-3, 1e-6, 2e-12,
    // all).
    std::uint64_t y_q62 =
        0xAAEF1F072C442800 - multiply_high(m_q64, 0xD243B77A5530B000 - multiply_high(m_q64, 0x68DE929CFB22F800));
    for (int i = 0; i < 4; ++i) {
      const std::uint64_t square_q61 = multiply_high(y_q62, y_q62) << 1;
      const std::uint64_t factor_q61 = (std::uint64_t{3} << 61) - multiply_high(m_q64, square_q61);
      y_q62 = multiply_high(y_q62, factor_q61) << 2;
    }
    const std::uint64_t root_q62 = multiply_high(m_q64, y_q62);
    return steps <= 2 ? root_q62 << (2 - steps) : root_q62 >> (steps - 2);
  }

  // phi - phi z (1/3! - z (1/5! - ...)) with z = phi^2, for phi up to pi/4.
  static constexpr std::uint64_t sin_q64(std::uint64_t phi_q64) noexcept {
    const std::uint64_t z_q64 = multiply_high(phi_q64, phi_q64);
    std::uint64_t sum_q64 = 0;
    for (std::size_t n = 17; n >= 3; n -= 2) sum_q64 = inverse_factorials_q64[n] - multiply_high(z_q64, sum_q64);
    return phi_q64 - multiply_high(phi_q64, multiply_high(z_q64, sum_q64));
  }

  // 1 - z (1/2! - z (1/4! - ...))
  static constexpr std::uint64_t cos_q63(std::uint64_t phi_q64) noexcept {
    const std::uint64_t z_q64 = multiply_high(phi_q64, phi_q64);
    std::uint64_t sum_q64 = 0;
    for (std::size_t n = 18; n >= 2; n -= 2) sum_q64 = inverse_factorials_q64[n] - multiply_high(z_q64, sum_q64);
    return (std::uint64_t{1} << 63) - (multiply_high(z_q64, sum_q64) >> 1);
  }
};

}  // namespace aulos::inline AULOS_ISA
