#include "aulos/core/dtype.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

namespace aulos {
namespace {

static_assert(std::is_trivial_v<bf16> && sizeof(bf16) == 2 && sizeof(f16) == 2);
static_assert(std::is_trivial_v<f8_e4m3> && sizeof(f8_e4m3) == 1 && sizeof(f8_e5m2) == 1);
static_assert(!std::is_constructible_v<f8_e4m3, float> && !std::is_convertible_v<float, bf16>);
static_assert(static_cast<float>(f16::from_bits(0x3c00)) == 1.0f && bf16(1.0f).bits == 0x3f80);
static_assert(dtype_of<float> == Dtype::f32 && dtype_of<bf16> == Dtype::bf16 && dtype_of<std::int64_t> == Dtype::i64);

// A format described by the standard's words, in double.
struct Format {
  int exponent;
  int fraction;
  bool has_infinity;
};
constexpr Format bf16_format{8, 7, true};
constexpr Format f16_format{5, 10, true};
constexpr Format f32_format{8, 23, true};
constexpr Format e4m3_format{4, 3, false};
constexpr Format e5m2_format{5, 2, true};

double decode(std::uint32_t bits, Format f) {
  const int bias = (1 << (f.exponent - 1)) - 1;
  const double sign = (bits >> (f.exponent + f.fraction)) != 0 ? -1.0 : 1.0;
  const int exponent = static_cast<int>(bits >> f.fraction) & ((1 << f.exponent) - 1);
  const int fraction = static_cast<int>(bits & ((1u << f.fraction) - 1));
  const int top = (1 << f.exponent) - 1;
  if (f.has_infinity && exponent == top) {
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity() : std::nan("");
  }
  if (!f.has_infinity && exponent == top && fraction == (1 << f.fraction) - 1) return std::nan("");
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - f.fraction);
  return sign * std::ldexp((1 << f.fraction) + fraction, exponent - bias - f.fraction);
}

// The nearest value of the format, ties to even: round x / ulp in double, which is exact.
double nearest(double x, Format f) {
  if (std::isnan(x) || std::isinf(x) || x == 0) return x;
  const int bias = (1 << (f.exponent - 1)) - 1;
  const int exponent = std::max(std::ilogb(x), 1 - bias);
  const double ulp = std::ldexp(1.0, exponent - f.fraction);
  const double rounded = std::nearbyint(x / ulp) * ulp;
  const double largest = std::ldexp(2.0 - std::ldexp(1.0, -f.fraction), bias);
  return std::fabs(rounded) > largest ? std::copysign(std::numeric_limits<double>::infinity(), x) : rounded;
}

template <class A, class B>
bool same(A a, B b) {
  return (std::isnan(a) && std::isnan(b)) ||
         (static_cast<double>(a) == static_cast<double>(b) && std::signbit(a) == std::signbit(b));
}

template <class Stored>
void expect_widens_exactly(std::uint32_t count, Format format) {
  for (std::uint32_t bits = 0; bits < count; ++bits) {
    const Stored value = Stored::from_bits(static_cast<decltype(Stored::bits)>(bits));
    const double expected = decode(bits, format);
    ASSERT_TRUE(same(static_cast<float>(value), expected)) << bits;
    ASSERT_TRUE(same(static_cast<double>(value), expected)) << bits;
  }
}

template <class Stored, class T>
void expect_narrows_to_nearest(Format format, unsigned seed) {
  std::mt19937_64 random(seed);
  for (int i = 0; i < 200'000; ++i) {
    const std::uint64_t word = random();
    T value;
    if constexpr (sizeof(T) == 4) {
      value = std::bit_cast<float>(static_cast<std::uint32_t>(word));
    } else {
      value = std::ldexp(1.0 + static_cast<double>(word >> 12) * 0x1p-52, static_cast<int>(word % 320) - 170);
      if (word & 1) value = -value;
    }
    if (i % 4 == 0) value = static_cast<T>(Stored(value));  // at and around representable values and ties
    if (i % 4 == 1)
      value = static_cast<T>((static_cast<double>(static_cast<T>(Stored(value)))) *
                             (1.0 + std::ldexp(1.0, -format.fraction - 1)));
    const double expected = nearest(static_cast<double>(value), format);
    ASSERT_TRUE(same(static_cast<double>(Stored(value)), expected)) << value << " " << Stored(value).bits;
  }
}

TEST(Dtype, TableIsTheFormats) {
  const std::vector<std::pair<std::string, Index>> expected = {
      {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
      {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
      {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
      {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64}};
  ASSERT_EQ(expected.size(), 22u);
  for (const auto& [text, size] : expected) {
    const auto dtype = parse_dtype(text);
    ASSERT_TRUE(dtype.has_value()) << text;
    EXPECT_EQ(name(*dtype), text);
    EXPECT_EQ(bits(*dtype), size) << text;
  }
}

TEST(Dtype, ParseTakesTheExactSpellingOnly) {
  for (const char* text : {"", "f32", "F32 ", "float32", "F128", "F3", "BOOLEAN", "bool", "F8"}) {
    EXPECT_FALSE(parse_dtype(text).has_value()) << text;
  }
}

TEST(Dtype, Bf16WidensExactly) { expect_widens_exactly<bf16>(1u << 16, bf16_format); }
TEST(Dtype, F16WidensExactly) { expect_widens_exactly<f16>(1u << 16, f16_format); }
TEST(Dtype, F8E4m3WidensExactly) { expect_widens_exactly<f8_e4m3>(256, e4m3_format); }
TEST(Dtype, F8E5m2WidensExactly) { expect_widens_exactly<f8_e5m2>(256, e5m2_format); }

TEST(Dtype, EveryStoredValueComesBack) {
  for (std::uint32_t bits = 0; bits < (1u << 16); ++bits) {
    const auto half = f16::from_bits(static_cast<std::uint16_t>(bits));
    const auto brain = bf16::from_bits(static_cast<std::uint16_t>(bits));
    if (!std::isnan(static_cast<float>(half))) {
      ASSERT_EQ(f16(static_cast<float>(half)).bits, bits);
      ASSERT_EQ(f16(static_cast<double>(half)).bits, bits);
    }
    if (!std::isnan(static_cast<float>(brain))) {
      ASSERT_EQ(bf16(static_cast<float>(brain)).bits, bits);
      ASSERT_EQ(bf16(static_cast<double>(brain)).bits, bits);
    }
  }
}

TEST(Dtype, FloatNarrowsToTheNearest) {
  expect_narrows_to_nearest<bf16, float>(bf16_format, 1);
  expect_narrows_to_nearest<f16, float>(f16_format, 2);
}

TEST(Dtype, DoubleNarrowsToTheNearestAtOnce) {
  expect_narrows_to_nearest<bf16, double>(bf16_format, 3);
  expect_narrows_to_nearest<f16, double>(f16_format, 4);
  // Just above a tie of bf16, but on it once rounded to float.
  const double above = 1.0 + 0x1p-8 + 0x1p-40;
  EXPECT_EQ(bf16(above).bits, 0x3f81);
  EXPECT_EQ(bf16(static_cast<float>(above)).bits, 0x3f80);
}

TEST(Dtype, KnownBitPatterns) {
  EXPECT_EQ(f16(65504.0f).bits, 0x7bff);
  EXPECT_EQ(f16(65519.996f).bits, 0x7bff);
  EXPECT_EQ(f16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(f16(-1e30f).bits, 0xfc00);
  EXPECT_EQ(f16(0x1p-24f).bits, 0x0001);
  EXPECT_EQ(f16(0x1p-25f).bits, 0x0000);  // tie to even
  EXPECT_EQ(f16(std::nextafter(0x1p-25f, 1.0f)).bits, 0x0001);
  EXPECT_EQ(f16(0x1.ff8p-15f).bits, 0x03ff);  // the largest subnormal
  EXPECT_EQ(f16(0x1.ffcp-15f).bits, 0x0400);  // tie to the smallest normal number
  EXPECT_EQ(f16(-0.0f).bits, 0x8000);
  EXPECT_EQ(bf16(std::numeric_limits<float>::max()).bits, 0x7f80);
  EXPECT_EQ(bf16(std::numeric_limits<float>::denorm_min()).bits, 0x0000);
  EXPECT_EQ(bf16(0x1p-133f).bits, 0x0001);  // the smallest subnormal
  EXPECT_EQ(static_cast<float>(f8_e4m3::from_bits(0x7e)), 448.0f);
  EXPECT_EQ(static_cast<float>(f8_e5m2::from_bits(0x7b)), 57344.0f);
}

TEST(Dtype, NanStaysNanAndKeepsItsSign) {
  for (const std::uint32_t bits : {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffc12345u}) {
    const auto value = std::bit_cast<float>(bits);
    const std::uint16_t sign = static_cast<std::uint16_t>(bits >> 31 << 15);
    EXPECT_GT(f16(value).bits & 0x7fff, 0x7c00) << bits;
    EXPECT_GT(bf16(value).bits & 0x7fff, 0x7f80) << bits;
    EXPECT_EQ(f16(value).bits & 0x8000, sign);
    EXPECT_EQ(bf16(value).bits & 0x8000, sign);
  }
  EXPECT_EQ(bf16(std::numeric_limits<float>::infinity()).bits, 0x7f80);
  EXPECT_EQ(f16(-std::numeric_limits<double>::infinity()).bits, 0xfc00);
}

std::vector<std::byte> bytes_of(const void* data, std::size_t size, std::size_t shift) {
  std::vector<std::byte> result(size + shift);
  std::memcpy(result.data() + shift, data, size);
  return result;
}

// Source at every misalignment; values from the format's description.
TEST(Dtype, ConvertReadsUnalignedSources) {
  const Index n = 37;
  std::mt19937 random(7);
  struct Row {
    Dtype dtype;
    Format format;
    int bytes;
  };
  for (const Row row :
       {Row{Dtype::bf16, bf16_format, 2}, Row{Dtype::f16, f16_format, 2}, Row{Dtype::f32, f32_format, 4},
        Row{Dtype::f8_e4m3, e4m3_format, 1}, Row{Dtype::f8_e5m2, e5m2_format, 1}}) {
    for (std::size_t shift = 0; shift < 8; ++shift) {
      std::vector<std::byte> source(shift + static_cast<std::size_t>(n * row.bytes));
      for (std::byte& b : source) b = static_cast<std::byte>(random());
      std::vector<float> as_float(static_cast<std::size_t>(n));
      std::vector<double> as_double(static_cast<std::size_t>(n));
      convert(row.dtype, source.data() + shift, as_float.data(), n);
      convert(row.dtype, source.data() + shift, as_double.data(), n);
      for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, source.data() + shift + i * static_cast<std::size_t>(row.bytes),
                    static_cast<std::size_t>(row.bytes));
        const double expected = decode(bits, row.format);
        EXPECT_TRUE(same(as_float[i], expected)) << name(row.dtype) << " " << bits;
        EXPECT_TRUE(same(as_double[i], expected)) << name(row.dtype) << " " << bits;
      }
    }
  }
}

TEST(Dtype, ConvertNarrowsDoubleToFloatAsTheProcessorDoes) {
  std::mt19937_64 random(11);
  std::vector<double> values = {0.0,        -0.0,
                                1e-46,      0x1p-150,
                                0x1.8p-149, 3.4028235677973366e38,
                                1e300,      -1e300,
                                5e-324,     std::numeric_limits<double>::infinity()};
  for (int i = 0; i < 10000; ++i) {
    values.push_back(std::ldexp(static_cast<double>(random()), static_cast<int>(random() % 320) - 230));
  }
  const auto source = bytes_of(values.data(), values.size() * 8, 3);
  std::vector<float> result(values.size());
  convert(Dtype::f64, source.data() + 3, result.data(), static_cast<Index>(values.size()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(result[i]), std::bit_cast<std::uint32_t>(static_cast<float>(values[i])))
        << values[i];
  }
}

TEST(Dtype, ConvertKeepsNanPayloadsOfItsOwnType) {
  const std::uint32_t payload = 0xffa5a5a5;
  const auto source = bytes_of(&payload, 4, 1);
  float result = 0;
  convert(Dtype::f32, source.data() + 1, &result, 1);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(result), payload);
}

TEST(Dtype, ConvertWritesEveryFloatDtypeThatStoresWeights) {
  const std::vector<float> values = {0.1f, -2.5f, 65504.0f, 1e-7f};
  for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::f16, Dtype::bf16}) {
    std::vector<std::byte> stored(1 + values.size() * static_cast<std::size_t>(bits(dtype) / 8));
    convert(values.data(), dtype, stored.data() + 1, static_cast<Index>(values.size()));
    std::vector<double> back(values.size());
    convert(dtype, stored.data() + 1, back.data(), static_cast<Index>(values.size()));
    const Format format = dtype == Dtype::f16 ? f16_format : dtype == Dtype::bf16 ? bf16_format : f32_format;
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(back[i], nearest(static_cast<double>(values[i]), format));
  }
}

TEST(Dtype, ConvertOfNothingTouchesNoPointer) {
  convert<float>(Dtype::f32, nullptr, nullptr, 0);
  convert<double>(Dtype::bf16, nullptr, nullptr, 0);
  convert<float>(nullptr, Dtype::f16, nullptr, 0);
}

TEST(Dtype, ConvertRefusesWhatIsNoFloat) {
  const std::byte source[8]{};
  float value = 7;
  for (const Dtype dtype : {Dtype::i32, Dtype::boolean, Dtype::f4, Dtype::f8_e8m0, Dtype::f8_e4m3fnuz, Dtype::c64}) {
    EXPECT_FALSE(is_convertible(dtype));
    try {
      convert(dtype, source, &value, 1);
      FAIL() << name(dtype);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("got " + std::string(name(dtype))), std::string::npos) << error.what();
    }
  }
  EXPECT_EQ(value, 7);
}

#if defined(__SSE2__)
// Subnormals, in and out, with flush-to-zero and denormals-are-zero on.
TEST(Dtype, SubnormalsSurviveFlushToZero) {
  const std::uint32_t f32_subnormals[] = {1, 0x7fffff, 0x80000001};
  const std::uint16_t f16_subnormals[] = {1, 0x3ff, 0x8001};
  const double tiny = 0x1.8p-140;  // a subnormal float
  double wide[3];
  float half[3];
  double half_wide[3];
  float narrowed = 0;
  std::uint16_t narrow_half = 0;
  std::uint16_t narrow_brain = 0;
  const unsigned saved = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(saved | 0x8040);
  convert(Dtype::f32, reinterpret_cast<const std::byte*>(f32_subnormals), wide, 3);
  convert(Dtype::f16, reinterpret_cast<const std::byte*>(f16_subnormals), half, 3);
  convert(Dtype::f16, reinterpret_cast<const std::byte*>(f16_subnormals), half_wide, 3);
  convert(Dtype::f64, reinterpret_cast<const std::byte*>(&tiny), &narrowed, 1);
  narrow_half = f16(half[1]).bits;
  narrow_brain = bf16(std::bit_cast<float>(0x00410000u)).bits;
  __builtin_ia32_ldmxcsr(saved);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(wide[i], decode(f32_subnormals[i], f32_format));
    EXPECT_EQ(static_cast<double>(half[i]), decode(f16_subnormals[i], f16_format));
    EXPECT_EQ(half_wide[i], decode(f16_subnormals[i], f16_format));
  }
  EXPECT_EQ(static_cast<double>(narrowed), tiny);
  EXPECT_EQ(narrow_half, 0x3ff);
  EXPECT_EQ(narrow_brain, 0x0041);
}
#endif

}  // namespace
}  // namespace aulos
