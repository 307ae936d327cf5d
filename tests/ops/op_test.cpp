#include "aulos/ops/op.hpp"

#include <gtest/gtest.h>

#include "aulos/ops/activation.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/reduce.hpp"
#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::Activation;
using aulos::Ghost;
using aulos::Node;
using aulos::Op;
using aulos::Parameter;
using aulos::Threads;

// y = 2 x, as a user would write an op.
AnyTensor<float> twice(const AnyTensor<float>& x) {
  Op op("twice", aulos::arg("x", x));
  op.require(x.last() != 13, [&] { return "x " + to_string(x.dims()) + " is unlucky"; });
  const AnyTensor<float> from = op.dense(x);
  AnyTensor<float> y = op.like(x);
  op.run({.flops = 1, .bytes = 8}, [&](Threads) {
    for (Index i = 0; i < y.count(); ++i) y.mutable_data()[i] = 2 * from.data()[i];
  });
  if (op.recording())
    op.record(y, [gx = op.ghost(x)](GradTape& tape, AnyTensor<float> gy) { tape.give(gx, twice(gy)); });
  return op.result(std::move(y));
}

TEST(Op, FindsTheContextOfAnyArgument) {
  Context context;
  const Parameter<float, 1> p(Shape<1>{2});
  const auto x = context.zeros<float>(Shape<1>{2});
  const AnyTensor<float> none, parameter = p.any(), tensor = x.any();
  EXPECT_EQ(&Op("op", aulos::optional_arg("a", none), aulos::arg("b", tensor)).context(), &context);
  EXPECT_EQ(&Op(context, "op", aulos::optional_arg("a", none)).context(), &context);
  EXPECT_THROW(Op("op", aulos::optional_arg("a", none)), aulos::Error);
}

// lambda = exp(<q, k>) of parameters alone: value, gradients and a plan.
TEST(Op, ComputesOnParametersAlone) {
  Parameter<double, 1> q(Shape<1>{3}), k(Shape<1>{3});
  for (Index i = 0; i < 3; ++i) {
    q.data()[i] = 0.25 * static_cast<double>(i + 1);
    k.data()[i] = 0.5 - static_cast<double>(i);
  }
  const auto lambda = [&](auto& context_or_x) {
    return apply(sum(multiply(q.tensor(context_or_x), k)), Activation::exp);
  };
  Context context;
  const double expected = std::exp(0.25 * 0.5 - 0.5 * 0.5 - 0.75 * 1.5);
  EXPECT_NEAR(lambda(context)(0), expected, 1e-15);
  const auto x = context.zeros<float>(Shape<2>{1, 1});
  GradTape tape(context);
  tape.backward(lambda(x));
  for (Index i = 0; i < 3; ++i) {
    EXPECT_NEAR(tape.gradient(q)(i), expected * k.data()[i], 1e-15);
    EXPECT_NEAR(tape.gradient(k)(i), expected * q.data()[i], 1e-15);
  }
  tape.backward(sum(apply(q.tensor(context), Activation::exp)));  // a first argument that is deduced
  EXPECT_NEAR(tape.gradient(q)(1), std::exp(0.5), 1e-15);
  EXPECT_TRUE(tape.gradient(k).empty());
  Context dry(Context::Dry{});
  EXPECT_EQ(lambda(dry).count(), 1);
  expect_errors<aulos::Error>(
      {{"neither",
        [&](Context&) { multiply(q.tensor(), k); },
        {"multiply: no argument belongs to a Context", "write p.tensor(context), or p.tensor(x)"}}});
}

TEST(Op, SaysWhereTheErrorIs) {
  const auto in_scope = [](std::function<void(Context&)> call) {
    return [call = std::move(call)](Context& c) {
      const aulos::Scope outer(c.scopes(), "transformer_blocks", 3);
      const aulos::Scope inner(c.scopes(), "attn");
      call(c);
    };
  };
  expect_errors({
      {"shape",
       in_scope([](Context& c) {
         twice(c.zeros<float>(Shape<2>{2, 13}).any());
       }),
       {"transformer_blocks.3.attn: twice: x [2, 13] is unlucky"}},
      {"second argument",
       in_scope([](Context& c) { add(c.zeros<float>(Shape<1>{2}), Tensor<float, 1>()); }),
       {"transformer_blocks.3.attn: add: b is empty (moved from?)"}},
      {"alone", [](Context&) { twice({}); }, {"twice: x is empty (moved from?)"}},
  });
  const Parameter<float, 2> p(Shape<2>{2, 3});
  expect_errors<aulos::Error>({
      {"no values",
       in_scope([&](Context& c) {
         add(c.zeros<float>(Shape<2>{2, 3}), p);
       }),
       {"transformer_blocks.3.attn: add: b [2, 3] has no values yet"}},
  });
}

TEST(Op, RejectsATensorWhoseContextIsGone) {
  Tensor<float, 1> x;
  {
    Context context;
    x = context.zeros<float>(Shape<1>{2});
  }
  EXPECT_THROW(twice(x.any()), aulos::Error);
  EXPECT_EQ(x(1), 0);
}

TEST(Op, ReusesOnlyWhatNobodyElseCanSee) {
  Context context;
  const auto reused = [&](AnyTensor<float> x) {
    const float* memory = x.data();
    Op op("op", aulos::arg("x", x));
    return op.reuse(std::move(x)).data() == memory;
  };
  EXPECT_TRUE(reused(context.zeros<float>(Shape<1>{20}).any()));
  EXPECT_FALSE(reused(context.zeros<float>(Shape<1>{40}).slice(0, 0, 20).any()));
  EXPECT_FALSE(reused(context.zeros<float>(Shape<1>{40}).slice(0, 20, 40).any()));
  EXPECT_FALSE(reused(context.zeros<float>(Shape<2>{1, 20}).broadcast(Shape<2>{2, 20}).any()));
  const auto shared = context.zeros<float>(Shape<1>{20});
  EXPECT_FALSE(reused(shared.any()));
  Parameter<float, 1> p(Shape<1>{20});
  p.data();
  AnyTensor<float> parameter = p.any();
  Op op(context, "op", aulos::arg("x", parameter));
  EXPECT_NE(op.reuse(std::move(parameter)).data(), std::as_const(p).data());
}

TEST(Op, RecordsWhatAsksForAGradient) {
  Context context;
  GradTape tape(context);
  auto x = context.full<float>(Shape<1>{3}, 1);
  EXPECT_EQ(twice(x.any()).node(), 0u);
  tape.watch(x);
  const AnyTensor<float> y = twice(twice(x.any()));
  EXPECT_NE(y.node(), 0u);
  const aulos::Seed<float> seed{y, context.full<float>(Shape<1>{3}, 1).any()};
  tape.backward(std::span<const aulos::Seed<float>>(&seed, 1));
  EXPECT_EQ(values(tape.gradient(x)), std::vector<float>(3, 4));
}

TEST(Op, SeveralResultsShareOneRule) {
  Context context;
  GradTape tape(context);
  auto x = context.full<float>(Shape<1>{2}, 3);
  tape.watch(x);
  const auto split = [&](std::vector<bool>& with_gradient) {
    const AnyTensor<float> in = x.any();
    Op op("split", aulos::arg("x", in));
    AnyTensor<float> a = op.like(in), absent, b = op.like(in);
    op.run({}, [&](Threads) {
      for (Index i = 0; i < 2; ++i) a.mutable_data()[i] = b.mutable_data()[i] = 3;
    });
    op.record(std::array{&a, &absent, &b},
              [&with_gradient, gx = op.ghost(in)](GradTape& t, std::span<AnyTensor<float>> g) {
                for (const AnyTensor<float>& each : g) with_gradient.push_back(!each.empty());
                for (AnyTensor<float>& each : g) t.give(gx, std::move(each));
              });
    return std::array{Tensor<float, 1>(a), Tensor<float, 1>(b)};
  };
  std::vector<bool> with_gradient;
  const auto y = split(with_gradient);
  const aulos::Seed<float> seed{y[1].any(), context.full<float>(Shape<1>{2}, 5).any()};
  tape.backward(std::span<const aulos::Seed<float>>(&seed, 1));
  EXPECT_EQ(with_gradient, (std::vector<bool>{false, false, true}));
  EXPECT_EQ(values(tape.gradient(x)), std::vector<float>(2, 5));

  tape.watch(x);
  std::vector<bool> not_run;
  split(not_run);
  const aulos::Seed<float> other{x.any(), context.full<float>(Shape<1>{2}, 1).any()};
  tape.backward(std::span<const aulos::Seed<float>>(&other, 1));
  EXPECT_TRUE(not_run.empty());
}

TEST(Op, DenseCopiesShowInTheProfile) {
  Context context;
  context.start_profile();
  const auto x = context.full<float>(Shape<2>{3, 4}, 1);
  twice(x.any());
  EXPECT_EQ(context.stop_profile().size(), 1u);
  context.start_profile();
  twice(x.slice(1, 0, 2).any());
  const auto records = context.stop_profile();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(std::string(records[0].operation), "copy");
  EXPECT_EQ(records[0].bytes, 48);
}

TEST(Op, ADryContextCountsAndHasNoElements) {
  Context dry{Context::Dry{}};
  const AnyTensor<float> y = twice(dry.empty<float>(Shape<1>{100}).any());
  EXPECT_EQ(dry.planned().flops, 1);
  EXPECT_EQ(dry.planned().bytes, 8);
  EXPECT_EQ(dry.planned().peak_bytes, 2u * 448u);
  EXPECT_THROW(y.data(), aulos::Error);
}

TEST(Op, CapturesNamesThatContainThePattern) {
  Context context;
  context.start_capture("q");
  {
    const aulos::Scope scope(context.scopes(), "qkv");
    twice(context.full<float>(Shape<1>{2}, 1).any());
  }
  twice(context.full<float>(Shape<1>{2}, 1).any());
  const auto captured = context.stop_capture<float>();
  ASSERT_EQ(captured.size(), 2u);
  EXPECT_EQ(captured[0].name, "qkv/twice:x");
  EXPECT_EQ(captured[1].name, "qkv/twice");
  EXPECT_EQ(values(captured[1].value), std::vector<float>(2, 2));
  twice(context.full<float>(Shape<1>{2}, 1).any());
  EXPECT_TRUE(context.stop_capture<float>().empty());
}

}  // namespace
