#include "aulos/ops/recurrent.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::RecurrentCell;
using aulos::RecurrentDirection;
using aulos::RecurrentState;
using aulos::Weight;

constexpr RecurrentCell cells[] = {RecurrentCell::lstm, RecurrentCell::gru};

// A weight whose rows hold these numbers.
template <class T>
Weight<T> weight_of(Index out, Index in, std::uint64_t seed) {
  Weight<T> w(out, in);
  T* rows = w.rows().data();
  for (Index i = 0; i < w.count(); ++i) rows[i] = static_cast<T>(noise(seed, static_cast<std::uint64_t>(i)));
  return w;
}

template <class T>
struct Layer {
  RecurrentCell cell;
  Index batch, steps, hidden;
  std::array<Weight<T>, 2> w;

  Layer(RecurrentCell of, Index b, Index n, Index h) : cell(of), batch(b), steps(n), hidden(h) {
    for (std::uint64_t d = 0; d < 2; ++d) w[d] = weight_of<T>(aulos::kernels::gates_of(cell) * h, h, 40 + d);
  }

  std::vector<AnyTensor<T>> operator()(Case<T>& c, std::size_t directions, bool state,
                                       const Tensor<std::int64_t, 1>& lengths = {}) const {
    const Index width = aulos::kernels::gates_of(cell) * hidden;
    std::array<RecurrentDirection<T>, 2> run;
    for (std::size_t d = 0; d < directions; ++d) {
      run[d].gates = c.template in<3>(Shape<3>{batch, steps, width}, 1 + d);
      run[d].bias = c.template in<1>(Shape<1>{width}, 3 + d);
      run[d].weight = &w[d];
    }
    RecurrentState<T> initial;
    const Shape<3> shape{static_cast<Index>(directions), batch, hidden};
    if (state) initial.h = c.template in<3>(shape, 5);
    if (state && cell == RecurrentCell::lstm) initial.c = c.template in<3>(shape, 6);
    const auto out = recurrent(cell, std::span(run.data(), directions), initial, lengths);
    return results(out.y, out.state.h, out.state.c);
  }
};

TEST(RecurrentOps, GradientsLayoutsAndThreads) {
  for (const RecurrentCell cell : cells) {
    for (const std::size_t directions : {1U, 2U}) {
      const Layer<double> small(cell, 2, 3, 3), one(cell, 1, 1, 1);
      expect_gradients([&](Case<double>& c) { return small(c, directions, true); });
      expect_gradients([&](Case<double>& c) { return one(c, directions, false); });
      const Layer<float> laid(cell, 3, 4, 5), large(cell, 40, 9, 33);
      expect_layouts_agree<float>([&](Case<float>& c) { return laid(c, directions, true); });
      expect_threads_agree<float>([&](Case<float>& c) { return large(c, directions, true); });
    }
  }
}

TEST(RecurrentOps, GradientsOfWeights) {
  for (const RecurrentCell cell : cells) {
    const Layer<double> layer(cell, 2, 3, 3);
    Context context({.threads = 1});
    const auto f = [&](const Tensor<double, 3>& gates) {
      std::array<RecurrentDirection<double>, 2> run{RecurrentDirection<double>{gates, &layer.w[0], {}},
                                                    RecurrentDirection<double>{gates, &layer.w[1], {}}};
      const auto out = recurrent(cell, std::span(run));
      return std::tuple(out.y, out.state.h);
    };
    const auto gates = context.empty<double>(Shape<3>{2, 3, 3 * aulos::kernels::gates_of(cell)});
    for (Index i = 0; i < gates.count(); ++i) gates.mutable_data()[i] = noise(2, static_cast<std::uint64_t>(i));
    const auto parameter = [&](std::size_t d) {
      const AnyTensor<double> w = layer.w[d].rows().any();
      return aulos::GradcheckParameter{"w" + std::to_string(d), w.mutable_data(), w.count(), w};
    };
    const std::array parameters{parameter(0), parameter(1)};
    const auto result = aulos::gradcheck(context, f, std::tuple(gates), parameters);
    EXPECT_TRUE(result) << aulos::to_string(result);
  }
}

TEST(RecurrentOps, GradientsWithLengths) {
  for (const RecurrentCell cell : cells) {
    const Layer<double> layer(cell, 3, 4, 2);
    expect_gradients([&](Case<double>& c) {
      const auto lengths = c.context.from(Shape<1>{3}, std::array<std::int64_t, 3>{4, 0, 2}.data());
      return layer(c, 2, true, lengths);
    });
  }
}

// Only the last state is asked for.
TEST(RecurrentOps, GradientThroughTheStateAlone) {
  for (const RecurrentCell cell : cells) {
    const Layer<double> layer(cell, 2, 3, 2);
    expect_gradients([&](Case<double>& c) {
      auto all = layer(c, 1, true);
      all.erase(all.begin());
      return all;
    });
  }
}

// A sequence in two parts, the state handed on.
TEST(RecurrentOps, GoesOnFromAState) {
  for (const RecurrentCell cell : cells) {
    Context context;
    const Layer<float> layer(cell, 3, 7, 6);
    const Index width = 6 * aulos::kernels::gates_of(cell);
    const auto gates = make<float, 3>(context, Shape<3>{3, 7, width}, Layout::dense,
                                      [](Index i) { return noise(1, static_cast<std::uint64_t>(i)); });
    const auto run = [&](Index begin, Index end, const RecurrentState<float>& state) {
      std::array<RecurrentDirection<float>, 1> one{
          RecurrentDirection<float>{gates.slice(1, begin, end), &layer.w[0], {}}};
      return recurrent(cell, std::span(one), state);
    };
    const auto whole = run(0, 7, {});
    const auto first = run(0, 4, {});
    const auto second = run(4, 7, first.state);
    EXPECT_EQ(values(first.y), values(whole.y.slice(1, 0, 4)));
    EXPECT_EQ(values(second.y), values(whole.y.slice(1, 4, 7)));
    EXPECT_EQ(values(second.state.h), values(whole.state.h));
    EXPECT_EQ(values(run(7, 7, whole.state).state.h), values(whole.state.h));
  }
}

TEST(RecurrentOps, PackedWeightsGiveTheSame) {
  for (const RecurrentCell cell : cells) {
    Layer<float> layer(cell, 5, 4, 21);
    const auto run = [&] { return forward<float>([&](Case<float>& c) { return layer(c, 2, true); }).results; };
    const auto rows = run();
    for (Weight<float>& w : layer.w) w.pack();
    expect_same(run(), rows, "packed");
  }
}

TEST(RecurrentOps, ZeroBatch) {
  for (const RecurrentCell cell : cells) {
    const Layer<float> layer(cell, 0, 3, 4);
    const auto out = forward_backward<float>([&](Case<float>& c) { return layer(c, 2, false); });
    EXPECT_TRUE(out.results[0].empty());
  }
}

TEST(RecurrentOps, Records) {
  for (const RecurrentCell cell : cells) {
    const Layer<float> layer(cell, 2, 3, 4);
    expect_records<float>(cell == RecurrentCell::lstm ? "lstm" : "gru", {"gates", "h0"},
                          [&](Case<float>& c) { return layer(c, 2, true); });
  }
}

TEST(RecurrentOps, SayWhatIsWrong) {
  const auto w = weight_of<float>(12, 3, 1);
  const auto call = [&](Context& c, Shape<3> gates, RecurrentCell cell, const RecurrentState<float>& state = {},
                        const Tensor<std::int64_t, 1>& lengths = {}) {
    std::array<RecurrentDirection<float>, 1> one{RecurrentDirection<float>{c.zeros<float>(gates), &w, {}}};
    recurrent(cell, std::span(one), state, lengths);
  };
  const auto state = [](Context& c, Shape<3> shape) { return RecurrentState<float>{c.zeros<float>(shape), {}}; };
  const RecurrentCell lstm = RecurrentCell::lstm;
  expect_errors({
      {"gates",
       [&](Context& c) {
         call(c, Shape<3>{2, 3, 9}, lstm);
       },
       {"lstm: gates [2, 3, 9]", "expected [B, N, 12]"}},
      {"weight",
       [&](Context& c) {
         call(c, Shape<3>{2, 3, 9}, RecurrentCell::gru);
       },
       {"gru: weight [12, 3]", "[3 H, H]"}},
      {"h0",
       [&](Context& c) {
         call(c, Shape<3>{2, 3, 12}, lstm, state(c, Shape<3>{2, 2, 3}));
       },
       {"lstm: h0 [2, 2, 3], expected [1, 2, 3]"}},
      {"lengths",
       [&](Context& c) {
         call(c, Shape<3>{2, 3, 12}, lstm, {}, c.zeros<std::int64_t>(Shape<1>{3}));
       },
       {"lstm: lengths [3], expected [2]"}},
      {"length",
       [&](Context& c) {
         call(c, Shape<3>{2, 3, 12}, lstm, {}, c.full<std::int64_t>(Shape<1>{2}, 4));
       },
       {"lstm: lengths[0] is 4, expected 0 to 3"}},
      {"none",
       [](Context&) { aulos::recurrent(RecurrentCell::gru, std::span<RecurrentDirection<float>>()); },
       {"recurrent: 0 directions"}},
  });
}

}  // namespace
