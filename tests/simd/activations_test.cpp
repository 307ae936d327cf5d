// compile: -O2
#include "aulos/simd/activations.hpp"

#include "lanes.hpp"

namespace {

namespace simd = aulos::simd;
using namespace aulos_test;

template <class T>
class Activations : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Activations, Types);

TYPED_TEST(Activations, SigmoidIsAsAccurateAsPromised) { expect_accuracy(measure_sigmoid<TypeParam>(accuracy_points)); }
TYPED_TEST(Activations, SiluIsAsAccurateAsPromised) { expect_accuracy(measure_silu<TypeParam>(accuracy_points)); }
TYPED_TEST(Activations, GeluIsAsAccurateAsPromised) { expect_accuracy(measure_gelu<TypeParam>(accuracy_points)); }
TYPED_TEST(Activations, GeluTanhIsAsAccurateAsPromised) {
  expect_accuracy(measure_gelu_tanh<TypeParam>(accuracy_points));
}

// Calls visit(f, value in W, derivative in W) for every activation.
template <class W, class Visit>
void for_each_activation(Visit visit) {
  const W root2 = std::sqrt(W(2)), root2pi = std::sqrt(2 * std::acos(W(-1))), k = 4 / root2pi;
  const auto sigmoid = [](W x) { return reference_sigmoid(x); };
  const auto bell = [](W x) { return reference_sigmoid(x) * reference_sigmoid(-x); };
  visit(
      "identity", simd::Identity{}, [](W x) { return x; }, [](W) { return W(1); });
  visit(
      "relu", simd::Relu{}, [](W x) { return x > 0 ? x : W(0); }, [](W x) { return W(x > 0); });
  visit("sigmoid", simd::Sigmoid{}, sigmoid, bell);
  visit(
      "tanh", simd::Tanh{}, [](W x) { return std::tanh(x); }, [=](W x) { return 4 * bell(2 * x); });
  visit(
      "silu", simd::Silu{}, [=](W x) { return x * sigmoid(x); }, [=](W x) { return sigmoid(x) + x * bell(x); });
  visit(
      "gelu", simd::Gelu{}, [=](W x) { return x * std::erfc(-x / root2) / 2; },
      [=](W x) { return std::erfc(-x / root2) / 2 + x * std::exp(-x * x / 2) / root2pi; });
  visit(
      "gelu_tanh", simd::GeluTanh{}, [=](W x) { return x * sigmoid(k * (x + W(0.044715L) * x * x * x)); },
      [=](W x) {
        const W y = k * (x + W(0.044715L) * x * x * x);
        return sigmoid(y) + x * bell(y) * k * (1 + W(0.134145L) * x * x);
      });
  visit(
      "softplus", simd::Softplus{}, [](W x) { return x > 20 ? x : std::log1p(std::exp(x)); },
      [=](W x) { return x > 20 ? W(1) : sigmoid(x); });
  visit(
      "elu_plus_one", simd::EluPlusOne{}, [](W x) { return x > 0 ? x + 1 : std::exp(x); },
      [](W x) { return x > 0 ? W(1) : std::exp(x); });
  visit(
      "exp", simd::Exp{}, [](W x) { return std::exp(x); }, [](W x) { return std::exp(x); });
  visit(
      "square", simd::Square{}, [](W x) { return x * x; }, [](W x) { return 2 * x; });
  visit(
      "abs", simd::Abs{}, [](W x) { return std::fabs(x); }, [](W x) { return x > 0 ? W(1) : W(x < 0 ? -1 : 0); });
}

template <class W, class Visit>
void for_each_positive_activation(Visit visit) {
  visit(
      "log", simd::Log{}, [](W x) { return std::log(x); }, [](W x) { return 1 / x; });
  visit(
      "sqrt", simd::Sqrt{}, [](W x) { return std::sqrt(x); }, [](W x) { return 1 / (2 * std::sqrt(x)); });
  visit(
      "rsqrt", simd::Rsqrt{}, [](W x) { return 1 / std::sqrt(x); }, [](W x) { return -1 / (2 * x * std::sqrt(x)); });
}

TYPED_TEST(Activations, ValuesAndDerivativesAgreeWithTheClosedForms) {
  using T = TypeParam;
  using W = typename Wider<T>::Type;
  const double eps = std::numeric_limits<T>::epsilon();
  const auto check = [&](double low, double high) {
    return [=](const char* name, auto f, auto value, auto derivative) {
      for (int i = 0; i <= 4000; ++i) {
        const T x = static_cast<T>(low + (high - low) * (i + 0.37) / 4000);
        const W v = value(W(x)), d = derivative(W(x));
        ASSERT_NEAR(static_cast<double>(f(x)), static_cast<double>(v), 8 * eps * std::max(1e-3, std::fabs(double(v))))
            << name << " at " << x;
        ASSERT_NEAR(static_cast<double>(f.derivative(x)), static_cast<double>(d),
                    16 * eps * std::max(0.1, std::fabs(double(d))))
            << name << "' at " << x;
      }
    };
  };
  for_each_activation<W>(check(-12, 12));
  for_each_positive_activation<W>(check(0.01, 30));
}

TYPED_TEST(Activations, AreTheSameInEveryLane) {
  using T = TypeParam;
  const auto check = [](const char* name, auto f, auto, auto) {
    SCOPED_TRACE(name);
    expect_same_in_every_lane<T>([f](auto x) { return f(x); });
    expect_same_in_every_lane<T>([f](auto x) { return f.derivative(x); });
  };
  for_each_activation<double>(check);
  for_each_positive_activation<double>(check);
}

TYPED_TEST(Activations, NanStaysNan) {
  using T = TypeParam;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const auto check = [nan](const char* name, auto f, auto, auto) {
    EXPECT_TRUE(std::isnan(f(nan))) << name;
    EXPECT_TRUE(std::isnan(f(simd::Batch<T>(nan)).get(0))) << name;
  };
  for_each_activation<double>(check);
  for_each_positive_activation<double>(check);
}

// PyTorch 1.13's values at the infinities and at large arguments.
TYPED_TEST(Activations, LargeArgumentsAreAsInPyTorch) {
  using T = TypeParam;
  const T inf = std::numeric_limits<T>::infinity();
  for (const T x : {T(89), T(104), T(1e4), T(1e30), inf}) {
    EXPECT_EQ(simd::sigmoid(x), T(1)) << x;
    EXPECT_EQ(simd::silu(x), x) << x;
    EXPECT_EQ(simd::gelu(x), x) << x;
    EXPECT_EQ(simd::gelu_tanh(x), x) << x;
    EXPECT_EQ(simd::Softplus{}(x), x) << x;
    EXPECT_EQ(simd::EluPlusOne{}(x), x + 1) << x;
  }
  for (const T x : {T(-1e4), T(-1e30)}) {
    EXPECT_EQ(simd::sigmoid(x), T(0)) << x;
    EXPECT_EQ(simd::silu(x), T(0)) << x;
    EXPECT_EQ(simd::gelu(x), T(0)) << x;
    EXPECT_EQ(simd::gelu_tanh(x), T(0)) << x;
    EXPECT_EQ(simd::Softplus{}(x), T(0)) << x;
    EXPECT_EQ(simd::EluPlusOne{}(x), T(0)) << x;
  }
  EXPECT_EQ(simd::gelu(T(40)), T(40));
  EXPECT_EQ(simd::gelu(T(-40)), T(0));
  EXPECT_EQ(simd::gelu_tanh(T(40)), T(40));
  EXPECT_EQ(simd::gelu_tanh(T(-40)), T(0));
  EXPECT_EQ(simd::sigmoid(-inf), T(0));
  EXPECT_EQ(simd::Softplus{}(-inf), T(0));
  EXPECT_TRUE(std::isnan(simd::silu(-inf)));
  EXPECT_TRUE(std::isnan(simd::gelu(-inf)));
  EXPECT_TRUE(std::isnan(simd::gelu_tanh(-inf)));
}

TYPED_TEST(Activations, DerivativesEndInTheirLimits) {
  using T = TypeParam;
  const T inf = std::numeric_limits<T>::infinity();
  for (const T x : {T(800), T(1e4), T(1e30), inf}) {
    const auto bell = [x](auto f) {
      EXPECT_EQ(f.derivative(x), T(0)) << x;
      EXPECT_EQ(f.derivative(-x), T(0)) << -x;
    };
    const auto ramp = [x](auto f) {
      EXPECT_EQ(f.derivative(x), T(1)) << x;
      EXPECT_EQ(f.derivative(-x), T(0)) << -x;
    };
    bell(simd::Sigmoid{});
    bell(simd::Tanh{});
    ramp(simd::Relu{});
    ramp(simd::Silu{});
    ramp(simd::Gelu{});
    ramp(simd::GeluTanh{});
    ramp(simd::Softplus{});
    ramp(simd::EluPlusOne{});
  }
  EXPECT_EQ(simd::Relu{}.derivative(T(0)), T(0));
  EXPECT_EQ(simd::Abs{}.derivative(T(0)), T(0));
}

// The two gelus differ by more than any rounding (reference values of PyTorch).
TEST(ActivationsTable, TheTwoGelusAreNotMixedUp) {
  EXPECT_NEAR(simd::gelu(1.0), 0.8413447, 1e-7);
  EXPECT_NEAR(simd::gelu(-2.0), -0.0455003, 1e-7);
  EXPECT_NEAR(simd::gelu(3.0), 2.9959503, 1e-7);
  EXPECT_NEAR(simd::gelu_tanh(1.0), 0.8411920, 1e-7);
  EXPECT_NEAR(simd::gelu_tanh(-2.0), -0.0454023, 1e-7);
  EXPECT_NEAR(simd::gelu_tanh(3.0), 2.9963626, 1e-7);
}

}  // namespace
