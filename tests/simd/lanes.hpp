// What the tests of one function of simd/ share: the promised accuracy, special values, and every place in a row.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "accuracy.hpp"

namespace aulos_test {

// At least 10^7, spread over all binades.
inline constexpr Index accuracy_points = 10'500'000;

inline void expect_accuracy(const Accuracy& measured) {
  std::printf("[ %s ] %s<%s>: at most %.3f %s (promised %g) over %lld points, at %.9g\n", isa_name().c_str(),
              measured.function.c_str(), measured.type.c_str(), measured.error, measured.unit.c_str(), measured.limit,
              static_cast<long long>(measured.points), measured.at);
  EXPECT_GE(measured.points, 10'000'000);
  EXPECT_LE(measured.error, measured.limit);
}

template <class T>
bool same_bits(T a, T b) {
  using Bits = aulos::simd::Bits<T>;
  return std::bit_cast<Bits>(a) == std::bit_cast<Bits>(b) || (std::isnan(a) && std::isnan(b));
}

// Values that break functions of one variable: both zeros, subnormals, the report's large arguments, infinities, NaN.
template <class T>
std::vector<T> special_values() {
  using L = std::numeric_limits<T>;
  std::vector<T> values = {0,
                           L::denorm_min(),
                           L::min() / 4,
                           L::min(),
                           T(1e-9),
                           T(0.3),
                           1,
                           T(4.5),
                           13,
                           14,
                           38,
                           87,
                           88,
                           89,
                           104,
                           109,
                           111,
                           700,
                           746,
                           760,
                           T(1e4),
                           T(1e30),
                           L::max(),
                           L::infinity()};
  const std::size_t count = values.size();
  for (std::size_t i = 0; i < count; ++i) values.push_back(-values[i]);
  values.push_back(L::quiet_NaN());
  return values;
}

// f of every special value in every place of rows of length 1 to 67, body and partial tail, has the bits of f of the
// plain number.
template <class T, class F>
void expect_same_in_every_lane(F f) {
  namespace simd = aulos::simd;
  constexpr Index width = simd::lanes<T>;
  for (const T value : special_values<T>()) {
    const T want = f(value);
    for (Index length = 1; length <= 67; ++length) {
      for (Index place = 0; place < length; ++place) {
        const Index start = place / width * width;
        std::vector<T> x(static_cast<std::size_t>(length), T(0.75));
        x[static_cast<std::size_t>(place)] = value;
        const Index count = std::min(width, length - start);
        simd::Batch<T> y = f(count == width ? simd::load(&x[static_cast<std::size_t>(start)])
                                            : simd::load_partial(&x[static_cast<std::size_t>(start)], count));
        ASSERT_TRUE(same_bits(y.get(place - start), want))
            << "f(" << value << ") = " << y.get(place - start) << " in place " << place << " of " << length << ", "
            << want << " alone";
      }
    }
  }
}

}  // namespace aulos_test
