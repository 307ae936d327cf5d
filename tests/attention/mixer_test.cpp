// What the mixers say of themselves, and the laws that all of them keep.
#include "aulos/attention/mixer.hpp"

#include <gtest/gtest.h>

#include "aulos/attention/differential.hpp"
#include "aulos/attention/linear.hpp"
#include "aulos/attention/softmax.hpp"
#include "aulos/ops/layout.hpp"
#include "support/naive_tokens.hpp"

namespace {

using namespace aulos::attention;
using aulos::Context;
using aulos::Index;
using aulos::KeepKeys;
using aulos::QueryKeyValue;
using aulos::Shape;
using aulos::Tensor;
using aulos::kernels::Causal;
using aulos::kernels::LinearForm;
using aulos::kernels::NoMask;
using aulos::kernels::SoftCap;

template <class M, class T>
constexpr bool mixes = Mixer<M, T, 1>&& Mixer<M, T, 2>&& Mixer<M, T, 4>;
static_assert(mixes<Softmax, float> && mixes<Softmax, double> && mixes<Linear, float>);
static_assert(mixes<Differential<float>, float> && mixes<Differential<double>, double>);
static_assert(!mixes<Differential<double>, float>, "parameters of another type than the tokens");
static_assert(StreamingMixer<Linear, float> && !StreamingMixer<Softmax, float>);
static_assert(TakesRules<Linear, float, 2, KeepKeys> && !TakesRules<Linear, float, 2, Causal>);
static_assert(!TakesRules<Linear, float, 1, NoMask, SoftCap> && TakesRules<Softmax, float, 1, Causal, SoftCap>);

// Mixers that promise what they don't have are none.
template <MixerTraits says>
struct Claims : Softmax {
  static constexpr MixerTraits traits = says;
};
constexpr MixerTraits keys_only{.rules = RuleSet::keys};
constexpr MixerTraits with_state{.streaming = StreamingForm::state, .rules = RuleSet::any};
constexpr MixerTraits with_parameters{.parameters = MixerParameters::owned, .rules = RuleSet::any};
static_assert(mixes<Claims<Softmax::traits>, float>);
static_assert(!mixes<Claims<keys_only>, float>, "takes more than it says");
static_assert(!mixes<Claims<with_state>, float>, "has no step()");
static_assert(!mixes<Claims<with_parameters>, float>, "owns nothing");
struct Silent {
  void visit(auto&&) {}
  std::array<Tensor<float, 4>, 1> operator()(const std::array<QueryKeyValue<float>, 1>& sides) const {
    return {sides[0].v};
  }
};
static_assert(!Mixer<Silent, float, 1>, "says nothing of itself");
static_assert(!Mixer<int, float, 1>);

// ---- laws

constexpr Index heads = 4, width = 3;
using One = std::array<QueryKeyValue<double>, 1>;

// A mixer, its causal form, and the weighted sums of values that it makes, with the sum of a row's weights.
struct OfSoftmax {
  Tensor<double, 4> sums(const One& side) const { return Softmax()(side)[0]; }
  Tensor<double, 4> sums(const One& side, const KeepKeys& keep) const { return Softmax()(side, keep)[0]; }
  Tensor<double, 4> causal_sums(const One& side) const { return Softmax()(side, Causal{})[0]; }
  template <std::size_t Sides>
  auto mixed(const std::array<QueryKeyValue<double>, Sides>& sides) const {
    return Softmax()(sides);
  }
  double total(Context&) const { return 1; }
};
struct OfLinear {
  Tensor<double, 4> sums(const One& side) const { return Linear()(side)[0]; }
  Tensor<double, 4> sums(const One& side, const KeepKeys& keep) const { return Linear()(side, keep)[0]; }
  Tensor<double, 4> causal_sums(const One& side) const { return Linear{.form = LinearForm::causal}(side)[0]; }
  template <std::size_t Sides>
  auto mixed(const std::array<QueryKeyValue<double>, Sides>& sides) const {
    return Linear()(sides);
  }
  double total(Context&) const { return 1; }
};
struct OfDifferential {
  Differential<double> mixer{width, 1};

  OfDifferential() { naive::randomise(mixer, 5); }
  Tensor<double, 4> sums(const One& side) const { return mixer.difference(side)[0]; }
  Tensor<double, 4> sums(const One& side, const KeepKeys& keep) const { return mixer.difference(side, keep)[0]; }
  Tensor<double, 4> causal_sums(const One& side) const { return mixer(side, Causal{})[0]; }
  template <std::size_t Sides>
  auto mixed(const std::array<QueryKeyValue<double>, Sides>& sides) const {
    return mixer(sides);
  }
  double total(Context& context) const { return 1 - mixer.lambda(context.zeros<double>(Shape<1>{1}))(0); }
};

template <class M>
class MixerLaws : public ::testing::Test {};
using Mixers = ::testing::Types<OfSoftmax, OfLinear, OfDifferential>;
TYPED_TEST_SUITE(MixerLaws, Mixers);

QueryKeyValue<double> side(Context& context, Index tokens, std::uint64_t seed = 1) {
  const auto make = [&](std::uint64_t of) {
    return naive::random<double, 4>(context, Shape<4>{2, tokens, heads, width}, seed + of);
  };
  return {make(0), make(1), make(2)};
}

QueryKeyValue<double> each_part(const QueryKeyValue<double>& x, const auto& f) { return {f(x.q), f(x.k), f(x.v)}; }

void expect_equal(const Tensor<double, 4>& got, const Tensor<double, 4>& want, double tolerance = 1e-12) {
  ASSERT_EQ(got.shape(), want.shape());
  const auto a = naive::values(got), b = naive::values(want);
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], tolerance) << i;
}

// The rows of weights sum to a constant. Linear attention has an eps of 1e-6 in its denominator.
TYPED_TEST(MixerLaws, ConstantValuesComeBack) {
  Context context({.threads = 1});
  const TypeParam mixer;
  One x{side(context, 5)};
  const auto row = x[0].v.slice(1, 0, 1);
  x[0].v = dense(row.broadcast(x[0].v.shape()));
  const auto y = aulos::scale(mixer.sums(x), 1 / mixer.total(context));
  expect_equal(y.reshape(Shape<4>{2, 5, heads, width}), x[0].v, 1e-5);
}

TYPED_TEST(MixerLaws, ValuesScaleTheResult) {
  Context context({.threads = 1});
  const TypeParam mixer;
  One x{side(context, 5)};
  const auto y = mixer.sums(x);
  x[0].v = aulos::scale(x[0].v, 3.0);
  expect_equal(mixer.sums(x), aulos::scale(y, 3.0));
}

// What comes later changes nothing, to the bit; what is there does.
TYPED_TEST(MixerLaws, Causality) {
  Context context({.threads = 1});
  const TypeParam mixer;
  const One x{side(context, 70)}, other{side(context, 70, 9)};
  const auto y = mixer.causal_sums(x);
  for (const Index at : {1, 40, 69}) {
    const One changed{each_part(x[0], [&](const Tensor<double, 4>& t) {
      auto z = dense(t.slice(1, 0, 70));
      const auto& from = &t == &x[0].q ? other[0].q : &t == &x[0].k ? other[0].k : other[0].v;
      return aulos::concat(std::array{z.slice(1, 0, at), from.slice(1, at, at + 1), z.slice(1, at + 1, 70)}, 1);
    })};
    const auto z = mixer.causal_sums(changed);
    EXPECT_EQ(naive::values(dense(z.slice(1, 0, at))), naive::values(dense(y.slice(1, 0, at)))) << at;
    EXPECT_NE(naive::values(dense(z.slice(1, at, at + 1))), naive::values(dense(y.slice(1, at, at + 1)))) << at;
  }
}

TYPED_TEST(MixerLaws, PermutedTokensPermuteTheResult) {
  Context context({.threads = 1});
  const TypeParam mixer;
  const One x{side(context, 6)};
  const auto rotate = [](const Tensor<double, 4>& t) {
    return aulos::concat(std::array{t.slice(1, 4, 6), t.slice(1, 0, 4)}, 1);
  };
  expect_equal(mixer.sums(One{each_part(x[0], rotate)}), rotate(mixer.sums(x)));
}

TYPED_TEST(MixerLaws, ADroppedKeyIsNotThere) {
  Context context({.threads = 1});
  const TypeParam mixer;
  const One x{side(context, 6)};
  auto keep = context.full<std::uint8_t>(Shape<2>{2, 6}, 1);
  for (Index b = 0; b < 2; ++b) keep.mutable_data()[6 * b + 2] = keep.mutable_data()[6 * b + 3] = 0;
  const auto rest = [](const Tensor<double, 4>& t) {
    return aulos::concat(std::array{t.slice(1, 0, 2), t.slice(1, 4, 6)}, 1);
  };
  expect_equal(mixer.sums(x, KeepKeys{keep}),
               mixer.sums(One{QueryKeyValue<double>{x[0].q, rest(x[0].k), rest(x[0].v)}}));
}

// Sides are one sequence, the second without queries, the third without keys.
TYPED_TEST(MixerLaws, SidesAreOneSequence) {
  Context context({.threads = 1});
  const TypeParam mixer;
  std::array<QueryKeyValue<double>, 4> x{side(context, 3), side(context, 4, 10), side(context, 2, 20),
                                         side(context, 5, 30)};
  x[1].q = {};
  x[2].k = x[2].v = {};
  const auto y = mixer.mixed(x);
  const QueryKeyValue<double> whole{aulos::concat(std::array{x[0].q, x[2].q, x[3].q}, 1),
                                    aulos::concat(std::array{x[0].k, x[1].k, x[3].k}, 1),
                                    aulos::concat(std::array{x[0].v, x[1].v, x[3].v}, 1)};
  EXPECT_TRUE(y[1].empty());
  expect_equal(aulos::concat(std::array{y[0], y[2], y[3]}, 1), mixer.mixed(One{whole})[0]);
}

}  // namespace
