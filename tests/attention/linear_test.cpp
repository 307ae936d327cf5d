#include "aulos/attention/linear.hpp"

#include <gtest/gtest.h>

#include "attention/naive_mixers.hpp"

namespace {

using namespace aulos::attention;
using aulos::ConfigError;
using aulos::Context;
using aulos::Index;
using aulos::KeepKeys;
using aulos::QueryKeyValue;
using aulos::Shape;
using aulos::Tensor;
using aulos::kernels::LinearForm;

constexpr Index heads = 3, width = 4;

template <class T>
QueryKeyValue<T> side(Context& context, Index tokens, std::uint64_t seed = 1) {
  const auto make = [&](std::uint64_t of) {
    return naive::random<T, 4>(context, Shape<4>{2, tokens, heads, width}, seed + of);
  };
  return {make(0), make(1), make(2)};
}

template <class T>
Tensor<T, 3> flat(const Tensor<T, 4>& x) {
  return dense(x).reshape(Shape<3>{x.extent(0), x.extent(1), x.extent(2) * x.extent(3)});
}
template <class T>
naive::Tokens tokens(const Tensor<T, 4>& x) {
  return naive::Tokens(flat(x));
}

TEST(LinearMixer, BothFeaturesBothFormsOnTwoSides) {
  Context context({.threads = 1});
  const std::array<QueryKeyValue<float>, 2> x{side<float>(context, 5), side<float>(context, 68, 10)};
  const auto joined = [&](Tensor<float, 4> QueryKeyValue<float>::*part) {
    return naive::joined(tokens(x[0].*part), tokens(x[1].*part));
  };
  for (const LinearFeature feature : {LinearFeature::elu_plus_one, LinearFeature::relu}) {
    for (const LinearForm form : {LinearForm::full, LinearForm::causal}) {
      const Linear mixer{feature, form, 1e-3};
      const auto want = naive::linear_mixer(joined(&QueryKeyValue<float>::q), joined(&QueryKeyValue<float>::k),
                                            joined(&QueryKeyValue<float>::v), heads, mixer);
      const auto y = mixer(x);
      naive::expect_near(flat(y[0]), naive::part(want, 0, 5), 1e-5);
      naive::expect_near(flat(y[1]), naive::part(want, 5, 73), 1e-5);
    }
  }
}

// Keys are dropped from the joint sequence.
TEST(LinearMixer, KeepsKeys) {
  Context context({.threads = 1});
  const std::array<QueryKeyValue<float>, 1> x{side<float>(context, 6)};
  auto keep = context.full<std::uint8_t>(Shape<2>{2, 6}, 1);
  keep.mutable_data()[6 + 4] = keep.mutable_data()[0] = 0;
  const auto want =
      naive::linear_mixer(tokens(x[0].q), tokens(x[0].k), tokens(x[0].v), heads, Linear(),
                          [](Index b, Index, Index j) { return !(b == 1 && j == 4) && !(b == 0 && j == 0); });
  naive::expect_near(flat(Linear()(x, KeepKeys{keep})[0]), want, 1e-5);
}

// Any cut of the sequence gives what the whole gives.
TEST(LinearMixer, StepsEqualTheWhole) {
  Context context({.threads = 1});
  const Linear mixer{.form = LinearForm::causal};
  const auto x = side<float>(context, 70);
  const auto whole = mixer(std::array{x})[0];
  for (const std::vector<Index>& cut : {std::vector<Index>{1, 2, 3}, {69}, {35}, {64, 65}, {}}) {
    std::vector<Index> ends = cut;
    ends.push_back(70);
    Linear::State<float> state;
    Index first = 0;
    for (const Index end : ends) {
      const auto part = [&](const Tensor<float, 4>& t) { return t.slice(1, first, end); };
      const auto y = mixer.step(state, QueryKeyValue<float>{part(x.q), part(x.k), part(x.v)});
      const auto a = naive::values(y), b = naive::values(part(whole));
      ASSERT_EQ(a.size(), b.size());
      for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-5f) << first << " to " << end;
      first = end;
    }
  }
}

TEST(LinearMixer, Gradients) {
  Context context({.threads = 1});
  const auto random = [&](Index n, std::uint64_t seed) {
    return naive::random<double, 4>(context, Shape<4>{1, n, 2, 3}, seed);
  };
  for (const LinearForm form : {LinearForm::full, LinearForm::causal}) {
    const auto result = gradcheck(
        context,
        [form](auto q, auto k, auto v, auto q2, auto k2, auto v2) {
          return Linear{.form = form}(std::array{QueryKeyValue<double>{q, k, v}, QueryKeyValue<double>{q2, k2, v2}});
        },
        std::tuple(random(2, 1), random(2, 2), random(2, 3), random(3, 4), random(3, 5), random(3, 6)));
    EXPECT_TRUE(result) << to_string(result);
  }
}

TEST(LinearMixer, SaysWhatItCannotDo) {
  Context context({.threads = 1});
  const auto x = side<float>(context, 3);
  const auto text = [](const auto& call) {
    try {
      call();
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  const std::array<QueryKeyValue<float>, 1> grouped{{{x.q, x.k.slice(2, 0, 1), x.v.slice(2, 0, 1)}}};
  EXPECT_NE(text([&] { Linear()(grouped); }).find("q [2, 3, 3, 4] and k [2, 3, 1, 4] differ in heads"),
            std::string::npos);
  const Linear causal{.form = LinearForm::causal};
  EXPECT_NE(text([&] {
              causal(std::array{QueryKeyValue<float>{{}, x.k, x.v}, x});
            }).find("needs queries and keys"),
            std::string::npos);
  Linear::State<float> state;
  EXPECT_NE(text([&] { Linear().step(state, x); }).find("the causal form"), std::string::npos);
}

}  // namespace
