// Gradcheck: the tape's gradients against central differences, in double. For tests of ops and of users' own rules.
#pragma once

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "aulos/autograd/tape.hpp"
#include "aulos/core/any_tensor.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/context.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/function_ref.hpp"
#include "aulos/core/parameter.hpp"
#include "aulos/core/span.hpp"
#include "aulos/core/tensor.hpp"
#include "aulos/core/text.hpp"

namespace aulos::inline AULOS_ISA {

struct GradcheckOptions {
  double step = 1e-6;           // times max(1, |x|)
  double tolerance = 1e-6;      // of ||analytic - numeric|| against the larger norm, by argument
  double floor = 1e-3;          // norms below this share of the largest gradient's count as this share
  std::uint64_t seed = 0x5EED;  // of the cotangents
};

// Something differentiated that is no input of the function: a parameter, as whoever walks a model finds it.
struct GradcheckParameter {
  std::string name;
  double* data = nullptr;
  Index count = 0;
  AnyTensor<double> tensor;
};

template <int Rank>
GradcheckParameter gradcheck_parameter(std::string name, Parameter<double, Rank>& parameter) {
  double* data = parameter.data();  // first of all: it makes the elements
  return {std::move(name), data, parameter.count(), parameter.any()};
}

// Of the argument with the largest error, and of its worst entry.
struct GradcheckResult {
  bool passed = true;
  double error = 0;
  std::string argument;
  std::string entry;  // "[0, 3, 1]"
  double analytic = 0;
  double numeric = 0;
  explicit operator bool() const noexcept { return passed; }
};

template <class = Deferred>
std::string to_string(const GradcheckResult& result) {
  const auto number = [](double value) {
    char digits[32];
    return std::string(digits,
                       std::to_chars(digits, digits + sizeof digits, value, std::chars_format::general, 10).ptr);
  };
  return concat_text({"gradcheck ", result.passed ? "passed" : "failed", ": relative error ", number(result.error),
                      " of ", result.argument, ", worst at ", result.entry, ": analytic ", number(result.analytic),
                      ", numeric ", number(result.numeric)});
}

namespace detail {

// The function under test: results from inputs.
using GradcheckFunction = FunctionRef<void(std::span<const AnyTensor<double>>, std::vector<AnyTensor<double>>&)>;

// One argument: its elements in row-major order of the indices, and the two gradients of them.
struct GradcheckArgument {
  std::string name;
  Dims dims;
  double* data = nullptr;
  std::vector<double> analytic, numeric;

  Index offset(Index flat) const {
    Index at = 0;
    for (int axis = dims.rank - 1; axis >= 0; --axis) {
      at += flat % dims.extent[axis] * dims.stride[axis];
      flat /= dims.extent[axis];
    }
    return at;
  }
  std::string index_text(Index flat) const {
    Index index[max_rank] = {};
    for (int axis = dims.rank - 1; axis >= 0; --axis) {
      index[axis] = flat % dims.extent[axis];
      flat /= dims.extent[axis];
    }
    return aulos::to_string(index, dims.rank);
  }
};

// All elements in row-major order of the indices, whatever the strides.
template <class = Deferred>
std::vector<double> gradcheck_values(const AnyTensor<double>& x) {
  const GradcheckArgument walk{{}, x.dims(), nullptr, {}, {}};
  std::vector<double> values(static_cast<std::size_t>(x.count()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = x.data()[walk.offset(static_cast<Index>(i))];
  return values;
}

inline double gradcheck_cotangent(std::uint64_t seed, std::uint64_t position) {  // in [-1, 1)
  std::uint64_t z = seed * 0x9E3779B97F4A7C15u + position * 0xBF58476D1CE4E5B9u + 0x94D049BB133111EBu;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-52 - 1;
}

// Results of the function one after the other.
template <class = Deferred>
std::vector<double> gradcheck_results(GradcheckFunction f, std::span<const AnyTensor<double>> inputs) {
  std::vector<AnyTensor<double>> results;
  f(inputs, results);
  std::vector<double> values;
  for (const AnyTensor<double>& y : results)
    for (const double value : gradcheck_values(y)) values.push_back(value);
  return values;
}

template <class = Deferred>
void gradcheck_analytic(Context& context, GradcheckFunction f, std::span<const AnyTensor<double>> inputs,
                        std::span<const GradcheckParameter> parameters, std::uint64_t seed,
                        std::vector<GradcheckArgument>& arguments) {
  GradTape tape(context);
  std::vector<AnyTensor<double>> watched(inputs.data(), inputs.data() + inputs.size());
  for (AnyTensor<double>& x : watched) tape.watch(x);
  std::vector<AnyTensor<double>> results;
  f(as_span(watched), results);
  std::vector<Seed<double>> seeds;
  std::uint64_t position = 0;
  for (const AnyTensor<double>& y : results) {
    AnyTensor<double> cotangent = context.empty_any<double>(y.dims());
    for (Index i = 0; i < y.count(); ++i) cotangent.mutable_data()[i] = gradcheck_cotangent(seed, position++);
    seeds.push_back({y, std::move(cotangent)});
  }
  tape.backward(as_span(seeds));
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const AnyTensor<double> gradient =
        tape.gradient(i < watched.size() ? watched[i] : parameters[i - watched.size()].tensor);
    if (!gradient.empty()) arguments[i].analytic = gradcheck_values(gradient);
  }
}

template <class = Deferred>
GradcheckResult gradcheck(Context& context, GradcheckFunction f, std::span<const AnyTensor<double>> inputs,
                          std::span<const GradcheckParameter> parameters, const GradcheckOptions& options) {
  if (context.tape() != nullptr) throw Error("gradcheck: the Context has a tape already");
  std::vector<GradcheckArgument> arguments;
  for (const AnyTensor<double>& x : inputs)
    arguments.push_back({"input " + std::to_string(arguments.size()), x.dims(), x.mutable_data(), {}, {}});
  for (const GradcheckParameter& p : parameters) arguments.push_back({p.name, p.tensor.dims(), p.data, {}, {}});
  for (GradcheckArgument& a : arguments) {
    a.analytic.assign(static_cast<std::size_t>(a.dims.count()), 0.0);
    a.numeric = a.analytic;
  }
  gradcheck_analytic(context, f, inputs, parameters, options.seed, arguments);

  for (GradcheckArgument& a : arguments) {
    for (std::size_t i = 0; i < a.numeric.size(); ++i) {
      double& x = a.data[a.offset(static_cast<Index>(i))];
      const double before = x;
      const double step = options.step * std::fmax(1.0, std::fabs(before));
      const double above = before + step;
      const double below = before - step;
      x = above;
      const std::vector<double> high = gradcheck_results(f, inputs);
      x = below;
      const std::vector<double> low = gradcheck_results(f, inputs);
      x = before;
      double change = 0;  // of the loss
      for (std::size_t r = 0; r < high.size(); ++r) change += (high[r] - low[r]) * gradcheck_cotangent(options.seed, r);
      a.numeric[i] = change / (above - below);
    }
  }

  const auto norm = [](const std::vector<double>& v) {
    double squares = 0;
    for (const double x : v) squares += x * x;
    return std::sqrt(squares);
  };
  double largest = 0;
  for (const GradcheckArgument& a : arguments)
    largest = std::fmax(largest, std::fmax(norm(a.analytic), norm(a.numeric)));
  GradcheckResult result;
  for (const GradcheckArgument& a : arguments) {
    std::vector<double> difference = a.analytic;
    std::size_t worst = 0;
    for (std::size_t i = 0; i < difference.size(); ++i) {
      difference[i] -= a.numeric[i];
      const bool found = difference[worst] != difference[worst];  // nothing is worse than NaN
      if (!found && !(std::fabs(difference[i]) <= std::fabs(difference[worst]))) worst = i;
    }
    const double scale = std::fmax(std::fmax(norm(a.analytic), norm(a.numeric)), options.floor * largest);
    const double error = norm(difference) == 0 ? 0 : norm(difference) / scale;
    if (!result.argument.empty() && error <= result.error) continue;
    result.passed = result.passed && error <= options.tolerance;
    result.error = error;
    result.argument = a.name + " " + aulos::to_string(a.dims);
    if (difference.empty()) continue;
    result.entry = a.index_text(static_cast<Index>(worst));
    result.analytic = a.analytic[worst];
    result.numeric = a.numeric[worst];
  }
  return result;
}

// Appends a tensor, or those of a tuple or array.
template <class Y>
void gradcheck_collect(std::vector<AnyTensor<double>>& results, const Y& y) {
  if constexpr (requires { y.any(); }) {
    if (!y.empty()) results.push_back(y.any());
  } else {
    std::apply([&](const auto&... each) { (gradcheck_collect(results, each), ...); }, y);
  }
}

}  // namespace detail

// Compares the gradients of f(inputs...), a Tensor or a tuple or array of tensors, with respect to every input and
// parameter. The loss is the sum of the results times fixed random cotangents. Inputs may be views; elements are
// changed and put back. f must be smooth within a step of every element and always do the same.
//     const auto x = context.normal<double>(Shape<2>{3, 5});
//     EXPECT_TRUE(gradcheck(context, [](auto x) { return gelu(x); }, std::tuple(x)));
template <class F, int... Ranks>
GradcheckResult gradcheck(Context& context, const F& f, const std::tuple<Tensor<double, Ranks>...>& inputs,
                          std::span<const GradcheckParameter> parameters = {}, const GradcheckOptions& options = {}) {
  const auto call = [&](std::span<const AnyTensor<double>> x, std::vector<AnyTensor<double>>& results) {
    [&]<std::size_t... i>(std::index_sequence<i...>) {
      detail::gradcheck_collect(results, f(Tensor<double, Ranks>(x[i])...));
    }
    (std::index_sequence_for<Tensor<double, Ranks>...>());
  };
  const std::array<AnyTensor<double>, sizeof...(Ranks)> list =
      std::apply([](const auto&... x) { return std::array<AnyTensor<double>, sizeof...(Ranks)>{x.any()...}; }, inputs);
  return detail::gradcheck(context, call, list, parameters, options);
}

// The same where the number of inputs is data: f(span of inputs, vector that takes the results).
template <class F>
GradcheckResult gradcheck_list(Context& context, const F& f, std::span<const AnyTensor<double>> inputs,
                               std::span<const GradcheckParameter> parameters = {},
                               const GradcheckOptions& options = {}) {
  return detail::gradcheck(context, f, inputs, parameters, options);
}

}  // namespace aulos::inline AULOS_ISA
