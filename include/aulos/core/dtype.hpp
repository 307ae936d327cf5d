// The element types of checkpoint files, the 16- and 8-bit floats as storage types, and their exact conversions.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"

namespace aulos::inline AULOS_ISA {

// Every dtype of the safetensors format. F32 and F64 are computed with, BF16, F16 and I8 also store weights, the two
// F8 types of published checkpoints are read and converted; the rest is listed, sized and copied as bytes.
enum class Dtype : std::uint8_t {
  boolean,
  f4,
  f6_e2m3,
  f6_e3m2,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  c64,
  f64,
  i64,
  u64,
};

namespace detail {

struct DtypeRow {
  std::string_view name;
  std::uint8_t bits;
};

// In the order of Dtype.
inline constexpr std::array<DtypeRow, 22> dtype_table{{
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
    {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64},
}};

}  // namespace detail

// The spelling of the file format: "F32".
constexpr std::string_view name(Dtype dtype) { return detail::dtype_table[static_cast<std::size_t>(dtype)].name; }

// Bits of one element: 4 and 6 occur.
constexpr Index bits(Dtype dtype) { return detail::dtype_table[static_cast<std::size_t>(dtype)].bits; }

// Exact spelling only: "f32" and "float32" are unknown.
constexpr std::optional<Dtype> parse_dtype(std::string_view text) {
  for (std::size_t i = 0; i < detail::dtype_table.size(); ++i) {
    if (detail::dtype_table[i].name == text) return static_cast<Dtype>(i);
  }
  return std::nullopt;
}

// Whether convert() reads it into float and double.
constexpr bool is_convertible(Dtype dtype) {
  return dtype == Dtype::f64 || dtype == Dtype::f32 || dtype == Dtype::f16 || dtype == Dtype::bf16 ||
         dtype == Dtype::f8_e4m3 || dtype == Dtype::f8_e5m2;
}

// BOOL, I8 to I64 and U8 to U64.
constexpr bool is_integer(Dtype dtype) {
  return dtype == Dtype::boolean || dtype == Dtype::i8 || dtype == Dtype::u8 || dtype == Dtype::i16 ||
         dtype == Dtype::u16 || dtype == Dtype::i32 || dtype == Dtype::u32 || dtype == Dtype::i64 ||
         dtype == Dtype::u64;
}

namespace detail {

// sign | exponent | fraction of a computed type.
template <std::floating_point T>
struct FloatLayout {
  using Word = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  static constexpr int exponent = sizeof(T) == 4 ? 8 : 11;
  static constexpr int fraction = sizeof(T) == 4 ? 23 : 52;
};

// What the exponent of all ones means: Inf and NaN as in IEEE 754, or numbers, with NaN for all bits set (F8_E4M3).
enum class TopExponent { ieee, finite };

// 2^exponent as bits, for a normal result.
template <std::floating_point T>
constexpr T power_of_two(int exponent) {
  using Layout = FloatLayout<T>;
  constexpr int bias = (1 << (Layout::exponent - 1)) - 1;
  return std::bit_cast<T>(static_cast<typename Layout::Word>(exponent + bias) << Layout::fraction);
}

// The value of a narrower format's bits in T: exact for every input, NaN payloads included. Source and result are
// never touched as subnormal floats, so flush-to-zero modes change nothing.
template <std::floating_point T, int kExponent, int kFraction, TopExponent kTop = TopExponent::ieee>
constexpr T widen(typename FloatLayout<T>::Word source) {
  using Layout = FloatLayout<T>;
  using Word = typename Layout::Word;
  constexpr int shift = Layout::fraction - kFraction;
  const Word sign = (source >> (kExponent + kFraction)) << (Layout::exponent + Layout::fraction);
  const Word magnitude = source & ((Word{1} << (kExponent + kFraction)) - 1);
  if constexpr (kExponent == Layout::exponent) {
    return std::bit_cast<T>(sign | (magnitude << shift));
  } else {
    constexpr Word rebias = static_cast<Word>((1 << (Layout::exponent - 1)) - (1 << (kExponent - 1)))
                            << Layout::fraction;
    Word normal = (magnitude << shift) + rebias;
    if constexpr (kTop == TopExponent::ieee) {
      constexpr Word infinity = ((Word{1} << kExponent) - 1) << kFraction;
      normal += magnitude >= infinity ? rebias : Word{0};
    } else {
      constexpr Word nan = (((Word{1} << (Layout::exponent + 1)) - 1)) << (Layout::fraction - 1);
      normal = magnitude == (Word{1} << (kExponent + kFraction)) - 1 ? nan : normal;
    }
    // A subnormal is its fraction times a constant; both are normal numbers in T.
    const T subnormal =
        static_cast<T>(static_cast<std::int32_t>(magnitude)) * power_of_two<T>(2 - (1 << (kExponent - 1)) - kFraction);
    return std::bit_cast<T>(sign | (magnitude < (Word{1} << kFraction) ? std::bit_cast<Word>(subnormal) : normal));
  }
}

// The bits of the nearest value of a narrower IEEE format, ties to even, in integer arithmetic: subnormals are exact
// under any flush-to-zero mode, what rounds past the largest value becomes Inf, NaN stays NaN (quiet, same sign).
template <int kExponent, int kFraction, std::floating_point T>
constexpr typename FloatLayout<T>::Word narrow(T value) {
  using Layout = FloatLayout<T>;
  using Word = typename Layout::Word;
  constexpr int shift = Layout::fraction - kFraction;
  constexpr Word source_infinity = ((Word{1} << Layout::exponent) - 1) << Layout::fraction;
  constexpr Word infinity = ((Word{1} << kExponent) - 1) << kFraction;
  const auto round = [](Word significand, int drop) {
    return (significand + (Word{1} << (drop - 1)) - 1 + ((significand >> drop) & 1)) >> drop;
  };

  const Word source = std::bit_cast<Word>(value);
  const Word sign = (source >> (Layout::exponent + Layout::fraction)) << (kExponent + kFraction);
  const Word magnitude = source & ((Word{1} << (Layout::exponent + Layout::fraction)) - 1);
  if (magnitude > source_infinity) {
    constexpr Word quiet = Word{1} << (kFraction - 1);
    return sign | infinity | quiet | ((magnitude >> shift) & ((Word{1} << kFraction) - 1));
  }
  if (magnitude == source_infinity) return sign | infinity;
  constexpr int rebias = (1 << (Layout::exponent - 1)) - (1 << (kExponent - 1));
  const int exponent = static_cast<int>(magnitude >> Layout::fraction) - rebias;
  if constexpr (kExponent == Layout::exponent) return sign | round(magnitude, shift);
  if (exponent >= (1 << kExponent) - 1) return sign | infinity;
  if (exponent > 0) return sign | round(magnitude - (static_cast<Word>(rebias) << Layout::fraction), shift);
  const int drop = shift + 1 - exponent;
  if (drop > Layout::fraction + 1) return sign;  // below half of the smallest subnormal
  constexpr Word hidden = Word{1} << Layout::fraction;
  return sign | round((magnitude & (hidden - 1)) | hidden, drop);
}

// A float that is stored, not computed with: trivial, explicit both ways.
template <class BitsType, int kExponent, int kFraction, TopExponent kTop = TopExponent::ieee>
struct StoredFloat {
  BitsType bits;

  StoredFloat() = default;
  template <std::floating_point T>
  requires(sizeof(BitsType) == 2) constexpr explicit StoredFloat(T value)
      : bits(static_cast<BitsType>(narrow<kExponent, kFraction>(value))) {}
  static constexpr StoredFloat from_bits(BitsType bits) {
    StoredFloat result{};
    result.bits = bits;
    return result;
  }

  template <std::floating_point T>
  constexpr explicit operator T() const {
    return widen<T, kExponent, kFraction, kTop>(bits);
  }
};

}  // namespace detail

using bf16 = detail::StoredFloat<std::uint16_t, 8, 7>;
using f16 = detail::StoredFloat<std::uint16_t, 5, 10>;
using f8_e4m3 = detail::StoredFloat<std::uint8_t, 4, 3, detail::TopExponent::finite>;
using f8_e5m2 = detail::StoredFloat<std::uint8_t, 5, 2>;

namespace detail {

template <class T>
constexpr Dtype find_dtype() {
  if constexpr (std::is_same_v<T, bool>) return Dtype::boolean;
  if constexpr (std::is_same_v<T, float>) return Dtype::f32;
  if constexpr (std::is_same_v<T, double>) return Dtype::f64;
  if constexpr (std::is_same_v<T, bf16>) return Dtype::bf16;
  if constexpr (std::is_same_v<T, f16>) return Dtype::f16;
  if constexpr (std::is_same_v<T, f8_e4m3>) return Dtype::f8_e4m3;
  if constexpr (std::is_same_v<T, f8_e5m2>) return Dtype::f8_e5m2;
  if constexpr (std::is_same_v<T, std::int8_t>) return Dtype::i8;
  if constexpr (std::is_same_v<T, std::uint8_t>) return Dtype::u8;
  if constexpr (std::is_same_v<T, std::int16_t>) return Dtype::i16;
  if constexpr (std::is_same_v<T, std::uint16_t>) return Dtype::u16;
  if constexpr (std::is_same_v<T, std::int32_t>) return Dtype::i32;
  if constexpr (std::is_same_v<T, std::uint32_t>) return Dtype::u32;
  if constexpr (std::is_same_v<T, std::int64_t>) return Dtype::i64;
  if constexpr (std::is_same_v<T, std::uint64_t>) return Dtype::u64;
}

}  // namespace detail

// The dtype that stores a C++ type.
template <class T>
inline constexpr Dtype dtype_of = detail::find_dtype<T>();

namespace detail {

template <class To, class From>
constexpr To convert_element(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (std::is_same_v<From, float>) {  // to double, unlike a cast also with denormals-are-zero
    if constexpr (std::is_same_v<To, double>)
      return widen<double, 8, 23>(std::bit_cast<std::uint32_t>(value));
    else
      return To(value);
  } else if constexpr (std::is_same_v<To, float> && std::is_same_v<From, double>) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(narrow<8, 23>(value)));
  } else {
    return static_cast<To>(value);
  }
}

// Neither side need be aligned.
template <class To, class From>
void convert_elements(const std::byte* source, std::byte* destination, Index count) {
  if (count <= 0) return;  // the pointers may be null
  if constexpr (std::is_same_v<To, From>) {
    std::memcpy(destination, source, static_cast<std::size_t>(count) * sizeof(From));
  } else {
    for (Index i = 0; i < count; ++i) {
      From element;
      std::memcpy(&element, source + i * static_cast<Index>(sizeof(From)), sizeof(From));
      const To converted = convert_element<To>(element);
      std::memcpy(destination + i * static_cast<Index>(sizeof(To)), &converted, sizeof(To));
    }
  }
}

}  // namespace detail

// `count` little-endian elements of `from` at `source`, which needs no alignment, as T (float or double). Exact where T
// is wider, else the nearest, ties to even. Throws Error for a dtype that is not is_convertible.
template <std::floating_point T>
void convert(Dtype from, const std::byte* source, T* destination, Index count) {
  auto* out = reinterpret_cast<std::byte*>(destination);
  switch (from) {
    case Dtype::f32:
      return detail::convert_elements<T, float>(source, out, count);
    case Dtype::f64:
      return detail::convert_elements<T, double>(source, out, count);
    case Dtype::f16:
      return detail::convert_elements<T, f16>(source, out, count);
    case Dtype::bf16:
      return detail::convert_elements<T, bf16>(source, out, count);
    case Dtype::f8_e4m3:
      return detail::convert_elements<T, f8_e4m3>(source, out, count);
    case Dtype::f8_e5m2:
      return detail::convert_elements<T, f8_e5m2>(source, out, count);
    default:
      throw Error("convert: expected one of F64, F32, F16, BF16, F8_E4M3, F8_E5M2, got " + std::string(name(from)));
  }
}

// The way back: `count` elements of T as F64, F32, F16 or BF16, to the nearest, ties to even.
template <std::floating_point T>
void convert(const T* source, Dtype to, std::byte* destination, Index count) {
  const auto* in = reinterpret_cast<const std::byte*>(source);
  switch (to) {
    case Dtype::f32:
      return detail::convert_elements<float, T>(in, destination, count);
    case Dtype::f64:
      return detail::convert_elements<double, T>(in, destination, count);
    case Dtype::f16:
      return detail::convert_elements<f16, T>(in, destination, count);
    case Dtype::bf16:
      return detail::convert_elements<bf16, T>(in, destination, count);
    default:
      throw Error("convert: expected one of F64, F32, F16, BF16, got " + std::string(name(to)));
  }
}

}  // namespace aulos::inline AULOS_ISA
