// Measures the largest error of every function of simd/ against a wider type; used by the tests and by the accuracy
// table of the documentation.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "aulos/simd/activations.hpp"

namespace aulos_test {

using aulos::Index;

struct Accuracy {
  std::string function, type;
  Index points = 0;
  double error = 0, limit = 0;  // in `unit`
  double at = 0;
  std::string unit;
};

inline std::string isa_name() {
#define AULOS_TEST_STRING_(x) #x
#define AULOS_TEST_STRING(x) AULOS_TEST_STRING_(x)
  return AULOS_TEST_STRING(AULOS_ISA_NAME);
#undef AULOS_TEST_STRING
#undef AULOS_TEST_STRING_
}

template <class T>
struct Wider;
template <>
struct Wider<float> {
  using Type = double;
};
template <>
struct Wider<double> {
  using Type = long double;
};

// |got - want| in units in the last place of the wanted value, subnormals included. The largest number and infinity are
// neighbours; NaN must meet NaN.
template <class T, class W>
double ulp_error(T got, W want) {
  using Limits = std::numeric_limits<T>;
  constexpr double wrong = std::numeric_limits<double>::infinity();
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) && std::isnan(got) ? 0 : wrong;
  const T rounded = static_cast<T>(want);
  if (std::isinf(got) || std::isinf(rounded)) {
    if (got == rounded) return 0;
    const bool neighbours = std::fabs(got) >= Limits::max() && std::fabs(rounded) >= Limits::max();
    return neighbours && std::signbit(got) == std::signbit(rounded) ? 1 : wrong;
  }
  const int exponent = want == 0 ? Limits::min_exponent : std::max(std::ilogb(want) + 1, Limits::min_exponent);
  return static_cast<double>(std::fabs(static_cast<W>(got) - want) / std::ldexp(W(1), exponent - Limits::digits));
}

// |got - want| in units of eps max(|want|, |x| 2^-20), the measure of the gelu functions.
template <class T, class W>
double gelu_error(T x, T got, W want) {
  const W size = std::max({std::fabs(want), std::fabs(static_cast<W>(x)) * std::ldexp(W(1), -20),
                           static_cast<W>(std::numeric_limits<T>::min())});
  return static_cast<double>(std::fabs(static_cast<W>(got) - want) / (size * std::numeric_limits<T>::epsilon()));
}

// Calls visit(x) for `points` numbers: a third are all finite bit patterns at a fixed stride, hence all binades of both
// signs; the others lie evenly in [low, high].
template <class T, class Visit>
void visit_points(Index points, double low, double high, Visit visit) {
  using Bits = aulos::simd::Bits<T>;
  const Index spread = points / 3;
  const Bits finite = std::bit_cast<Bits>(std::numeric_limits<T>::infinity());
  const Bits stride = finite / static_cast<Bits>(spread / 2);
  for (Bits bits = 0; bits < finite; bits += stride) {
    const T x = std::bit_cast<T>(bits);
    visit(x);
    visit(-x);
    if (finite - bits <= stride) break;
  }
  const double step = (high - low) / static_cast<double>(points - spread);
  for (Index i = 0; i <= points - spread; ++i) visit(static_cast<T>(low + step * (static_cast<double>(i) + 0.3)));
}

enum class Unit { ulp, gelu_eps };

template <class T, class F, class Reference>
Accuracy measure(std::string name, double limit, Unit unit, Index points, double low, double high, F f,
                 Reference reference) {
  using W = typename Wider<T>::Type;
  constexpr Index width = aulos::simd::lanes<T>;
  Accuracy result{name, sizeof(T) == 4 ? "float" : "double", 0, 0, limit, 0, unit == Unit::ulp ? "ULP" : "eps"};
  T x[static_cast<std::size_t>(width)] = {}, y[static_cast<std::size_t>(width)];
  Index filled = 0;
  auto flush = [&] {
    aulos::simd::store(y, f(aulos::simd::load(x)));
    for (Index i = 0; i < filled; ++i) {
      const W want = reference(static_cast<W>(x[i]));
      const double error = unit == Unit::ulp ? ulp_error(y[i], want) : gelu_error(x[i], y[i], want);
      if (!(error <= result.error)) {
        result.error = error;
        result.at = static_cast<double>(x[i]);
      }
    }
    result.points += filled;
    filled = 0;
  };
  visit_points<T>(points, low, high, [&](T value) {
    x[filled++] = value;
    if (filled == width) flush();
  });
  flush();
  return result;
}

template <class W>
W reference_sigmoid(W x) {
  return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
}

template <class T>
Accuracy measure_exp(Index points) {
  const bool f = sizeof(T) == 4;
  return measure<T>(
      "exp", 2, Unit::ulp, points, f ? -105 : -750, f ? 90 : 712, [](auto x) { return aulos::simd::exp(x); },
      [](auto x) { return std::exp(x); });
}

template <class T>
Accuracy measure_tanh(Index points) {
  const double range = sizeof(T) == 4 ? 10 : 21;
  return measure<T>(
      "tanh", 2, Unit::ulp, points, -range, range, [](auto x) { return aulos::simd::tanh(x); },
      [](auto x) { return std::tanh(x); });
}

template <class T>
Accuracy measure_log(Index points) {
  return measure<T>(
      "log", 4, Unit::ulp, points, 0, 4, [](auto x) { return aulos::simd::log(x); },
      [](auto x) { return std::log(x); });
}

template <class T>
Accuracy measure_erf(Index points) {
  const double range = sizeof(T) == 4 ? 4.5 : 6.5;
  return measure<T>(
      "erf", 4, Unit::ulp, points, -range, range, [](auto x) { return aulos::simd::erf(x); },
      [](auto x) { return std::erf(x); });
}

template <class T>
Accuracy measure_sigmoid(Index points) {
  const bool f = sizeof(T) == 4;
  return measure<T>(
      "sigmoid", 4, Unit::ulp, points, f ? -106 : -750, f ? 30 : 60, [](auto x) { return aulos::simd::sigmoid(x); },
      [](auto x) { return reference_sigmoid(x); });
}

template <class T>
Accuracy measure_silu(Index points) {
  const bool f = sizeof(T) == 4;
  return measure<T>(
      "silu", 4, Unit::ulp, points, f ? -112 : -760, f ? 30 : 60, [](auto x) { return aulos::simd::silu(x); },
      [](auto x) { return x * reference_sigmoid(x); });
}

template <class T>
Accuracy measure_gelu(Index points) {
  const bool f = sizeof(T) == 4;
  return measure<T>(
      "gelu", 4, Unit::gelu_eps, points, f ? -14 : -39, f ? 8 : 12, [](auto x) { return aulos::simd::gelu(x); },
      [](auto x) { return x * std::erfc(-x / std::sqrt(decltype(x)(2))) / 2; });
}

template <class T>
Accuracy measure_gelu_tanh(Index points) {
  const bool f = sizeof(T) == 4;
  return measure<T>(
      "gelu_tanh", 4, Unit::gelu_eps, points, f ? -14 : -26, f ? 8 : 12,
      [](auto x) { return aulos::simd::gelu_tanh(x); },
      [](auto x) {
        using W = decltype(x);
        const W k = 2 * std::sqrt(2 / std::acos(W(-1)));
        return x * reference_sigmoid(k * (x + W(0.044715L) * x * x * x));
      });
}

// Every function with a promised error, over `points` numbers each.
inline std::vector<Accuracy> measure_all(Index points) {
  std::vector<Accuracy> all;
  const auto add = [&](auto type) {
    using T = decltype(type);
    for (auto* measure_one : {measure_exp<T>, measure_tanh<T>, measure_log<T>, measure_erf<T>, measure_sigmoid<T>,
                              measure_silu<T>, measure_gelu<T>, measure_gelu_tanh<T>}) {
      all.push_back(measure_one(points));
    }
  };
  add(float{});
  add(double{});
  return all;
}

}  // namespace aulos_test
