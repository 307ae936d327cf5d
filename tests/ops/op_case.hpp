// What every op owes, checked in one way for all: results and gradients that do not depend on the layout of the
// arguments, on the number of threads or on a tape; records for profile, plan and capture; errors that say what is
// wrong.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aulos/autograd/gradcheck.hpp"
#include "aulos/core/context.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/scope.hpp"
#include "aulos/ops/op.hpp"
#include "tests/kernels/thread_counts.hpp"

namespace aulos_test {

using aulos::AnyTensor;
using aulos::Context;
using aulos::Dims;
using aulos::GradTape;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;

// A number in [-1, 1) from a position.
inline double noise(std::uint64_t seed, std::uint64_t position) {
  return aulos::detail::gradcheck_cotangent(seed, position);
}

// How the elements of an argument lie in memory. `repeated` is the dense copy of `broadcast`, which alone has other
// values than the rest: those of the first sample, in every sample.
enum class Layout { dense, columns, exchanged, shifted, repeated, broadcast };

inline const char* name_of(Layout layout) {
  constexpr const char* names[] = {"dense", "columns", "exchanged", "shifted", "repeated", "broadcast"};
  return names[static_cast<int>(layout)];
}

// Calls f(place, position) for all elements in row-major order of the indices, whatever the strides.
template <class T, class F>
void for_each_element(const AnyTensor<T>& x, F&& f) {
  const aulos::detail::GradcheckArgument walk{{}, x.dims(), nullptr, {}, {}};
  for (Index i = 0; i < x.count(); ++i) f(x.mutable_data()[walk.offset(i)], i);
}

template <class T>
std::vector<T> values(const AnyTensor<T>& x) {
  std::vector<T> all;
  if (!x.empty()) for_each_element(x, [&](T v, Index) { all.push_back(v); });
  return all;
}
template <class T, int Rank>
std::vector<T> values(const Tensor<T, Rank>& x) {
  return values(x.any());
}

// A tensor of value(position) in the given layout; memory around it is NaN.
template <class T, int Rank>
Tensor<T, Rank> make(Context& context, const Shape<Rank>& shape, Layout layout,
                     const std::function<double(Index)>& value) {
  Shape<Rank> outer = shape;
  Tensor<T, Rank> x;
  if (layout == Layout::exchanged && Rank < 3) layout = Layout::columns;
  if (layout == Layout::broadcast && Rank < 2) layout = Layout::repeated;
  switch (layout) {
    case Layout::dense:
    case Layout::repeated:
      x = context.empty<T>(shape);
      break;
    case Layout::columns:
      outer[Rank - 1] += 5;
      x = context.empty<T>(outer).slice(Rank - 1, 2, 2 + shape[Rank - 1]);
      break;
    case Layout::exchanged: {
      constexpr int second = Rank < 2 ? 0 : Rank - 2;  // heads: tokens and heads exchanged
      constexpr int first = Rank < 4 ? 0 : Rank - 3;
      std::swap(outer[first], outer[second]);
      Shape<Rank> order{};
      for (int axis = 0; axis < Rank; ++axis) order[axis] = axis == first ? second : axis == second ? first : axis;
      x = context.empty<T>(outer).permute_leading(order);
      break;
    }
    case Layout::shifted: {
      Index count = 1;
      for (const Index extent : shape) count *= extent;
      x = context.empty<T>(Shape<1>{count + 1}).slice(0, 1, count + 1).reshape(shape);
      break;
    }
    case Layout::broadcast:
      outer[0] = shape[0] == 0 ? 0 : 1;
      x = context.empty<T>(outer);
      break;
  }
  if (!context.dry()) {
    const Index period = layout == Layout::repeated && shape[0] > 0 && Rank > 1 ? x.count() / shape[0] : x.count();
    for_each_element(x.any(), [&](T& place, Index i) { place = static_cast<T>(value(period > 0 ? i % period : i)); });
  }
  return layout == Layout::broadcast ? x.broadcast(shape) : x;
}

// Makes the arguments of one run of an op, the same numbers in any run.
template <class T>
class Case {
 public:
  explicit Case(Context& to, Layout layout = Layout::dense) : context(to), layout_(layout) {}
  // With arguments that are there already.
  Case(Context& to, std::span<const AnyTensor<T>> given) : context(to), given_(given) {}

  Context& context;

  // A differentiable argument: scale * noise + offset, or value(position).
  template <int Rank>
  Tensor<T, Rank> in(const Shape<Rank>& shape, std::uint64_t seed, double scale = 1, double offset = 0) {
    return at<Rank>(shape, [=](Index i) { return offset + scale * noise(seed, static_cast<std::uint64_t>(i)); });
  }
  template <int Rank>
  Tensor<T, Rank> at(const Shape<Rank>& shape, const std::function<double(Index)>& value) {
    AnyTensor<T> x;
    if (given_.empty()) {
      x = make<T, Rank>(context, shape, layout_, value).any();
      if (context.tape() != nullptr) context.tape()->watch(x);
      inputs.push_back(x);
    } else {
      x = given_[next_++];
    }
    return Tensor<T, Rank>(x);
  }
  std::vector<AnyTensor<T>> inputs;

 private:
  Layout layout_ = Layout::dense;
  std::span<const AnyTensor<T>> given_;
  std::size_t next_ = 0;
};

// The results of an op on the arguments that the case makes.
template <class T>
using Body = std::function<std::vector<AnyTensor<T>>(Case<T>&)>;

template <class T, int... Ranks>
std::vector<AnyTensor<T>> results(const Tensor<T, Ranks>&... y) {
  std::vector<AnyTensor<T>> all;
  ((y.empty() ? void() : all.push_back(y.any())), ...);
  return all;
}

template <class T>
struct Outcome {
  std::vector<std::vector<T>> results, gradients;  // of the results, of the inputs
  std::vector<Dims> inputs;
};

template <class T>
Outcome<T> forward(const Body<T>& body, Layout layout = Layout::dense, int threads = 1) {
  Context context({.threads = threads});
  Case<T> run(context, layout);
  Outcome<T> outcome;
  for (const AnyTensor<T>& y : body(run)) outcome.results.push_back(values(y));
  return outcome;
}

// Differentiates the sum of the results times noise.
template <class T>
void backward(Context& context, const std::vector<AnyTensor<T>>& results) {
  std::vector<aulos::Seed<T>> seeds;
  for (const AnyTensor<T>& y : results) {
    AnyTensor<T> cotangent = context.empty_any<T>(y.dims());
    if (!context.dry()) {
      for_each_element(cotangent, [&](T& g, Index i) { g = static_cast<T>(noise(77, static_cast<std::uint64_t>(i))); });
    }
    seeds.push_back({y, std::move(cotangent)});
  }
  context.tape()->backward(std::span<const aulos::Seed<T>>(seeds));
}

template <class T>
Outcome<T> forward_backward(const Body<T>& body, Layout layout = Layout::dense, int threads = 1) {
  Context context({.threads = threads});
  GradTape tape(context);
  Case<T> run(context, layout);
  Outcome<T> outcome;
  const std::vector<AnyTensor<T>> y = body(run);
  for (const AnyTensor<T>& each : y) outcome.results.push_back(values(each));
  backward(context, y);
  for (const AnyTensor<T>& x : run.inputs) {
    outcome.gradients.push_back(values(tape.gradient(x)));
    outcome.inputs.push_back(x.dims());
  }
  return outcome;
}

// Equal numbers, NaN being equal to NaN; 0 + dx turns -0 into 0.
template <class T>
void expect_same(const std::vector<std::vector<T>>& got, const std::vector<std::vector<T>>& want,
                 const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (std::size_t n = 0; n < got.size(); ++n) {
    ASSERT_EQ(got[n].size(), want[n].size()) << what << " " << n;
    for (std::size_t i = 0; i < got[n].size(); ++i) {
      if (std::isnan(got[n][i]) && std::isnan(want[n][i])) continue;
      ASSERT_EQ(got[n][i], want[n][i]) << what << " " << n << " at " << i;
    }
  }
}

// Every layout gives what a dense copy gives.
template <class T>
void expect_layouts_agree(const Body<T>& body) {
  const Outcome<T> dense = forward_backward(body, Layout::dense);
  for (const Layout layout : {Layout::columns, Layout::exchanged, Layout::shifted}) {
    SCOPED_TRACE(name_of(layout));
    const Outcome<T> other = forward_backward(body, layout);
    expect_same(forward(body, layout).results, dense.results, "result without tape");
    expect_same(other.results, dense.results, "result");
    expect_same(other.gradients, dense.gradients, "gradient of input");
  }
  SCOPED_TRACE("broadcast");
  const Outcome<T> repeated = forward_backward(body, Layout::repeated);
  const Outcome<T> shared = forward_backward(body, Layout::broadcast);
  expect_same(forward(body, Layout::broadcast).results, repeated.results, "result without tape");
  expect_same(shared.results, repeated.results, "result");
  for (std::size_t n = 0; n < shared.gradients.size(); ++n) {
    const std::vector<T>& got = shared.gradients[n];
    const std::vector<T>& by_sample = repeated.gradients[n];
    ASSERT_EQ(got.size(), by_sample.size());
    const Dims& dims = shared.inputs[n];
    if (dims.rank < 2 || dims.extent[0] == 0) {
      if (dims.rank < 2) expect_same<T>({got}, {by_sample}, "gradient of input");
      continue;
    }
    const std::size_t period = got.size() / static_cast<std::size_t>(dims.extent[0]);
    double largest = 0;  // several uses may cancel: their rounding is of the size of the gradient, not of the sum
    for (const T g : by_sample) largest = std::fmax(largest, std::fabs(static_cast<double>(g)));
    for (std::size_t i = 0; i < got.size(); ++i) {
      double sum = 0;
      for (std::size_t at = i % period; at < got.size(); at += period) sum += static_cast<double>(by_sample[at]);
      // 8 roundings for each sample: of its uses, which are added in another order here, and of the sum of samples.
      const double bound = 8 * static_cast<double>(dims.extent[0]) * largest;
      ASSERT_NEAR(static_cast<double>(got[i]), sum, bound * static_cast<double>(std::numeric_limits<T>::epsilon()))
          << "gradient of input " << n << " at " << i;
    }
  }
}

// Any number of threads gives the same bits, with and without a tape. Take sizes of some 50 KB, or all stays on one
// thread.
template <class T>
void expect_threads_agree(const Body<T>& body) {
  const Outcome<T> one = forward_backward(body);
  expect_same(forward(body).results, one.results, "result without tape");
  for (const int threads : more_threads) {
    SCOPED_TRACE(threads);
    const Outcome<T> more = forward_backward(body, Layout::dense, threads);
    expect_same(more.results, one.results, "result");
    expect_same(more.gradients, one.gradients, "gradient of input");
    expect_same(forward(body, Layout::dense, threads).results, one.results, "result without tape");
  }
}

// Profile records, plan and capture of an op whose records and arguments bear these names.
template <class T>
void expect_records(const char* operation, const std::vector<std::string>& arguments, const Body<T>& body) {
  double flops = 0, bytes = 0;
  std::size_t peak = 0, scratch = 0;
  for (const bool with_tape : {false, true}) {
    SCOPED_TRACE(with_tape ? "with tape" : "without tape");
    const auto run = [&](Context& context, bool capture) {
      std::optional<GradTape> tape;
      if (with_tape) tape.emplace(context);
      const aulos::Scope block(context.scopes(), "blocks", 3);
      Case<T> arguments_of(context);
      if (capture) context.start_capture(std::string("blocks.3/") + operation);
      std::vector<AnyTensor<T>> y = body(arguments_of);
      if (with_tape) backward(context, y);
    };
    {
      Context context({.threads = 1});
      context.start_profile();
      run(context, false);
      bool found = false;
      flops = bytes = 0;
      for (const aulos::ProfileRecord& record : context.stop_profile()) {
        EXPECT_GE(record.seconds, 0) << record.operation;
        EXPECT_EQ(record.scope, "blocks.3") << record.operation;
        flops += record.flops;
        bytes += record.bytes;
        if (std::strcmp(record.operation, operation) != 0) continue;
        found = true;
        EXPECT_GT(record.bytes, 0) << record.operation;
        EXPECT_GE(record.flops, 0) << record.operation;
      }
      EXPECT_TRUE(found) << "no profile record of " << operation;
      peak = context.memory().peak;
    }
    {
      Context dry{Context::Dry{}};
      run(dry, false);
      const aulos::Plan plan = dry.planned();
      EXPECT_EQ(plan.flops, flops);
      EXPECT_EQ(plan.bytes, bytes);
      EXPECT_EQ(plan.peak_bytes, peak);
      scratch = plan.scratch_bytes;
      EXPECT_LT(scratch, std::size_t{1} << 30);
    }
    {
      Context context({.threads = 1});
      run(context, true);
      std::vector<std::string> names;
      for (const aulos::Captured<T>& each : context.template stop_capture<T>()) names.push_back(each.name);
      const auto expect_name = [&](const std::string& name) {
        EXPECT_NE(std::find(names.begin(), names.end(), "blocks.3/" + name), names.end()) << name << " not captured";
      };
      expect_name(operation);
      for (const std::string& argument : arguments) expect_name(std::string(operation) + ":" + argument);
    }
  }
}

// Gradcheck of the op on the arguments that the case makes.
inline void expect_gradients(const Body<double>& body, const aulos::GradcheckOptions& options = {}) {
  Context context({.threads = 1});
  Case<double> first(context);
  body(first);
  const auto f = [&](std::span<const AnyTensor<double>> inputs, std::vector<AnyTensor<double>>& results) {
    Case<double> run(context, inputs);
    results = body(run);
  };
  const aulos::GradcheckResult result = gradcheck_list(context, f, first.inputs, {}, options);
  EXPECT_TRUE(result) << to_string(result);
}

// The element-wise distance from want(position), relative to the largest |want| or 1.
template <class T>
void expect_near(const AnyTensor<T>& got, const std::function<double(Index)>& want, double tolerance) {
  double largest = 1;
  for (Index i = 0; i < got.count(); ++i)
    if (std::isfinite(want(i))) largest = std::fmax(largest, std::fabs(want(i)));
  for_each_element(got, [&](T value, Index i) {
    const double w = want(i);
    if (std::isnan(w)) {
      EXPECT_TRUE(std::isnan(value)) << "at " << i << ": " << value << ", expected NaN";
    } else if (std::isinf(w)) {
      EXPECT_EQ(static_cast<double>(value), w) << "at " << i;
    } else {
      EXPECT_LE(std::fabs(static_cast<double>(value) - w), tolerance * largest)
          << "at " << i << ": " << value << ", expected " << w;
    }
  });
}
template <class T, int Rank>
void expect_near(const Tensor<T, Rank>& got, const std::function<double(Index)>& want, double tolerance) {
  expect_near(got.any(), want, tolerance);
}
template <class T, int Rank>
void expect_values(const Tensor<T, Rank>& got, const std::vector<double>& want, double tolerance = 0) {
  ASSERT_EQ(got.count(), static_cast<Index>(want.size()));
  expect_near(
      got.any(), [&](Index i) { return want[static_cast<std::size_t>(i)]; }, tolerance);
}

// A call that must throw an E whose text holds every one of these.
struct WrongCall {
  const char* name;
  std::function<void(Context&)> call;
  std::vector<std::string> says;
};

template <class E = aulos::ShapeError>
void expect_errors(const std::vector<WrongCall>& calls) {
  Context context({.threads = 1});
  for (const WrongCall& wrong : calls) {
    SCOPED_TRACE(wrong.name);
    try {
      wrong.call(context);
      ADD_FAILURE() << "no error";
    } catch (const E& error) {
      const std::string text = error.what();
      for (const std::string& piece : wrong.says)
        EXPECT_NE(text.find(piece), std::string::npos) << "no '" << piece << "' in: " << text;
    } catch (const std::exception& error) {
      ADD_FAILURE() << "another kind of error: " << error.what();
    }
  }
}

// A tensor of these numbers.
template <class T, int Rank>
Tensor<T, Rank> of(Context& context, const Shape<Rank>& shape, const std::vector<T>& numbers) {
  EXPECT_EQ(aulos::dense_dims(shape.extents, Rank).count(), static_cast<Index>(numbers.size()));
  return context.from(shape, numbers.data());
}

}  // namespace aulos_test
