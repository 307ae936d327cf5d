// Products and attention on threads that an application lends: what a kernel needs of a thread, such as the layout of
// its tiles, it sets up itself.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "aulos/core/context.hpp"
#include "aulos/kernels/attention.hpp"
#include "aulos/kernels/gemm.hpp"
#include "tests/kernels/attention_problem.hpp"
#include "tests/kernels/gemm_support.hpp"

namespace {

using aulos::Context;
using aulos::Index;
using aulos::Numeric;
using aulos::Threads;
namespace kernels = aulos::kernels;

// New threads for every run, none of them the caller's.
struct NewThreads {
  Index pieces_run = 0;
  static Index concurrency() { return 4; }
  void run(Index pieces, aulos::FunctionRef<void(Index)> body) {
    pieces_run += pieces;
    std::vector<std::thread> threads;
    for (Index first = 0; first < concurrency(); ++first) {
      threads.emplace_back([=] {
        for (Index piece = first; piece < pieces; piece += concurrency()) body(piece);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
};

// `compute(context)` gives the same on a Context's own threads, few or many, and on lent ones.
template <class Compute>
void expect_same_when_lent(const Compute& compute) {
  Context one({.threads = 1}), own({.threads = 4});
  NewThreads threads;
  Context lent(threads, {});
  const auto expected = compute(one);
  EXPECT_EQ(compute(own), expected);
  EXPECT_EQ(compute(lent), expected);
  EXPECT_GE(threads.pieces_run, 4);
}

TEST(LentThreads, Products) {
  for (const Numeric mode : {Numeric::exact, Numeric::bf16, Numeric::int8}) {
    SCOPED_TRACE(aulos::name_of(mode));
    for (const kernels::GemmShape s : {kernels::GemmShape{70, 200, 301}, {256, 70, 1700}, {2, 900, 700}}) {
      const auto values = gemm_support::random<float>(s.n * s.k, 1), x = gemm_support::random<float>(s.m * s.k, 2);
      gemm_support::Bytes panels(kernels::packed_bytes<float>(s.n, s.k, mode));
      kernels::pack_weight(Threads::serial(), values.data(), s.k, s.n, s.k, mode, panels.data());
      const kernels::WeightView<float> w{.panels = panels.data(), .type = mode};
      expect_same_when_lent([&](Context& context) {
        std::vector<float> y(static_cast<std::size_t>(s.m * s.n));
        const aulos::Cost cost{.flops = 1e9, .bytes = 1e6, .scratch = kernels::gemm_scratch(s, w, mode)};
        context.run("gemm", cost, [&](Threads threads) {
          kernels::gemm(threads, x.data(), s.k, w, kernels::NoEpilogue{}, y.data(), s.n, s, mode);
        });
        return y;
      });
    }
  }
}

TEST(LentThreads, Attention) {
  using attention_test::Extents;
  for (const Numeric mode : {Numeric::exact, Numeric::bf16}) {
    SCOPED_TRACE(aulos::name_of(mode));
    for (const Extents extents : {Extents{130, 300}, {1, 700}}) {
      const attention_test::Problem<float> problem(attention_test::shape_of(2, 4, 2, 40, 24), {extents});
      expect_same_when_lent([&](Context& context) {
        auto p = problem;
        const auto sides = p.sides();
        const auto scratch = kernels::attention_scratch<float>(p.shape, p.nq(), p.nk(), mode);
        context.run("attention", {.flops = 1e9, .bytes = 1e6, .scratch = scratch}, [&](Threads threads) {
          kernels::attention<float>(threads, p.shape, sides, kernels::NoMask{}, kernels::NoScore{}, mode);
        });
        return p.data[0].out.values();
      });
    }
  }
}

}  // namespace
