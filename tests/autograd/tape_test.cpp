#include "aulos/autograd/tape.hpp"

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "aulos/ops/activation.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/reduce.hpp"

namespace {

using aulos::Accumulate;
using aulos::AnyTensor;
using aulos::Context;
using aulos::GradientPlace;
using aulos::GradientSum;
using aulos::GradTape;
using aulos::Index;
using aulos::Node;
using aulos::Parameter;
using aulos::Seed;
using aulos::Shape;
using aulos::Tensor;

template <int Rank>
std::vector<float> values(const Tensor<float, Rank>& x) {
  if (x.empty()) return {};
  const Tensor<float, Rank> flat = dense(x);
  return {flat.data(), flat.data() + flat.count()};
}

template <int Rank>
Tensor<float, Rank> counting(Context& context, const Shape<Rank>& shape, float first = 1) {
  Tensor<float, Rank> x = context.empty<float>(shape);
  if (context.dry()) return x;
  for (Index i = 0; i < x.count(); ++i) x.mutable_data()[i] = first + static_cast<float>(i);
  return x;
}

Parameter<float, 1> parameter(std::initializer_list<float> values) {
  Parameter<float, 1> p(Shape<1>{static_cast<Index>(values.size())});
  std::copy(values.begin(), values.end(), p.data());
  return p;
}

using Floats = std::vector<float>;

// ---- what a gradient is

TEST(GradTape, GivesTheGradientOfAProduct) {
  Context context;
  GradTape tape(context);
  auto x = counting(context, Shape<1>{3}), y = counting(context, Shape<1>{3}, 10);
  tape.watch(x);
  tape.watch(y);
  tape.backward(sum(multiply(x, y)));
  EXPECT_EQ(values(tape.gradient(x)), (Floats{10, 11, 12}));
  EXPECT_EQ(values(tape.gradient(y)), (Floats{1, 2, 3}));
}

TEST(GradTape, AWeightUsedTwiceGetsBothContributions) {  // y = w (w x): 2 w x
  Context context;
  GradTape tape(context);
  const Parameter<float, 1> w = parameter({3});
  const auto x = context.full<float>(Shape<1>{1}, 2);
  const auto y = multiply(w.tensor(), multiply(x, w));
  EXPECT_EQ(values(y), (Floats{18}));
  tape.backward(y);
  EXPECT_EQ(values(tape.gradient(w)), (Floats{12}));
}

// A result whose rule leaves `value` in every element of the gradient of x, at the place that the tape names.
AnyTensor<float> leaves(GradTape& tape, const AnyTensor<float>& x, float value, std::vector<GradientSum>& found) {
  AnyTensor<float> y = tape.context().empty_any<float>(aulos::dense_dims({1}));
  tape.record(y, [gx = tape.ghost(x), value, &found](GradTape& of, Node) {
    const GradientPlace<float> place = of.place(gx);
    found.push_back(place.sum);
    for (Index i = 0; i < place.tensor.count(); ++i) {
      float& to = place.tensor.mutable_data()[i];
      to = place.sum == GradientSum::fresh ? value : to + value;
    }
  });
  return y;
}

TEST(GradTape, NamesThePlaceOfAGradient) {
  Context context;
  GradTape tape(context);
  const auto one = context.full<float>(Shape<1>{1}, 1);
  const Parameter<float, 1> w = parameter({1, 2, 3, 4, 5});  // shorter than its memory
  std::vector<GradientSum> found;
  const auto backward = [&](std::vector<AnyTensor<float>> results, Accumulate accumulate) {
    std::vector<Seed<float>> seeds;
    for (const AnyTensor<float>& y : results) seeds.push_back({y, one.any()});
    found.clear();
    tape.backward(std::span<const Seed<float>>(seeds), accumulate);
  };
  const AnyTensor<float> whole = w.any(), part = w.tensor(context).slice(0, 1, 3).any();

  backward({leaves(tape, whole, 2, found), leaves(tape, whole, 3, found)}, Accumulate::restart);
  EXPECT_EQ(found, (std::vector{GradientSum::fresh, GradientSum::to_add_to}));
  EXPECT_EQ(values(tape.gradient(w)), (Floats{5, 5, 5, 5, 5}));

  backward({leaves(tape, whole, 1, found)}, Accumulate::add);
  EXPECT_EQ(found, (std::vector{GradientSum::to_add_to}));
  EXPECT_EQ(values(tape.gradient(w)), (Floats{6, 6, 6, 6, 6}));

  backward({leaves(tape, part, 1, found)}, Accumulate::restart);
  EXPECT_EQ(found, (std::vector{GradientSum::to_add_to}));
  EXPECT_EQ(values(tape.gradient(w)), (Floats{0, 1, 1, 0, 0}));
}

TEST(GradTape, AValueUsedThreeTimesGetsTheSum) {
  Context context;
  GradTape tape(context);
  auto x = counting(context, Shape<1>{2});
  tape.watch(x);
  const auto h = scale(x, 2);
  tape.backward(sum(add(add(h, h), multiply(h, h))));  // 4x + 4x^2
  EXPECT_EQ(values(tape.gradient(x)), (Floats{12, 20}));
}

TEST(GradTape, TheLossMayBeAnInputItself) {
  Context context;
  GradTape tape(context);
  auto x = context.full<float>(Shape<1>{1}, 5);
  tape.watch(x);
  tape.backward(x);
  EXPECT_EQ(values(tape.gradient(x)), (Floats{1}));
}

TEST(GradTape, CotangentsStandForTheLoss) {
  Context context;
  GradTape tape(context);
  auto x = counting(context, Shape<1>{3});
  tape.watch(x);
  const auto y = multiply(x, x);
  const auto z = scale(x, 3);
  const Seed<float> seeds[] = {{y.any(), counting(context, Shape<1>{3}, 10).any()},
                               {z.any(), context.full<float>(Shape<1>{3}, 1).any()}};
  tape.backward(std::span<const Seed<float>>(seeds));
  EXPECT_EQ(values(tape.gradient(x)), (Floats{2 * 10 + 3, 2 * 2 * 11 + 3, 2 * 3 * 12 + 3}));
}

// ---- views

TEST(GradTape, SlicesOfOneTensorShareItsGradient) {
  Context context;
  GradTape tape(context);
  auto x = counting(context, Shape<2>{2, 6});
  tape.watch(x);
  const auto parts = aulos::chunk<3>(x, 1);
  tape.backward(sum(add(multiply(parts[0], parts[2]), parts[0])));
  EXPECT_EQ(values(tape.gradient(x)), (Floats{6, 7, 0, 0, 1, 2, 12, 13, 0, 0, 7, 8}));
  EXPECT_EQ(values(tape.gradient(parts[0])), (Floats{6, 7, 12, 13}));
  EXPECT_EQ(values(tape.gradient(parts[1])), (Floats{0, 0, 0, 0}));
  EXPECT_EQ(values(tape.gradient(x.select(0, 1))), (Floats{12, 13, 0, 0, 7, 8}));
}

// A gradient smaller than the buffer but of the same rounded size must not become the gradient of the whole.
TEST(GradTape, TheFirstSliceOfASmallResultLeavesTheRestZero) {
  for (const Index width : {2, 5, 15, 16, 17}) {
    Context context;
    GradTape tape(context);
    auto x = counting(context, Shape<1>{width});
    tape.watch(x);
    const auto h = scale(x, 2);
    tape.backward(sum(multiply(h.slice(0, 0, width - 1), context.full<float>(Shape<1>{width - 1}, 3))));
    Floats expected(static_cast<std::size_t>(width), 6);
    expected.back() = 0;
    EXPECT_EQ(values(tape.gradient(x)), expected) << width;
  }
}

TEST(GradTape, TheFirstSliceOfASmallInputOrParameterLeavesTheRestZero) {
  Context context;
  GradTape tape(context);
  auto x = counting(context, Shape<1>{5});
  tape.watch(x);
  const Parameter<float, 1> w = parameter({1, 2, 3, 4, 5});
  tape.backward(sum(multiply(scale(x.slice(0, 0, 4), 2), w.tensor().slice(0, 0, 4))));
  EXPECT_EQ(values(tape.gradient(x)), (Floats{2, 4, 6, 8, 0}));
  EXPECT_EQ(values(tape.gradient(w)), (Floats{2, 4, 6, 8, 0}));
}

TEST(GradTape, HeadsAndPermutedAxesAreViewsOfTheGradient) {
  Context context;
  GradTape tape(context);
  auto x = counting(context, Shape<3>{1, 3, 4});
  tape.watch(x);
  const auto heads = x.split_last(2).permute_leading(Shape<4>{0, 2, 1, 3});  // [1, 2, 3, 2]
  const auto weights = counting(context, Shape<4>{1, 2, 3, 2}, 100);
  tape.backward(sum(multiply(heads, weights)));
  EXPECT_EQ(values(tape.gradient(x)), (Floats{100, 101, 106, 107, 102, 103, 108, 109, 104, 105, 110, 111}));
  EXPECT_EQ(values(tape.gradient(heads)), values(weights));
}

TEST(GradTape, ABroadcastSumsItsGradient) {
  Context context;
  GradTape tape(context);
  auto x = counting(context, Shape<2>{1, 3});
  tape.watch(x);
  const auto repeated = x.broadcast(Shape<2>{4, 3});
  tape.backward(sum(multiply(repeated, counting(context, Shape<2>{4, 3}))));
  EXPECT_EQ(values(tape.gradient(x)), (Floats{1 + 4 + 7 + 10, 2 + 5 + 8 + 11, 3 + 6 + 9 + 12}));
}

TEST(GradTape, ReshapesShareTheGradient) {
  Context context;
  GradTape tape(context);
  auto x = counting(context, Shape<2>{2, 3});
  tape.watch(x);
  const auto flat = x.reshape(Shape<1>{6});
  tape.backward(sum(add(multiply(flat, flat), flat.unsqueeze(0).select(0, 0))));
  EXPECT_EQ(values(tape.gradient(x)), (Floats{3, 5, 7, 9, 11, 13}));
  EXPECT_EQ(tape.gradient(x).shape(), (Shape<2>{2, 3}));
}

TEST(GradTape, AWatchedViewHasAGradientOfItsOwn) {
  Context context;
  GradTape tape(context);
  const auto x = counting(context, Shape<2>{2, 4});
  auto view = x.slice(1, 1, 3);
  tape.watch(view);
  tape.backward(sum(multiply(view, view)));
  EXPECT_EQ(values(tape.gradient(view)), (Floats{4, 6, 12, 14}));
  EXPECT_TRUE(tape.gradient(x).empty());  // a handle from before the watch
}

// ---- parameters

TEST(GradTape, AParameterThatNothingReachedHasNoGradient) {
  Context context;
  GradTape tape(context);
  const Parameter<float, 1> used = parameter({1, 2}), unused = parameter({3, 4});
  const auto x = counting(context, Shape<1>{2});
  const auto aside = multiply(x, unused);  // computed, but not part of the loss
  tape.backward(sum(multiply(x, used)));
  EXPECT_EQ(values(tape.gradient(used)), (Floats{1, 2}));
  EXPECT_TRUE(tape.gradient(unused).empty());
  EXPECT_EQ(values(aside), (Floats{3, 8}));
}

TEST(GradTape, AFrozenParameterHasNone) {
  Context context;
  GradTape tape(context);
  Parameter<float, 1> w = parameter({1, 2});
  w.set_trainable(false);
  auto x = counting(context, Shape<1>{2});
  EXPECT_EQ(multiply(x, w).any().node(), 0u);  // nobody asks: nothing is recorded
  tape.watch(x);
  tape.backward(sum(multiply(x, w)));
  EXPECT_TRUE(tape.gradient(w).empty());
  EXPECT_EQ(values(tape.gradient(x)), (Floats{1, 2}));
}

TEST(GradTape, AddsUpOverMicroBatchesOnRequest) {
  Context context;
  GradTape tape(context);
  const Parameter<float, 1> w = parameter({1, 2});
  const auto step = [&](float factor, Accumulate accumulate) {
    tape.backward(scale(sum(multiply(counting(context, Shape<1>{2}), w)), factor), accumulate);
  };
  step(1, Accumulate::restart);
  step(10, Accumulate::add);
  EXPECT_EQ(values(tape.gradient(w)), (Floats{11, 22}));
  step(100, Accumulate::restart);
  EXPECT_EQ(values(tape.gradient(w)), (Floats{100, 200}));
  tape.drop_parameter_gradients();
  EXPECT_TRUE(tape.gradient(w).empty());
}

TEST(GradTape, TwoParametersAtOneAddressAreNotTakenForEachOther) {
  Context context;
  GradTape tape(context);
  for (const Index count : {3, 300, 3, 70}) {  // freed memory is likely to be used again
    std::optional<Parameter<float, 1>> w(std::in_place, Shape<1>{count});
    w->data();
    const auto x = counting(context, Shape<1>{count});
    tape.backward(sum(multiply(x, *w)));
    EXPECT_EQ(values(tape.gradient(*w)), values(x));
  }
}

// ---- rounds

TEST(GradTape, TensorsOfAnEarlierRoundAreConstants) {
  Context context;
  GradTape tape(context);
  auto x = counting(context, Shape<1>{2});
  tape.watch(x);
  const auto old = multiply(x, x);
  tape.backward(sum(old));
  EXPECT_EQ(values(tape.gradient(x)), (Floats{2, 4}));

  const Parameter<float, 1> w = parameter({5, 6});
  tape.backward(sum(multiply(multiply(x, old), w)));  // the first record of the round meets old numbers only
  EXPECT_EQ(values(tape.gradient(w)), (Floats{1, 8}));
  EXPECT_TRUE(tape.gradient(x).empty());
  EXPECT_TRUE(tape.gradient(old).empty());
}

TEST(GradTape, InputsAreWatchedAgainInEachRound) {
  Context context;
  GradTape tape(context);
  auto x = counting(context, Shape<1>{2});
  for (int round = 1; round <= 3; ++round) {
    tape.watch(x);
    tape.backward(sum(scale(multiply(x, x), static_cast<float>(round))));
    const float r = static_cast<float>(round);
    EXPECT_EQ(values(tape.gradient(x)), (Floats{2 * r, 4 * r}));
  }
}

TEST(GradTape, GradientsAreThereUntilTheNextRound) {
  Context context;
  GradTape tape(context);
  auto x = counting(context, Shape<1>{2});
  tape.watch(x);
  tape.backward(sum(x));
  EXPECT_FALSE(tape.gradient(x).empty());
  const Tensor<float, 1> gradient = tape.gradient(x);
  auto z = counting(context, Shape<1>{2});
  tape.watch(z);
  EXPECT_TRUE(tape.gradient(x).empty());
  EXPECT_EQ(values(gradient), (Floats{1, 1}));  // a handle keeps it
}

TEST(GradTape, ASecondBackwardOfOneLossIsAnError) {
  Context context;
  GradTape tape(context);
  const Parameter<float, 1> w = parameter({5, 6});
  const auto loss = sum(multiply(counting(context, Shape<1>{2}), w));
  tape.backward(loss);
  EXPECT_THROW(tape.backward(loss), aulos::Error);
  EXPECT_EQ(values(tape.gradient(w)), (Floats{1, 2}));  // as it was
}

TEST(GradTape, GradientsOfResultsAreKeptOnRequest) {
  Context context;
  GradTape tape(context);
  auto x = counting(context, Shape<1>{2});
  tape.watch(x);
  const auto kept = multiply(x, x), dropped = scale(kept, 3);
  tape.retain(kept);
  tape.backward(sum(dropped));
  EXPECT_EQ(values(tape.gradient(kept)), (Floats{3, 3}));
  EXPECT_TRUE(tape.gradient(dropped).empty());
  EXPECT_EQ(values(tape.gradient(x)), (Floats{6, 12}));
}

// ---- memory

TEST(GradTape, AnOpNeverWritesIntoWhatARuleHasSaved) {
  Context context;
  GradTape tape(context);
  auto x = counting(context, Shape<1>{40});
  tape.watch(x);
  auto h = multiply(x, x);                                // saves x
  auto g = apply(std::move(h), aulos::Activation::sqrt);  // saves h, which nobody else holds
  auto y = apply(std::move(g), aulos::Activation::exp);
  auto z = apply(std::move(y), aulos::Activation::log);  // = |x|
  tape.backward(sum(z));
  for (const float d : values(tape.gradient(x))) EXPECT_NEAR(d, 1, 1e-5);
  for (Index i = 0; i < 40; ++i) EXPECT_EQ(x(i), static_cast<float>(i + 1));
}

TEST(GradTape, WithoutAGradientToGiveNothingIsRecordedAndMemoryIsReused) {
  Context context;
  GradTape tape(context);
  auto x = counting(context, Shape<1>{40});
  const float* memory = x.data();
  const auto y = relu(std::move(x));
  EXPECT_EQ(y.data(), memory);
  EXPECT_EQ(y.any().node(), 0u);
}

TEST(GradTape, TheSecondStepTakesNoMemoryFromTheSystem) {
  Context context;
  GradTape tape(context);
  const Parameter<float, 1> w = parameter({1, 2, 3, 4});
  const auto step = [&] {
    auto x = context.full<float>(Shape<2>{600, 4}, 1);
    tape.watch(x);
    auto h = multiply(x, w.tensor().unsqueeze(0));
    for (int i = 0; i < 5; ++i) h = silu(add(h, x));
    tape.backward(sum(h));
  };
  step();
  const std::size_t held = context.memory().held;
  context.reset_memory_peak();
  step();
  const std::size_t peak = context.memory().peak;
  for (int i = 0; i < 5; ++i) {
    context.reset_memory_peak();
    step();
    EXPECT_EQ(context.memory().peak, peak);
  }
  EXPECT_EQ(context.memory().held, held);
}

TEST(GradTape, FreesEverythingAtItsEnd) {
  Context context;
  const Parameter<float, 1> w = parameter({1, 2});  // outlives what refers to it
  const std::size_t before = context.memory().live;
  {
    GradTape tape(context);
    tape.backward(sum(multiply(counting(context, Shape<1>{2}), w)));
    EXPECT_GT(context.memory().live, before);
    multiply(counting(context, Shape<1>{2}), w);  // recorded, never differentiated
  }
  EXPECT_EQ(context.memory().live, before);
  EXPECT_EQ(context.tape(), nullptr);
}

TEST(GradTape, ADryContextPlansTheBackwardPass) {
  const auto run = [](Context& context) {
    GradTape tape(context);
    const Parameter<float, 1> w(Shape<1>{4});
    auto x = counting(context, Shape<2>{600, 4});
    tape.watch(x);
    auto h = silu(multiply(x, w.tensor().unsqueeze(0)));
    tape.backward(sum(multiply(h, h)));
    EXPECT_FALSE(tape.gradient(x).empty());
    EXPECT_FALSE(tape.gradient(w).empty());
    return context.memory().peak;
  };
  Context dry(Context::Dry{});
  const std::size_t planned = run(dry);
  Context real;
  Parameter<float, 1> w(Shape<1>{4});
  w.data();
  GradTape tape(real);
  auto x = counting(real, Shape<2>{600, 4});
  tape.watch(x);
  auto h = silu(multiply(x, w.tensor().unsqueeze(0)));
  tape.backward(sum(multiply(h, h)));
  EXPECT_EQ(planned, real.memory().peak);
  EXPECT_GT(dry.planned().flops, 0);
}

// ---- errors

TEST(GradTape, RefusesASecondTape) {
  Context context;
  GradTape tape(context);
  EXPECT_THROW(GradTape second(context), aulos::Error);
  EXPECT_EQ(context.tape(), &tape);
}

TEST(GradTape, NamesWrongArguments) {
  Context context;
  GradTape tape(context);
  const auto message = [](auto&& call) -> std::string {
    try {
      call();
    } catch (const aulos::Error& error) {
      return error.what();
    }
    return "no error";
  };
  auto x = counting(context, Shape<2>{2, 3});
  tape.watch(x);
  EXPECT_EQ(message([&] { tape.backward(x); }), "backward: the loss is [2, 3], expected one element");
  EXPECT_EQ(message([&] { tape.backward(Tensor<float, 1>()); }), "backward: the loss is empty, expected one element");
  const Seed<float> wrong{x.any(), counting(context, Shape<2>{3, 2}).any()};
  EXPECT_EQ(message([&] { tape.backward(std::span<const Seed<float>>(&wrong, 1)); }),
            "backward: y [2, 3] and its cotangent [3, 2] differ");
  const Seed<float> absent{x.any(), {}};
  EXPECT_EQ(message([&] { tape.backward(std::span<const Seed<float>>(&absent, 1)); }),
            "backward: y or its cotangent is empty (moved from?)");
  Tensor<float, 2> moved;
  EXPECT_EQ(message([&] { tape.watch(moved); }), "watch: x is empty (moved from?)");
  Parameter<float, 1> w = parameter({1});
  Tensor<float, 1> p = w;
  EXPECT_EQ(message([&] { tape.watch(p); }), "watch: a parameter has a gradient without being watched");
}

TEST(GradTape, IsUsableAfterAnErrorInForwardOrBackward) {
  Context context;
  GradTape tape(context);
  const Parameter<float, 1> w = parameter({1, 2});
  const auto x = counting(context, Shape<1>{2});
  EXPECT_THROW(multiply(multiply(x, w), counting(context, Shape<1>{3})), aulos::ShapeError);
  tape.backward(sum(multiply(x, w)));
  EXPECT_EQ(values(tape.gradient(w)), (Floats{1, 2}));

  AnyTensor<float> y = context.full<float>(Shape<1>{1}, 0).any();
  const auto before = multiply(x, w);  // left over in the failed round
  tape.record(y, [](GradTape&, aulos::Node) { throw aulos::Error("a rule failed"); });
  EXPECT_THROW(tape.backward(Tensor<float, 1>(y)), aulos::Error);
  EXPECT_TRUE(tape.recording());
  tape.backward(sum(multiply(x, w)));
  EXPECT_EQ(values(tape.gradient(w)), (Floats{1, 2}));
}

TEST(GradTape, DoesNotRecordWhileItRuns) {
  Context context;
  GradTape tape(context);
  auto x = counting(context, Shape<1>{2});
  tape.watch(x);
  bool recording = true;
  AnyTensor<float> y = scale(x, 1).any();
  tape.record(y, [&](GradTape& t, aulos::Node) { recording = t.recording(); });
  tape.backward(sum(Tensor<float, 1>(y)));
  EXPECT_FALSE(recording);
  EXPECT_TRUE(tape.recording());
}

TEST(GradTape, MixesFloatAndDouble) {
  Context context;
  GradTape tape(context);
  auto x = context.full<double>(Shape<1>{3}, 2);
  auto y = context.full<float>(Shape<1>{3}, 3);
  tape.watch(x);
  tape.watch(y);
  const Seed<double> seed{multiply(x, x).any(), context.full<double>(Shape<1>{3}, 1).any()};
  tape.backward(std::span<const Seed<double>>(&seed, 1));
  EXPECT_EQ(tape.gradient(x)(0), 4);
  EXPECT_TRUE(tape.gradient(y).empty());
}

}  // namespace
