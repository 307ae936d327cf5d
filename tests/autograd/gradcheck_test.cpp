#include "aulos/autograd/gradcheck.hpp"

#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using aulos::AnyTensor;
using aulos::Context;
using aulos::Ghost;
using aulos::GradcheckParameter;
using aulos::GradcheckResult;
using aulos::GradTape;
using aulos::Index;
using aulos::Parameter;
using aulos::Shape;
using aulos::Tensor;
using aulos::Threads;

// y = x^3 * w element by element, dense, with a rule whose two gradients may be spoilt.
template <int Rank>
Tensor<double, Rank> cube(Context& context, const Tensor<double, Rank>& x, const Tensor<double, Rank>& w,
                          double dx_factor = 1, double dw_error = 0) {
  const AnyTensor<double> a = x.any(), b = w.any();
  AnyTensor<double> y = context.empty_any<double>(a.dims());
  for (Index i = 0; i < y.count(); ++i) {
    const double v = a.data()[i];
    y.mutable_data()[i] = v * v * v * b.data()[i];
  }
  if (GradTape* tape = context.tape(); tape != nullptr) {
    const Ghost<double> ga = tape->ghost(a), gb = tape->ghost(b);
    tape->record(y, [=, dims = y.dims()](GradTape& t, aulos::Node node) {
      const AnyTensor<double> gy = t.gradient(Ghost<double>{node, 0, dims});
      if (gy.empty()) return;
      AnyTensor<double> da = t.context().empty_any<double>(dims), db = t.context().empty_any<double>(dims);
      for (Index i = 0; i < gy.count(); ++i) {
        const double v = a.data()[i], g = gy.data()[i];
        da.mutable_data()[i] = dx_factor * g * 3 * v * v * b.data()[i];
        db.mutable_data()[i] = g * v * v * v + (i == 4 ? dw_error : 0);
      }
      t.give(ga, std::move(da));
      t.give(gb, std::move(db));
    });
  }
  return Tensor<double, Rank>(std::move(y));
}

TEST(Gradcheck, PassesForARightRule) {
  Context context;
  const auto x = context.normal<double>(Shape<2>{3, 5}), w = context.normal<double>(Shape<2>{3, 5});
  const GradcheckResult result = gradcheck(
      context, [&](const auto& a, const auto& b) { return cube(context, a, b); }, std::tuple(x, w));
  EXPECT_TRUE(result) << to_string(result);
  EXPECT_LT(result.error, 1e-7);
}

TEST(Gradcheck, NamesTheArgumentAndTheWorstEntryOfAWrongRule) {
  Context context;
  const auto x = context.normal<double>(Shape<2>{3, 5}), w = context.normal<double>(Shape<2>{3, 5});
  const auto spoilt = [&](double factor, double error) {
    return gradcheck(
        context, [&, factor, error](const auto& a, const auto& b) { return cube(context, a, b, factor, error); },
        std::tuple(x, w));
  };
  const GradcheckResult first = spoilt(1.00001, 0);
  EXPECT_FALSE(first);
  EXPECT_EQ(first.argument, "input 0 [3, 5]");
  EXPECT_NEAR(first.error, 1e-5, 1e-6);

  const GradcheckResult second = spoilt(1, 1e-3);
  EXPECT_FALSE(second);
  EXPECT_EQ(second.argument, "input 1 [3, 5]");
  EXPECT_EQ(second.entry, "[0, 4]");
  EXPECT_NEAR(second.analytic - second.numeric, 1e-3, 1e-8);
  EXPECT_NE(to_string(second).find("failed"), std::string::npos);
  EXPECT_NE(to_string(second).find("input 1 [3, 5]"), std::string::npos);
}

TEST(Gradcheck, AGradientThatIsNotANumberFails) {
  Context context;
  const auto x = context.normal<double>(Shape<1>{6}), w = context.normal<double>(Shape<1>{6});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const GradcheckResult result = gradcheck(
      context, [&](const auto& a, const auto& b) { return cube(context, a, b, 1, nan); }, std::tuple(x, w));
  EXPECT_FALSE(result) << to_string(result);
  EXPECT_EQ(result.argument, "input 1 [6]");
  EXPECT_EQ(result.entry, "[4]");
}

TEST(Gradcheck, AMissingGradientFails) {
  Context context;
  const auto x = context.normal<double>(Shape<1>{6});
  const auto w = context.normal<double>(Shape<1>{6});
  const auto forgetful = [&](const auto& a, const auto& b) {  // b is cut off from the tape
    const auto copy = context.from(Shape<1>{6}, b.data());
    return cube(context, a, copy);
  };
  const GradcheckResult result = gradcheck(context, forgetful, std::tuple(x, w));
  EXPECT_FALSE(result);
  EXPECT_EQ(result.argument, "input 1 [6]");
  EXPECT_EQ(result.analytic, 0);
  EXPECT_NEAR(result.error, 1, 1e-9);
}

TEST(Gradcheck, SmallGradientsBesideLargeOnesAreJudgedAgainstTheLargest) {
  Context context;
  auto x = context.normal<double>(Shape<1>{6});
  auto w = context.full<double>(Shape<1>{6}, 1e9);
  const auto f = [&](const auto& a, const auto& b) { return cube(context, a, b, 1, 1e-3); };
  EXPECT_TRUE(gradcheck(context, f, std::tuple(x, w)));
}

TEST(Gradcheck, ChecksParametersByName) {
  Context context;
  Parameter<double, 2> w(Shape<2>{3, 5}), unused(Shape<2>{1, 2});
  for (Index i = 0; i < w.count(); ++i) w.data()[i] = 0.5 + 0.1 * static_cast<double>(i);
  const Parameter<double, 2> before = w;
  const GradcheckParameter parameters[] = {gradcheck_parameter("block.weight", w),
                                           gradcheck_parameter("unused", unused)};
  const auto x = context.normal<double>(Shape<2>{3, 5});
  const auto check = [&](double error) {
    return gradcheck(
        context, [&, error](const auto& a) { return cube<2>(context, a, w, 1, error); }, std::tuple(x), parameters);
  };
  EXPECT_TRUE(check(0));
  const GradcheckResult result = check(1e-3);
  EXPECT_FALSE(result);
  EXPECT_EQ(result.argument, "block.weight [3, 5]");
  EXPECT_EQ(result.entry, "[0, 4]");
  EXPECT_TRUE(w == before);
}

TEST(Gradcheck, TakesSeveralResultsAndPutsEveryElementBack) {
  Context context;
  const auto x = context.normal<double>(Shape<1>{7}), w = context.normal<double>(Shape<1>{7});
  const std::vector<double> before(x.data(), x.data() + 7);
  double error = 0;
  const auto f = [&](const auto& a, const auto& b) {
    return std::tuple(cube(context, a, b), std::array{cube(context, b, a), cube(context, a, a, 1, error)});
  };
  EXPECT_TRUE(gradcheck(context, f, std::tuple(x, w)));
  error = 1e-3;  // in the last result only
  EXPECT_FALSE(gradcheck(context, f, std::tuple(x, w)));
  EXPECT_EQ(before, std::vector<double>(x.data(), x.data() + 7));
}

TEST(Gradcheck, OfViewsDifferentiatesWhatTheViewShows) {
  Context context;
  const auto wide = context.normal<double>(Shape<2>{3, 9});
  const auto x = wide.slice(1, 2, 7);
  const auto f = [&](const Tensor<double, 2>& a) {
    Tensor<double, 2> copy = context.empty<double>(Shape<2>{3, 5});
    for (Index r = 0; r < 3; ++r)
      for (Index c = 0; c < 5; ++c) copy.mutable_data()[r * 5 + c] = a(r, c);
    AnyTensor<double> y = copy.any();
    if (GradTape* tape = context.tape()) {
      tape->record(y, [g = tape->ghost(a.any()), dims = y.dims()](GradTape& t, aulos::Node node) {
        t.give(g, t.gradient(Ghost<double>{node, 0, dims}));
      });
    }
    return Tensor<double, 2>(y);
  };
  const GradcheckResult result = gradcheck(context, f, std::tuple(x));
  EXPECT_TRUE(result) << to_string(result);
  EXPECT_EQ(result.argument, "input 0 [3, 5]");
}

TEST(Gradcheck, NeedsAContextWithoutTape) {
  Context context;
  const auto x = context.normal<double>(Shape<1>{2});
  GradTape tape(context);
  EXPECT_THROW(gradcheck(
                   context, [](const auto& a) { return a; }, std::tuple(x)),
               aulos::Error);
}

TEST(Gradcheck, OfNoElementsPasses) {
  Context context;
  const auto x = context.empty<double>(Shape<2>{0, 5});
  EXPECT_TRUE(gradcheck(
      context, [&](const auto& a) { return cube(context, a, a); }, std::tuple(x)));
}

}  // namespace
