// Random numbers as a function of (seed, stream, position): the same on every platform, compiler and thread count.
#pragma once

#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "aulos/core/box_muller.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/philox.hpp"

namespace aulos::inline AULOS_ISA {

// A stream of random numbers. Each draw takes one position of (seed, stream), and its value depends on nothing else: a
// fill of 10 equals one of 4 and then one of 6, and the *_at functions draw parts of a fill in any order, on any
// thread. Streams of one seed are independent, and so are uniform and normal draws. A copy repeats its original.
class Random {
 public:
  explicit Random(std::uint64_t seed = 0, std::uint64_t stream = 0) noexcept : seed_(seed), stream_(stream) {}

  std::uint64_t seed() const noexcept { return seed_; }
  std::uint64_t stream() const noexcept { return stream_; }

  // The number of draws so far. seek() to it resumes.
  std::uint64_t position() const noexcept { return position_; }
  void seek(std::uint64_t position) noexcept { position_ = position; }

  friend bool operator==(const Random&, const Random&) noexcept = default;

  // Uniform on [low, high); `high` itself can only come out of the final rounding, and never for the default bounds.
  template <std::floating_point T>
  void uniform(T* values, Index count, std::type_identity_t<T> low = 0, std::type_identity_t<T> high = 1) noexcept {
    uniform_at(advance(count), values, count, low, high);
  }
  template <std::floating_point T>
  void uniform_at(std::uint64_t position, T* values, Index count, std::type_identity_t<T> low = 0,
                  std::type_identity_t<T> high = 1) const noexcept {
    for (Index i = 0; i < count;) {
      const auto words = block(position / 2);
      for (std::size_t half = half_of(position); half < 2 && i < count; ++half, ++i, ++position) {
        // std::fma rounds once, whether or not the compiler would have fused the sum.
        values[i] = std::fma(unit<T>(words[half]), high - low, low);
      }
    }
  }

  // Normal deviates. The float of a position is its deviate rounded once, as the double is.
  template <std::floating_point T>
  void normal(T* values, Index count, std::type_identity_t<T> mean = 0,
              std::type_identity_t<T> deviation = 1) noexcept {
    normal_at(advance(count), values, count, mean, deviation);
  }
  template <std::floating_point T>
  void normal_at(std::uint64_t position, T* values, Index count, std::type_identity_t<T> mean = 0,
                 std::type_identity_t<T> deviation = 1) const noexcept {
    for (Index i = 0; i < count;) {
      const auto words = block(position / 2 | normal_domain);
      const auto pair = BoxMuller::transform(words[0], words[1]);
      for (std::size_t half = half_of(position); half < 2 && i < count; ++half, ++i, ++position) {
        values[i] = std::fma(static_cast<T>(pair[half]) * T(0x1p-59), deviation, mean);  // the product is exact
      }
    }
  }

  // One draw each.
  std::uint64_t next_uint64() noexcept { return bits_at(position_++); }
  std::uint32_t next_uint32() noexcept { return static_cast<std::uint32_t>(next_uint64() >> 32); }
  double uniform01() noexcept { return unit<double>(next_uint64()); }
  double normal() noexcept {
    double value = 0;
    normal(&value, 1);
    return value;
  }

  // Uniform on 0 .. bound-1, with a bias below bound / 2^64.
  Index below(Index bound) {
    if (bound < 1) throw Error("Random::below: expected a bound of at least 1, got " + std::to_string(bound));
    return static_cast<Index>(multiply_high(next_uint64(), static_cast<std::uint64_t>(bound)));
  }

  // Puts the values in a random order, the same on every platform (as std::shuffle does not).
  template <class T>
  void shuffle(T* values, Index count) {
    using std::swap;
    for (Index i = count; i > 1; --i) swap(values[i - 1], values[below(i)]);
  }

 private:
  static constexpr std::uint64_t normal_domain = std::uint64_t{1} << 63;  // block numbers that uniform draws don't use

  // On [0, 1), a multiple of 2^-24 or 2^-53.
  template <class T>
  static T unit(std::uint64_t bits) noexcept {
    constexpr bool single = sizeof(T) == sizeof(float);
    return static_cast<T>(static_cast<std::int64_t>(bits >> (single ? 40 : 11))) * T(single ? 0x1p-24 : 0x1p-53);
  }

  std::uint64_t advance(Index count) noexcept {
    return std::exchange(position_, position_ + static_cast<std::uint64_t>(count > 0 ? count : 0));
  }

  // Two positions share a block of four words.
  std::array<std::uint64_t, 2> block(std::uint64_t number) const noexcept {
    const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
    const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
    const auto word = philox4x32({low(number), high(number), low(stream_), high(stream_)}, {low(seed_), high(seed_)});
    return {std::uint64_t{word[1]} << 32 | word[0], std::uint64_t{word[3]} << 32 | word[2]};
  }
  static std::size_t half_of(std::uint64_t position) noexcept { return position % 2 == 0 ? 0 : 1; }
  std::uint64_t bits_at(std::uint64_t position) const noexcept { return block(position / 2)[half_of(position)]; }

  std::uint64_t seed_, stream_, position_ = 0;
};

}  // namespace aulos::inline AULOS_ISA
