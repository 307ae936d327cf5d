// Products of one vector with many rows, whose elements become lanes on the way from memory: lane r sums row r in the
// order of its terms, as a product of packed columns does.
#pragma once

#include <bit>
#include <cstddef>
#include <cstring>
#include <utility>

#include "aulos/simd/batch.hpp"

namespace aulos::inline AULOS_ISA::simd {

namespace detail {

// Rows are read in pieces of 16 bytes. The registers are of at most 32: two pieces, one of which is loaded and the
// other inserted from memory, take no shuffle across 16 bytes, of which wider ones take one for each element.
template <class T>
struct Pieces {
  static constexpr std::size_t bytes = sizeof(typename Batch<T>::Native) < 32 ? sizeof(typename Batch<T>::Native) : 32;
  typedef T Type __attribute__((vector_size(bytes)));
  typedef T Piece __attribute__((vector_size(16)));
  static constexpr Index width = 16 / Index(sizeof(T)), lanes = Index(bytes / sizeof(T));

  static Piece load_piece(const T* p) noexcept {
    Piece x;
    std::memcpy(&x, p, sizeof(x));
    return x;
  }
  // The pieces at p and at q.
  static Type load(const T* p, [[maybe_unused]] const T* q) noexcept {
    if constexpr (lanes == width) {
      return std::bit_cast<Type>(load_piece(p));
#if defined(__AVX__)
    } else if constexpr (sizeof(T) == 4) {  // g++ loads both and shuffles
      const auto lower = _mm256_castps128_ps256(std::bit_cast<__m128>(load_piece(p)));
      return std::bit_cast<Type>(_mm256_insertf128_ps(lower, std::bit_cast<__m128>(load_piece(q)), 1));
    } else {
      const auto lower = _mm256_castpd128_pd256(std::bit_cast<__m128d>(load_piece(p)));
      return std::bit_cast<Type>(_mm256_insertf128_pd(lower, std::bit_cast<__m128d>(load_piece(q)), 1));
#endif
    }
  }
  // In each 16 bytes: the lower (half = 0) or upper (half = 1) halves of a and b, interleaved.
  template <int half, std::size_t... i>
  static Type interleave(Type a, Type b, std::index_sequence<i...>) noexcept {
    constexpr int w = static_cast<int>(width), all = static_cast<int>(lanes);
    return __builtin_shufflevector(
        a, b,
        (static_cast<int>(i) / w * w + half * w / 2 + static_cast<int>(i) % w / 2 + static_cast<int>(i) % 2 * all)...);
  }
  template <int half>
  static Type interleave(Type a, Type b) noexcept {
    return interleave<half>(a, b, std::make_index_sequence<static_cast<std::size_t>(lanes)>{});
  }

  static Type fma(Type a, Type b, Type c) noexcept {
    if constexpr (bytes == sizeof(typename Batch<T>::Native)) {
      using Register = typename Batch<T>::Native::register_type;
      const auto batch = [](Type x) { return Batch<T>(typename Batch<T>::Native(std::bit_cast<Register>(x))); };
      return std::bit_cast<Type>(static_cast<Register>(simd::fma(batch(a), batch(b), batch(c)).native()));
#if defined(__AVX512F__)
    } else if constexpr (sizeof(T) == 4) {
      const auto ymm = [](Type x) { return std::bit_cast<__m256>(x); };
      return std::bit_cast<Type>(_mm256_fmadd_ps(ymm(a), ymm(b), ymm(c)));
    } else {
      const auto ymm = [](Type x) { return std::bit_cast<__m256d>(x); };
      return std::bit_cast<Type>(_mm256_fmadd_pd(ymm(a), ymm(b), ymm(c)));
#endif
    }
  }

  // sum, lane r += a[0] row_r[0] + a[1] row_r[1] + ... over `count` <= width columns; at(r) is a piece of row r.
  template <class At>
  [[gnu::always_inline]] static void add(Type& sum, const T* a, Index count, const At& at) noexcept {
    Type x[static_cast<std::size_t>(width)], y[static_cast<std::size_t>(width)];
    AULOS_UNROLL
    for (Index r = 0; r < width; ++r) x[r] = load(at(r), lanes == width ? nullptr : at(r + width));
    AULOS_UNROLL
    for (Index stage = 1; stage < width; stage *= 2) {
      AULOS_UNROLL
      for (Index i = 0; i < width; i += 2) {
        y[i] = interleave<0>(x[i / 2], x[i / 2 + width / 2]);
        y[i + 1] = interleave<1>(x[i / 2], x[i / 2 + width / 2]);
      }
      AULOS_UNROLL
      for (Index i = 0; i < width; ++i) x[i] = y[i];
    }
    AULOS_UNROLL
    for (Index i = 0; i < width; ++i) {
      if (i < count) sum = fma(a[i] - Type{}, x[i], sum);  // a in every lane
    }
  }
};

}  // namespace detail

// Rows that one pair of registers holds.
template <class T>
inline constexpr Index dot_rows = 2 * detail::Pieces<T>::lanes;

// How often row_dots calls beside().
template <class T>
constexpr Index row_dots_steps(Index pairs, Index width) noexcept {
  constexpr Index piece = detail::Pieces<T>::width;
  return pairs * ((width + piece - 1) / piece);
}

// s[r] = sum_c a[c] p[r * ld + c] of `width` terms in order, for the pairs * dot_rows rows of p. Reads nothing else.
// beside(): what is to be done meanwhile, a part at each of its row_dots_steps calls.
template <class T, Index pairs, class Beside>
[[gnu::always_inline]] inline void row_dots(T* s, const T* a, const T* p, Index ld, Index width,
                                            const Beside& beside) noexcept {
  using Register = detail::Pieces<T>;
  constexpr Index piece = Register::width, line = 64 / Index(sizeof(T));
  typename Register::Type sum[static_cast<std::size_t>(2 * pairs)] = {};
  for (Index first = 0; first < width; first += line) {  // of one cache line of each row at a time
    const Index last = width - first < line ? width : first + line;
    AULOS_UNROLL
    for (Index pair = 0; pair < pairs; ++pair) {
      const T* const rows = p + pair * dot_rows<T> * ld;
      Index c = first;
      for (; c + piece <= last; c += piece) {
        beside();
        AULOS_UNROLL
        for (Index i = 0; i < 2; ++i) {
          const T* const from = rows + i * Register::lanes * ld + c;
          Register::add(sum[2 * pair + i], a + c, piece, [from, ld](Index r) { return from + r * ld; });
        }
      }
      if (c == last) continue;
      beside();
      T part[static_cast<std::size_t>(dot_rows<T>)][static_cast<std::size_t>(piece)] = {};
      for (Index r = 0; r < dot_rows<T>; ++r) {
        for (Index i = 0; i < last - c; ++i) part[r][i] = rows[r * ld + c + i];
      }
      AULOS_UNROLL
      for (Index i = 0; i < 2; ++i) {
        Register::add(sum[2 * pair + i], a + c, last - c, [&](Index r) { return part[i * Register::lanes + r]; });
      }
    }
  }
  AULOS_UNROLL
  for (Index i = 0; i < 2 * pairs; ++i) std::memcpy(s + i * Register::lanes, &sum[i], sizeof(sum[i]));
}

// The same for n <= dot_rows rows.
template <class T>
[[gnu::noinline]] void row_dots_part(T* s, const T* a, const T* p, Index ld, Index n, Index width) noexcept {
  using Register = detail::Pieces<T>;
  constexpr Index piece = Register::width;
  typename Register::Type sum[2] = {};
  for (Index c = 0; c < width; c += piece) {
    const Index count = width - c < piece ? width - c : piece;
    T part[static_cast<std::size_t>(dot_rows<T>)][static_cast<std::size_t>(piece)] = {};
    for (Index r = 0; r < n; ++r) {
      for (Index i = 0; i < count; ++i) part[r][i] = p[r * ld + c + i];
    }
    AULOS_UNROLL
    for (Index i = 0; i < 2; ++i) {
      Register::add(sum[i], a + c, count, [&](Index r) { return part[i * Register::lanes + r]; });
    }
  }
  std::memcpy(s, sum, static_cast<std::size_t>(n) * sizeof(T));
}

}  // namespace aulos::inline AULOS_ISA::simd
