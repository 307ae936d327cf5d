#include "aulos/kernels/recurrent.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "aulos/kernels/naive/recurrent.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;
namespace naive = aulos::kernels::naive;
using kernels::RecurrentCell;

template <class T>
class RecurrentKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(RecurrentKernel, Types);

template <class T>
std::vector<T> filled(std::uint64_t seed, Index count, double scale = 1) {
  std::vector<T> x(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(scale * noise(seed, i));
  return x;
}

template <class T>
naive::Vector wide(const T* x, Index count) {
  naive::Vector out(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) out[static_cast<std::size_t>(i)] = static_cast<double>(x[i]);
  return out;
}

struct Problem {
  RecurrentCell cell;
  kernels::RecurrentShape shape;
  Index directions = 2;
  bool bias = true, initial = true;
  std::vector<std::int64_t> lengths = {};  // empty: all
};

// Everything that both passes write, direction by direction.
template <class T>
struct Numbers {
  std::vector<T> y, h_last, c_last, gates, hidden_gates, previous, gh0, gc0;
  bool operator==(const Numbers&) const = default;
};

template <class T>
struct Inputs {
  std::vector<T> gates[2], w[2], bias[2], h0, c0, gy, gh, gc;
  explicit Inputs(const Problem& p) {
    const Index batch = p.shape.batch, steps = p.shape.steps, hidden = p.shape.hidden;
    const Index width = kernels::gates_of(p.cell) * hidden;
    for (std::uint64_t d = 0; d < 2; ++d) {
      gates[d] = filled<T>(1 + d, batch * steps * width, 2);
      w[d] = filled<T>(3 + d, width * hidden, 1 / std::sqrt(static_cast<double>(hidden)));
      bias[d] = filled<T>(5 + d, width);
    }
    h0 = filled<T>(7, 2 * batch * hidden);
    c0 = filled<T>(8, 2 * batch * hidden);
    gy = filled<T>(9, batch * steps * 2 * hidden);
    gh = filled<T>(10, 2 * batch * hidden);
    gc = filled<T>(11, 2 * batch * hidden);
  }
};

template <class T>
Numbers<T> compute(const Problem& p, const Inputs<T>& in, int thread_count) {
  const Index batch = p.shape.batch, steps = p.shape.steps, hidden = p.shape.hidden;
  const Index width = kernels::gates_of(p.cell) * hidden, state = batch * hidden, tokens = batch * steps;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const auto fresh = [&](Index count) { return std::vector<T>(static_cast<std::size_t>(count), nan); };
  Numbers<T> out{fresh(tokens * p.directions * hidden),
                 fresh(2 * state),
                 fresh(2 * state),
                 {},
                 fresh(2 * tokens * width),
                 fresh(2 * tokens * hidden),
                 fresh(2 * state),
                 fresh(2 * state)};
  out.gates.insert(out.gates.end(), in.gates[0].begin(), in.gates[0].end());
  out.gates.insert(out.gates.end(), in.gates[1].begin(), in.gates[1].end());
  std::vector<T> memory = fresh(2 * tokens * hidden);
  const Index packed = kernels::packed_recurrent<T>(p.cell, hidden);
  std::vector<T> panels = fresh(2 * packed), transposed = fresh(2 * packed);
  aulos::ThreadTeam team(thread_count);
  const aulos::Threads threads = team.threads(kernels::recurrent_scratch<T>(p.cell, batch, hidden));
  kernels::RecurrentForward<T> forward[2];
  kernels::RecurrentBackward<T> backward[2];
  const bool lstm = p.cell == RecurrentCell::lstm;
  for (Index d = 0; d < p.directions; ++d) {
    kernels::pack_recurrent<T>(threads, p.cell, in.w[d].data(), hidden, hidden, panels.data() + d * packed);
    kernels::pack_recurrent_transposed<T>(threads, p.cell, in.w[d].data(), hidden, hidden,
                                          transposed.data() + d * packed);
    forward[d] = {.panels = panels.data() + d * packed,
                  .bias = p.bias ? in.bias[d].data() : nullptr,
                  .gates = out.gates.data() + d * tokens * width,
                  .memory = memory.data() + d * tokens * hidden,
                  .h0 = p.initial ? in.h0.data() + d * state : nullptr,
                  .c0 = p.initial && lstm ? in.c0.data() + d * state : nullptr,
                  .y = out.y.data() + d * hidden,
                  .ldy = p.directions * hidden,
                  .h_last = out.h_last.data() + d * state,
                  .c_last = lstm ? out.c_last.data() + d * state : nullptr,
                  .reverse = d == 1};
    backward[d] = {.panels = transposed.data() + d * packed,
                   .gates = forward[d].gates,
                   .memory = forward[d].memory,
                   .y = forward[d].y,
                   .ldy = forward[d].ldy,
                   .h0 = forward[d].h0,
                   .c0 = forward[d].c0,
                   .gy = in.gy.data() + d * hidden,
                   .ldgy = 2 * hidden,
                   .gh_last = in.gh.data() + d * state,
                   .gc_last = lstm ? in.gc.data() + d * state : nullptr,
                   .hidden_gates = out.hidden_gates.data() + d * tokens * width,
                   .previous = out.previous.data() + d * tokens * hidden,
                   .gh0 = out.gh0.data() + d * state,
                   .gc0 = lstm ? out.gc0.data() + d * state : nullptr,
                   .reverse = d == 1};
    if (lstm) backward[d].hidden_gates = nullptr;
  }
  const std::int64_t* lengths = p.lengths.empty() ? nullptr : p.lengths.data();
  kernels::recurrent_forward<T>(threads, p.cell, p.shape, lengths, forward, p.directions);
  kernels::recurrent_backward<T>(threads, p.cell, p.shape, lengths, backward, p.directions);
  if (lstm) out.hidden_gates = out.gates;
  return out;
}

template <class T>
void expect_near(const T* got, const naive::Vector& want, double tolerance, const char* what) {
  for (std::size_t i = 0; i < want.size(); ++i)
    ASSERT_NEAR(static_cast<double>(got[i]), want[i],
                tolerance * static_cast<double>(std::numeric_limits<T>::epsilon()))
        << what << " " << i;
}

template <class T>
void compare(const Problem& p) {
  const Index batch = p.shape.batch, steps = p.shape.steps, hidden = p.shape.hidden;
  SCOPED_TRACE(::testing::Message() << (p.cell == RecurrentCell::lstm ? "lstm" : "gru") << " B " << batch << " N "
                                    << steps << " H " << hidden);
  const Index width = kernels::gates_of(p.cell) * hidden, state = batch * hidden, tokens = batch * steps;
  const bool lstm = p.cell == RecurrentCell::lstm;
  const Inputs<T> in(p);
  const Numbers<T> got = compute(p, in, 1);
  const double tolerance = 60 + 4 * static_cast<double>(steps);
  for (Index d = 0; d < p.directions; ++d) {
    naive::Vector dw(static_cast<std::size_t>(width * hidden), 0), db(static_cast<std::size_t>(width), 0);
    for (Index b = 0; b < batch; ++b) {
      const Index length = p.lengths.empty() ? steps : static_cast<Index>(p.lengths[static_cast<std::size_t>(b)]);
      const auto token = [&](Index step) { return b * steps + (d == 1 ? length - 1 - step : step); };
      const naive::Vector zeros(static_cast<std::size_t>(hidden), 0);
      const Index at = d * state + b * hidden;
      const naive::Vector bias =
          p.bias ? wide(in.bias[d].data(), width) : naive::Vector(static_cast<std::size_t>(width), 0);
      const auto w = wide(in.w[d].data(), width * hidden);
      const auto trace = naive::recurrent(
          p.cell, length, hidden, [&](Index step) { return wide(in.gates[d].data() + token(step) * width, width); }, w,
          bias, p.initial ? wide(in.h0.data() + at, hidden) : zeros,
          p.initial && lstm ? wide(in.c0.data() + at, hidden) : zeros);
      std::vector<naive::Vector> gy;
      for (Index step = 0; step < length; ++step) {
        gy.push_back(wide(in.gy.data() + token(step) * 2 * hidden + d * hidden, hidden));
        expect_near(got.y.data() + (token(step) * p.directions + d) * hidden,
                    trace.h[static_cast<std::size_t>(step) + 1], tolerance, "y");
        expect_near(got.previous.data() + (d * tokens + token(step)) * hidden, trace.h[static_cast<std::size_t>(step)],
                    tolerance, "previous");
      }
      for (Index t = length; t < steps; ++t) {
        expect_near(got.y.data() + ((b * steps + t) * p.directions + d) * hidden, zeros, 0, "y in the padding");
        expect_near(got.previous.data() + (d * tokens + b * steps + t) * hidden, zeros, 0, "previous in the padding");
        const naive::Vector none(static_cast<std::size_t>(width), 0);
        expect_near(got.gates.data() + (d * tokens + b * steps + t) * width, none, 0, "gates in the padding");
        expect_near(got.hidden_gates.data() + (d * tokens + b * steps + t) * width, none, 0, "hidden in the padding");
      }
      expect_near(got.h_last.data() + at, trace.h.back(), tolerance, "h");
      if (lstm) expect_near(got.c_last.data() + at, trace.c.back(), tolerance, "c");
      const auto back = naive::recurrent_backward(p.cell, hidden, trace, w, gy, wide(in.gh.data() + at, hidden),
                                                  lstm ? wide(in.gc.data() + at, hidden) : zeros);
      for (Index step = 0; step < length; ++step)
        expect_near(got.gates.data() + (d * tokens + token(step)) * width, back.x[static_cast<std::size_t>(step)],
                    8 * tolerance, "gradient of gates");
      expect_near(got.gh0.data() + at, back.h0, 8 * tolerance, "gradient of h0");
      if (lstm) expect_near(got.gc0.data() + at, back.c0, 8 * tolerance, "gradient of c0");
      for (std::size_t i = 0; i < dw.size(); ++i) dw[i] += back.w[i];
      for (std::size_t i = 0; i < db.size(); ++i) db[i] += back.bias[i];
    }
    for (Index n = 0; n < width; ++n) {
      naive::Vector sum(static_cast<std::size_t>(hidden), 0);
      double bias = 0;
      for (Index token = 0; token < tokens; ++token) {
        const double g =
            static_cast<double>(got.hidden_gates[static_cast<std::size_t>((d * tokens + token) * width + n)]);
        bias += g;
        for (Index j = 0; j < hidden; ++j)
          sum[static_cast<std::size_t>(j)] +=
              g * static_cast<double>(got.previous[static_cast<std::size_t>((d * tokens + token) * hidden + j)]);
      }
      const double bound =
          8 * tolerance * static_cast<double>(tokens + 1) * static_cast<double>(std::numeric_limits<T>::epsilon());
      ASSERT_NEAR(bias, db[static_cast<std::size_t>(n)], bound);
      for (Index j = 0; j < hidden; ++j)
        ASSERT_NEAR(sum[static_cast<std::size_t>(j)], dw[static_cast<std::size_t>(n * hidden + j)], bound);
    }
  }
  const auto bytes = [](const std::vector<T>& x) {
    return std::vector<unsigned char>(reinterpret_cast<const unsigned char*>(x.data()),
                                      reinterpret_cast<const unsigned char*>(x.data() + x.size()));
  };
  for (const int threads : more_threads) {
    const Numbers<T> more = compute(p, in, threads);
    EXPECT_EQ(bytes(more.y), bytes(got.y));
    EXPECT_EQ(bytes(more.gates), bytes(got.gates));
    EXPECT_EQ(bytes(more.gh0), bytes(got.gh0));
    EXPECT_EQ(bytes(more.h_last), bytes(got.h_last));
  }
}

TYPED_TEST(RecurrentKernel, AgreesWithItsTwin) {
  for (const RecurrentCell cell : {RecurrentCell::lstm, RecurrentCell::gru}) {
    for (Index hidden = 1; hidden <= 37; hidden += hidden < 18 ? 1 : 6) compare<TypeParam>({cell, {2, 3, hidden}});
    for (Index batch : {0, 1, 5, 13, 30}) compare<TypeParam>({cell, {batch, 4, 10}});
    compare<TypeParam>({cell, {3, 0, 5}});
    compare<TypeParam>({cell, {3, 1, 5}});
    compare<TypeParam>({cell, {60, 9, 20}});
    compare<TypeParam>({cell, {2, 60, 6}});
    compare<TypeParam>({.cell = cell, .shape = {4, 5, 7}, .directions = 1, .bias = false, .initial = false});
  }
}

// The backward direction begins at the last token of each sequence, whatever stands behind it.
TYPED_TEST(RecurrentKernel, SequencesOfTheirOwnLength) {
  for (const RecurrentCell cell : {RecurrentCell::lstm, RecurrentCell::gru}) {
    compare<TypeParam>({.cell = cell, .shape = {3, 5, 6}, .lengths = {5, 3, 1}});
    compare<TypeParam>({.cell = cell, .shape = {5, 7, 20}, .lengths = {0, 7, 2, 0, 6}});
  }
}

// Hidden 1, weights 0, both biases [0.5, 1, 1.5, 2]: the gates see [1, 2, 3, 4].
TEST(RecurrentKernels, OrderOfTheLstmGates) {
  const double bias[] = {0.5, 1, 1.5, 2}, zero[4] = {};
  double gates[] = {0.5, 1, 1.5, 2, 0.5, 1, 1.5, 2}, y[2], h, c, memory[2];
  std::vector<double> panels(static_cast<std::size_t>(kernels::packed_recurrent<double>(RecurrentCell::lstm, 1)));
  aulos::ThreadTeam team(1);
  const auto threads = team.threads(kernels::recurrent_scratch<double>(RecurrentCell::lstm, 1, 1));
  kernels::pack_recurrent<double>(threads, RecurrentCell::lstm, zero, 1, 1, panels.data());
  const kernels::RecurrentForward<double> d{panels.data(), bias, gates, memory, nullptr, nullptr, y, 1, &h, &c, false};
  kernels::recurrent_forward<double>(threads, RecurrentCell::lstm, {1, 2, 1}, nullptr, &d, 1);
  EXPECT_NEAR(memory[0], 0.7274433, 1e-7);
  EXPECT_NEAR(y[0], 0.6103203, 1e-7);
  EXPECT_NEAR(c, 1.3681733, 1e-7);
  EXPECT_NEAR(h, 0.8624784, 1e-7);
}

TYPED_TEST(RecurrentKernel, ASequenceDoesNotSeeTheOthers) {
  using T = TypeParam;
  Problem p{RecurrentCell::gru, {14, 6, 9}};
  Inputs<T> in(p);
  const Numbers<T> clean = compute(p, in, 1);
  const Index width = 27;
  in.gates[0][static_cast<std::size_t>((3 * 6 + 2) * width)] = std::numeric_limits<T>::quiet_NaN();
  const Numbers<T> spoilt = compute(p, in, 1);
  for (Index b = 0; b < 14; ++b) {
    for (Index t = 0; t < 6; ++t) {
      for (Index j = 0; j < 18; ++j) {
        const auto at = static_cast<std::size_t>((b * 6 + t) * 18 + j);
        if (b != 3 || t < 2 || j >= 9) {
          ASSERT_EQ(spoilt.y[at], clean.y[at]);
        } else if (t > 2 || j == 0) {
          ASSERT_TRUE(std::isnan(spoilt.y[at])) << t << " " << j;
        }
      }
    }
  }
}

}  // namespace
