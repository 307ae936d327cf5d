#include "aulos/attention/differential.hpp"

#include <gtest/gtest.h>

#include "attention/naive_mixers.hpp"
#include "aulos/attention/softmax.hpp"
#include "aulos/ops/layout.hpp"

namespace {

using namespace aulos::attention;
using aulos::ConfigError;
using aulos::Context;
using aulos::Index;
using aulos::QueryKeyValue;
using aulos::Shape;
using aulos::Tensor;
using aulos::kernels::Causal;

constexpr Index width = 3;

template <class T>
QueryKeyValue<T> side(Context& context, Index tokens, Index heads, Index groups, std::uint64_t seed = 1) {
  const auto make = [&](std::uint64_t of, Index h) {
    return naive::random<T, 4>(context, Shape<4>{2, tokens, h, width}, seed + of);
  };
  return {make(0, heads), make(1, groups), make(2, groups)};
}

template <class T>
Differential<T> mixer_of(Index depth = 1) {
  Differential<T> mixer(width, depth);
  naive::randomise(mixer, 3);
  return mixer;
}

template <class T>
Tensor<T, 3> flat(const Tensor<T, 4>& x) {
  return x.reshape(Shape<3>{x.extent(0), x.extent(1), x.extent(2) * x.extent(3)});
}

TEST(DifferentialMixer, IsWhatItsFormulaSays) {
  Context context({.threads = 1});
  const auto mixer = mixer_of<double>();
  for (const auto& [heads, groups] : {std::pair<Index, Index>{4, 4}, {2, 2}, {8, 4}, {12, 2}}) {
    const auto x = side<double>(context, 7, heads, groups);
    const naive::Tokens q(flat(x.q)), k(flat(x.k)), v(flat(x.v));
    const auto y = mixer(std::array{x})[0];
    EXPECT_EQ(y.shape(), (Shape<4>{2, 7, heads / 2, 2 * width}));
    naive::expect_near(flat(y), naive::differential_mixer(q, k, v, heads, groups, mixer), 1e-12);
    naive::expect_near(
        flat(mixer(std::array{x}, Causal{})[0]),
        naive::differential_mixer(q, k, v, heads, groups, mixer, [](Index, Index i, Index j) { return j <= i; }), 1e-5);
  }
}

// The paper's schedule, and vectors of zeros.
TEST(DifferentialMixer, Lambda) {
  EXPECT_NEAR(differential_lambda_init(0), 0.2, 1e-12);
  EXPECT_NEAR(differential_lambda_init(1), 0.355509, 1e-6);
  EXPECT_NEAR(differential_lambda_init(27), 0.799818, 1e-6);
  Context context({.threads = 1});
  Differential<double> mixer(width, 4);
  for (auto* p : {&mixer.lambda_q1, &mixer.lambda_k1, &mixer.lambda_q2, &mixer.lambda_k2}) p->data();
  const auto x = context.zeros<double>(Shape<1>{1});
  EXPECT_EQ(mixer.lambda(x)(0), differential_lambda_init(4));
  mixer.lambda_q1.data()[0] = 2;
  mixer.lambda_k1.data()[0] = 0.5;
  EXPECT_NEAR(mixer.lambda(x)(0), std::exp(1.0) - 1 + mixer.lambda_init, 1e-15);
}

// Values of ones give the sums of the rows of weights: 1 - lambda.
TEST(DifferentialMixer, RowsSumToOneMinusLambda) {
  Context context({.threads = 1});
  const auto mixer = mixer_of<double>();
  auto x = side<double>(context, 9, 4, 2);
  x.v = context.full<double>(x.v.shape(), 1.0);
  const double want = 1 - mixer.lambda(x.q)(0);
  for (const double sum : naive::values(mixer.difference(std::array{x})[0])) EXPECT_NEAR(sum, want, 1e-12);
}

// The norm makes the result independent of the size of the values, up to its eps.
TEST(DifferentialMixer, ValuesHaveNoScale) {
  Context context({.threads = 1});
  const auto mixer = mixer_of<double>();
  auto x = side<double>(context, 9, 4, 2);
  const auto y = naive::values(mixer(std::array{x})[0]);
  x.v = aulos::scale(x.v, 100.0);
  const auto z = naive::values(mixer(std::array{x})[0]);
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], z[i], 2e-3);
}

// Two ordinary attentions with values of twice the width, where no keys are shared.
TEST(DifferentialMixer, IsADifferenceOfTwoAttentions) {
  Context context({.threads = 1});
  const auto mixer = mixer_of<double>();
  const auto x = side<double>(context, 9, 4, 4);
  const auto lambda = mixer.lambda(x.q)(0);
  const auto v = x.v.reshape(Shape<4>{2, 9, 2, 2 * width});
  const auto half = [&](Index i) {
    const auto of = [&](const Tensor<double, 4>& t) {
      return dense(t.reshape(Shape<5>{2, 9, 2, 2, width}).select(3, i));
    };
    return Softmax()(std::array{QueryKeyValue<double>{of(x.q), of(x.k), v}})[0];
  };
  const auto want = subtract(half(0), aulos::scale(half(1), lambda));
  const auto y = mixer.difference(std::array{x})[0];
  for (Index i = 0; i < want.count(); ++i) EXPECT_NEAR(y.data()[i], want.data()[i], 1e-12);
}

TEST(DifferentialMixer, ThreadsDoNotChangeABit) {
  const auto mixer = mixer_of<double>();
  std::vector<double> first;
  for (const int threads : {1, 2, 4}) {
    Context context({.threads = threads});
    const auto x = side<double>(context, 150, 8, 4);
    auto y = naive::values(mixer(std::array{x})[0]);
    if (first.empty()) first = y;
    EXPECT_EQ(y, first);
  }
}

TEST(DifferentialMixer, Gradients) {
  Context context({.threads = 1});
  auto mixer = mixer_of<double>();
  const auto x = side<double>(context, 3, 4, 2), z = side<double>(context, 2, 4, 2, 10);
  const auto result = gradcheck(
      context,
      [&](auto q, auto k, auto v, auto k2, auto v2) {
        return mixer(std::array{QueryKeyValue<double>{q, k, v}, QueryKeyValue<double>{{}, k2, v2}});
      },
      std::tuple(x.q, x.k, x.v, z.k, z.v), naive::parameters_of(mixer));
  EXPECT_TRUE(result) << to_string(result);
}

TEST(DifferentialMixer, SaysWhatIsWrong) {
  Context context({.threads = 1});
  const auto mixer = mixer_of<double>();
  const auto text = [](const Differential<double>& of, const QueryKeyValue<double>& x) {
    try {
      of(std::array{x});
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  const auto x = side<double>(context, 2, 4, 4);
  EXPECT_EQ(text(Differential<double>(), x), "Differential: made without the width of its heads");
  EXPECT_EQ(text(mixer, {x.q.slice(2, 0, 3), x.k, x.v}),
            "Differential: q [2, 2, 3, 3], expected an even number of heads, 3 wide");
  EXPECT_EQ(text(Differential<double>(5, 0), x),
            "Differential: q [2, 2, 4, 3], expected an even number of heads, 5 wide");
  EXPECT_EQ(text(mixer, {x.q, x.k, x.v.slice(2, 0, 2)}),
            "Differential: k [2, 2, 4, 3] and v [2, 2, 2, 3] differ in heads");
}

}  // namespace
