#include "aulos/ops/linear.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::Activation;
using aulos::Numeric;
using aulos::Parameter;
using aulos::Weight;

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

Weight<float> weight(Index out, Index in, std::uint64_t seed = 9) {
  Weight<float> w(out, in);
  for (Index i = 0; i < w.count(); ++i)
    w.rows().data()[i] = static_cast<float>(noise(seed, static_cast<std::uint64_t>(i)));
  return w;
}

// [rows, out] of x W^T + bias in double.
std::function<double(Index)> naive(const std::vector<float>& x, const Weight<float>& w,
                                   const std::vector<float>& bias = {}) {
  return [=, &w](Index p) {
    const Index row = p / w.out(), o = p % w.out();
    double sum = bias.empty() ? 0 : static_cast<double>(bias[static_cast<std::size_t>(o)]);
    for (Index i = 0; i < w.in(); ++i)
      sum += static_cast<double>(x[static_cast<std::size_t>(row * w.in() + i)]) *
             static_cast<double>(std::as_const(w.rows()).data()[o * w.in() + i]);
    return sum;
  };
}

TEST(LinearOp, AgreesWithTheSum) {
  for (const Index out : {1, 7, 33}) {
    for (const Index in : {1, 5, 40}) {
      for (const Index tokens : {1, 3, 17}) {
        Context context;
        Case<float> c(context);
        const Weight<float> w = weight(out, in);
        const auto x = c.in<3>(Shape<3>{2, tokens, in}, 1);
        const auto bias = c.in<1>(Shape<1>{out}, 2);
        const auto y = linear(x, w, bias);
        EXPECT_EQ(y.shape(), (Shape<3>{2, tokens, out}));
        expect_near(y, naive(values(x), w, values(bias)), 1e-6);
        expect_near(linear(x, w), naive(values(x), w), 1e-6);
      }
    }
  }
}

TEST(LinearOp, WithoutInputsIsTheBias) {
  Context context;
  const Weight<float> w(3, 0);
  const auto bias = of<float>(context, Shape<1>{3}, {1, 2, 3});
  Weight<float> ready = w;
  ready.rows().data();
  expect_values(linear(context.empty<float>(Shape<2>{2, 0}), ready, bias), {1, 2, 3, 1, 2, 3});
}

TEST(LinearOp, AppliesTheActivation) {
  Context context;
  Case<float> c(context);
  const Weight<float> w = weight(19, 7);
  const auto x = c.in<2>(Shape<2>{5, 7}, 1);
  const auto bias = c.in<1>(Shape<1>{19}, 2);
  for (const Activation activation : {Activation::relu, Activation::gelu, Activation::silu, Activation::softplus}) {
    const auto separate = apply(linear(x, w, bias), activation);
    expect_near(
        linear(x, w, bias, activation), [&](Index p) { return static_cast<double>(separate(p / 19, p % 19)); }, 1e-6);
  }
}

TEST(LinearOp, PackedPanelsOfTheSameTypeGiveTheSameBits) {
  for (const Index tokens : {1, 2, 5, 16, 33, 260}) {
    for (const auto& [out, in] : {std::pair<Index, Index>{7, 5}, {64, 48}, {33, 129}}) {
      Context context;
      Case<float> c(context);
      const Weight<float> rows = weight(out, in);
      Weight<float> packed = rows;
      packed.pack();
      EXPECT_TRUE(packed.packed());
      const auto x = c.in<2>(Shape<2>{tokens, in}, 1);
      const auto bias = c.in<1>(Shape<1>{out}, 2);
      EXPECT_EQ(values(linear(x, packed, bias, Activation::gelu)), values(linear(x, rows, bias, Activation::gelu)))
          << tokens << " " << out << " " << in;
    }
  }
}

TEST(LinearOp, Bf16PanelsGiveWhatTheRoundedRowsGive) {
  for (const Index tokens : {1, 5, 33}) {
    Context context;
    Case<float> c(context);
    Weight<float> packed = weight(33, 40);
    packed.pack(Numeric::bf16);
    Weight<float> rounded = packed;
    rounded.unpack();
    EXPECT_FALSE(rounded == weight(33, 40));
    const auto x = c.in<2>(Shape<2>{tokens, 40}, 1);
    EXPECT_EQ(values(linear(x, packed)), values(linear(x, rounded))) << tokens;
  }
}

// How far an op in a Context's mode is from the sum in double: ||error|| / ||sum||.
double relative_error(Numeric mode, Numeric stored_as) {
  Context context({.threads = 1, .numeric = mode});
  const Weight<float> rows = weight(65, 700);
  Weight<float> packed = rows;
  packed.pack(stored_as);
  Case<float> c(context);
  const auto x = c.in<2>(Shape<2>{9, 700}, 1);
  const auto y = linear(x, packed);
  const auto exact = naive(values(x), rows);
  double error = 0, norm = 0;
  for (Index p = 0; p < y.count(); ++p) {
    const double sum = exact(p), got = static_cast<double>(values(y)[static_cast<std::size_t>(p)]);
    error += (got - sum) * (got - sum);
    norm += sum * sum;
  }
  return std::sqrt(error / norm);
}

// Half a unit in the last place of bf16 is 2^-9 of a number, at random 2^-9 / sqrt(3) or less of it; int8 steps are
// max / 127. The activations' share shows in the difference between a Context that rounds them and one that does not.
TEST(LinearOp, AContextSaysWhatIsRounded) {
  EXPECT_LE(relative_error(Numeric::exact, Numeric::exact), 1e-6);
  EXPECT_LE(relative_error(Numeric::int8, Numeric::exact), 1e-6);  // an exact weight is multiplied exactly
  const double bf16_storage = relative_error(Numeric::exact, Numeric::bf16);
  const double bf16 = relative_error(Numeric::bf16, Numeric::bf16);
  EXPECT_LE(bf16, 3e-3);
  EXPECT_GT(bf16, 1.2 * bf16_storage);
  EXPECT_GT(bf16_storage, 1e-4);
  EXPECT_EQ(relative_error(Numeric::int8, Numeric::bf16), bf16);
  const double int8_storage = relative_error(Numeric::exact, Numeric::int8);
  const double int8 = relative_error(Numeric::int8, Numeric::int8);
  EXPECT_LE(int8, 1.5e-2);
  EXPECT_GT(int8, 1.2 * int8_storage);
  EXPECT_GT(int8_storage, 1e-3);
  EXPECT_EQ(relative_error(Numeric::bf16, Numeric::int8), int8_storage);
}

TEST(LinearOp, APlanCountsTheScratchOfTheMode) {
  Weight<float> w = weight(65, 700);
  w.pack(Numeric::int8);
  Context exact(Context::Dry({.threads = 1})), coarse(Context::Dry({.threads = 1, .numeric = Numeric::int8}));
  linear(exact.empty<float>(Shape<2>{9, 700}), w);
  linear(coarse.empty<float>(Shape<2>{9, 700}), w);
  EXPECT_EQ(exact.planned().flops, coarse.planned().flops);
  EXPECT_EQ(coarse.planned().scratch_bytes, aulos::kernels::gemm_scratch<float>({9, 65, 700}, w.view(), Numeric::int8));
}

TEST(LinearOp, ARowDoesNotDependOnTheRowsBesideIt) {
  Context context;
  Case<float> c(context);
  Weight<float> w = weight(33, 40);
  const auto x = c.in<2>(Shape<2>{67, 40}, 1);
  const auto check = [&](const char* stored) {
    const auto all = linear(x, w);
    for (Index r = 0; r < 67; ++r)
      ASSERT_EQ(values(linear(x.slice(0, r, r + 1), w)), values(all.slice(0, r, r + 1))) << r << stored;
  };
  check("rows");
  for (const Numeric mode : {Numeric::exact, Numeric::bf16, Numeric::int8}) {
    w.pack(mode);
    context.set_numeric(mode);
    check(name_of(mode));
  }
}

TEST(LinearResidualOp, IsTheResidualAndTheGatedProduct) {
  const Weight<float> w = weight(19, 7);
  for (const int gate_of : {0, 1, 2, 3}) {  // none, [B, C], [B, 1, C], [B, N, C]
    Context context;
    Case<float> c(context);
    const auto x = c.in<3>(Shape<3>{2, 5, 7}, 1);
    const auto bias = c.in<1>(Shape<1>{19}, 2);
    const auto residual = c.in<3>(Shape<3>{2, 5, 19}, 3);
    const auto gate2 = c.in<2>(Shape<2>{2, 19}, 4);
    const auto gate3 = c.in<3>(Shape<3>{2, gate_of == 3 ? 5 : 1, 19}, 5);
    const auto run = [&](Tensor<float, 3> base) {
      if (gate_of == 0) return linear_residual(x, w, bias, Tensor<float, 2>(), std::move(base));
      return gate_of == 1 ? linear_residual(x, w, bias, gate2, std::move(base))
                          : linear_residual(x, w, bias, gate3, std::move(base));
    };
    const auto y = run(residual);
    const auto product = naive(values(x), w, values(bias));
    expect_near(
        y,
        [&](Index p) {
          const Index b = p / (5 * 19), n = p / 19 % 5, o = p % 19;
          const float gate = gate_of == 0 ? 1 : gate_of == 1 ? gate2(b, o) : gate3(b, gate_of == 3 ? n : 0, o);
          return static_cast<double>(residual(b, n, o)) + static_cast<double>(gate) * product(p);
        },
        1e-6);
    auto alone = context.from(residual.shape(), residual.data());  // held by nobody else: overwritten
    const float* memory = alone.data();
    const auto z = run(std::move(alone));
    EXPECT_EQ(z.data(), memory);
    EXPECT_EQ(values(z), values(y));
  }
}

// Everything with a weight of its own, whose gradient is a result too: as an input of the case it would not be one.
std::vector<AnyTensor<float>> all_of(Case<float>& c, const Shape<3>& shape, const Weight<float>& w) {
  const auto x = c.in<3>(shape, 1);
  const auto bias = c.in<1>(Shape<1>{w.out()}, 2);
  const auto residual = c.in<3>(Shape<3>{shape[0], shape[1], w.out()}, 3);
  const auto gate = c.in<2>(Shape<2>{shape[0], w.out()}, 4);
  return results(linear(x, w, bias), linear(x, w, {}), linear_residual(x, w, bias, gate, Tensor<float, 3>(residual)));
}

TEST(LinearOps, LayoutsAgree) {
  for (Index in : {19, 1}) {
    const Weight<float> w = weight(7, in);
    expect_layouts_agree<float>([&](Case<float>& c) { return all_of(c, Shape<3>{3, 4, in}, w); });
  }
}

TEST(LinearOps, ThreadsAgree) {
  const Weight<float> w = weight(130, 97);
  expect_threads_agree<float>([&](Case<float>& c) { return all_of(c, Shape<3>{2, 150, 97}, w); });
  std::vector<std::vector<float>> gradients;
  for (const int threads : {1, 2, 3}) {
    Context context({.threads = threads});
    GradTape tape(context);
    Case<float> c(context);
    backward(context, all_of(c, Shape<3>{2, 150, 97}, w));
    gradients.push_back(values(tape.gradient(w.rows())));
  }
  EXPECT_EQ(gradients[0].size(), 130u * 97u);
  EXPECT_EQ(gradients[1], gradients[0]);
  EXPECT_EQ(gradients[2], gradients[0]);
}

TEST(LinearOps, WithoutTokens) {
  const Weight<float> w = weight(7, 5);
  Context context;
  GradTape tape(context);
  Case<float> c(context);
  const auto y = all_of(c, Shape<3>{2, 0, 5}, w);
  backward(context, y);
  EXPECT_EQ(y[0].dims().extent[2], 7);
  EXPECT_EQ(values(tape.gradient(w.rows())), std::vector<float>(35, 0));
  EXPECT_EQ(values(tape.gradient(c.inputs[1])), std::vector<float>(7, 0));
}

TEST(LinearOps, KeepNaN) {
  const Weight<float> w = weight(7, 5);
  Context context;
  auto x = context.zeros<float>(Shape<2>{2, 5});
  x.mutable_data()[7] = nan_value;
  const auto y = linear(x, w);
  for (Index o = 0; o < 7; ++o) {
    EXPECT_EQ(y(0, o), 0);
    EXPECT_TRUE(std::isnan(y(1, o)));
  }
}

TEST(LinearOps, Records) {
  const Weight<float> w = weight(7, 5);
  expect_records<float>("linear", {"x", "weight", "bias"}, [&](Case<float>& c) {
    const auto x = c.in<2>(Shape<2>{3, 5}, 1);
    const auto bias = c.in<1>(Shape<1>{7}, 2);
    return results(linear(x, w, bias));
  });
  Context context;
  Case<float> c(context);
  const auto x = c.in<3>(Shape<3>{2, 3, 5}, 1);
  const auto bias = c.in<1>(Shape<1>{7}, 2);
  const auto gate = c.in<2>(Shape<2>{2, 7}, 3);
  auto residual = c.in<3>(Shape<3>{2, 3, 7}, 4);
  const aulos::Scope block(context.scopes(), "blocks", 3);
  context.start_profile();
  context.start_capture("linear_residual");
  linear_residual(x, w, bias, gate, std::move(residual));
  const auto records = context.stop_profile();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(std::string(records[0].operation), "linear_residual");
  EXPECT_EQ(records[0].flops, 2.0 * 6 * 7 * 5);
  std::vector<std::string> names;
  for (const auto& each : context.stop_capture<float>()) names.push_back(each.name);
  const std::string op = "blocks.3/linear_residual";
  EXPECT_EQ(names,
            (std::vector<std::string>{op + ":x", op + ":weight", op + ":bias", op + ":gate", op + ":residual", op}));
}

TEST(LinearOps, AreForInferenceOnceTheWeightIsPacked) {
  Weight<float> w = weight(7, 5);
  w.pack();
  Context context;
  GradTape tape(context);
  auto x = context.zeros<float>(Shape<2>{3, 5});
  EXPECT_EQ(linear(x, w).shape(), (Shape<2>{3, 7}));  // nobody asks for a gradient
  const auto asked_for = [&](const Weight<float>& weight) {
    try {
      tape.gradient(weight);
    } catch (const aulos::Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(asked_for(w), "gradient: a packed weight has none; call unpack() before training");
  tape.watch(x);
  try {
    linear(x, w);
    ADD_FAILURE();
  } catch (const aulos::ShapeError& error) {
    EXPECT_NE(std::string(error.what()).find("linear: a packed weight has no gradient"), std::string::npos)
        << error.what();
  }
  w.unpack();
  backward<float>(context, {linear(x, w).any()});
  EXPECT_FALSE(tape.gradient(x).empty());
  EXPECT_EQ(tape.gradient(w).shape(), w.shape());
  EXPECT_EQ(tape.gradient(w).data(), tape.gradient(w.rows()).data());
  EXPECT_EQ(asked_for(w), "no error");
}

TEST(LinearOps, SayWhatIsWrong) {
  const Weight<float> w = weight(7, 5), absent, unready(7, 5);
  const auto x = [](Context& c) { return c.zeros<float>(Shape<3>{2, 3, 5}); };
  const auto base = [](Context& c) { return c.zeros<float>(Shape<3>{2, 3, 7}); };
  const Tensor<float, 2> no_gate;
  expect_errors({
      {"channels",
       [&](Context& c) {
         linear(c.zeros<float>(Shape<2>{3, 4}), w);
       },
       {"linear: ", "x [3, 4] has 4 channels", "[7, 5] takes 5"}},
      {"bias",
       [&](Context& c) { linear(x(c), w, c.zeros<float>(Shape<1>{5})); },
       {"linear: ", "bias [5]", "[7, 5]", "expected [7]"}},
      {"absent weight", [&](Context& c) { linear(x(c), absent); }, {"linear: ", "weight is absent"}},
      {"no x", [&](Context&) { linear(Tensor<float, 3>(), w); }, {"linear: x is empty"}},
      {"residual",
       [&](Context& c) { linear_residual(x(c), w, {}, no_gate, x(c)); },
       {"linear_residual: ", "residual [2, 3, 5]", "expected [2, 3, 7]"}},
      {"gate",
       [&](Context& c) {
         linear_residual(x(c), w, {}, c.zeros<float>(Shape<2>{2, 5}), base(c));
       },
       {"linear_residual: ", "gate [2, 5]"}},
      {"no residual",
       [&](Context& c) { linear_residual(x(c), w, {}, no_gate, {}); },
       {"linear_residual: residual is empty"}},
      {"residual channels",
       [&](Context& c) { linear_residual(base(c), w, {}, no_gate, base(c)); },
       {"linear_residual: ", "has 7 channels"}},
  });
  expect_errors<aulos::Error>(
      {{"no values", [&](Context& c) { linear(x(c), unready); }, {"linear: weight [7, 5] has no values yet"}}});
}

}  // namespace
