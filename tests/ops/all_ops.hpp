// What every op owes, checked on one example of each: it needs what was planned, its records bear its name, a sample's
// result depends neither on the samples beside it nor on the order in which an executor runs the pieces.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ops/op_case.hpp"

namespace aulos_test {

// Ops that compute, that only move elements (which counts no operations), or whose result is one for all samples.
enum class Kind { arithmetic, movement, reduction };

struct OpExample {
  std::vector<std::string> forward, backward;  // names of records without a tape, and of those that it adds
  std::function<std::vector<AnyTensor<float>>(Case<float>&, Index batch)> body;
  Kind kind = Kind::arithmetic;
};

// Names of all examples of this program: who makes a list of them adds its own before the tests begin.
inline std::set<std::string>& example_operations() {
  static std::set<std::string> names;
  return names;
}

// An executor that is allowed: the pieces from the last to the first.
struct LastPieceFirst {
  static Index concurrency() noexcept { return 3; }
  static void run(Index pieces, aulos::FunctionRef<void(Index)> body) {
    while (pieces > 0) body(--pieces);
  }
};

class OpExamples {
 public:
  OpExamples(std::initializer_list<OpExample> examples) : examples_(examples) {
    for (const OpExample& each : examples_) {
      example_operations().insert(each.forward.begin(), each.forward.end());
      example_operations().insert(each.backward.begin(), each.backward.end());
    }
  }

  void check() const {
    for (const OpExample& each : examples_) {
      SCOPED_TRACE(each.forward.front());
      expect_plan(each, false);
      expect_plan(each, true);
      if (each.kind != Kind::reduction) expect_samples_apart(each);
      expect_any_order(each);
    }
  }

 private:
  static Outcome<float> run(const OpExample& each, Context& context, Index batch, bool with_tape) {
    std::optional<GradTape> tape;
    if (with_tape) tape.emplace(context);
    Case<float> arguments(context);
    Outcome<float> outcome;
    const std::vector<AnyTensor<float>> y = each.body(arguments, batch);
    if (with_tape) backward(context, y);
    if (context.dry()) return outcome;
    for (const AnyTensor<float>& result : y) outcome.results.push_back(values(result));
    for (const AnyTensor<float>& x : arguments.inputs)
      if (with_tape) outcome.gradients.push_back(values(tape->gradient(x)));
    return outcome;
  }

  static void expect_plan(const OpExample& each, bool with_tape) {
    SCOPED_TRACE(with_tape ? "with tape" : "without tape");
    Context dry{Context::Dry{}};
    run(each, dry, 2, with_tape);
    const aulos::Plan plan = dry.planned();

    Context fresh({.threads = 2});
    fresh.start_profile();
    run(each, fresh, 2, with_tape);
    EXPECT_EQ(fresh.memory().peak, plan.peak_bytes);
    double flops = 0, bytes = 0;
    std::map<std::string, double> moved;  // bytes of all records of a name
    for (const aulos::ProfileRecord& record : fresh.stop_profile()) {
      flops += record.flops;
      bytes += record.bytes;
      moved[record.operation] += record.bytes;
    }
    EXPECT_EQ(flops, plan.flops);
    EXPECT_EQ(bytes, plan.bytes);
    EXPECT_TRUE(flops > 0 || each.kind == Kind::movement);
    for (const std::string& name : each.forward) EXPECT_TRUE(moved[name] > 0 || with_tape) << name;
    for (const std::string& name : each.backward) EXPECT_EQ(moved[name] > 0, with_tape) << name;

    // With the planned memory reserved, not a byte more is asked for, however often it runs.
    Context reserved({.threads = 1, .reserve_bytes = plan.held_bytes});
    for (int round = 0; round < 3; ++round) run(each, reserved, 2, with_tape);
    EXPECT_EQ(reserved.memory().held, plan.held_bytes);
    EXPECT_EQ(reserved.memory().peak, plan.peak_bytes);
  }

  // One sample alone gives what it gives as the first of three.
  static void expect_samples_apart(const OpExample& each) {
    Context context({.threads = 1});
    Outcome<float> one = run(each, context, 1, true), three = run(each, context, 3, true);
    for (std::size_t i = 0; i < one.results.size(); ++i) {
      ASSERT_EQ(three.results[i].size(), 3 * one.results[i].size());
      three.results[i].resize(one.results[i].size());
    }
    expect_same(three.results, one.results, "result of one sample and of three");
    for (std::size_t i = 0; i < one.gradients.size(); ++i) {
      if (three.gradients[i].size() != 3 * one.gradients[i].size())
        three.gradients[i] = one.gradients[i];  // a weight's
      three.gradients[i].resize(one.gradients[i].size());
    }
    expect_same(three.gradients, one.gradients, "gradient of one sample and of three");
  }

  static void expect_any_order(const OpExample& each) {
    constexpr Index batch = 90;  // enough for several pieces
    Context context({.threads = 1});
    LastPieceFirst executor;
    Context other(executor);
    const Outcome<float> want = run(each, context, batch, true), got = run(each, other, batch, true);
    expect_same(got.results, want.results, "result by another executor");
    expect_same(got.gradients, want.gradients, "gradient by another executor");
  }

  std::vector<OpExample> examples_;
};

}  // namespace aulos_test
