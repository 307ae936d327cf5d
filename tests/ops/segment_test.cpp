#include "aulos/ops/segment.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::ChunkTable;

constexpr ChunkTable halves{23, 6, 10, -3, 3, 3};

template <class T>
std::vector<AnyTensor<T>> both(Case<T>& c, Index batch, Index channels, const ChunkTable& table, bool windowed) {
  const auto x = c.template in<3>(Shape<3>{batch, table.length, channels}, 1);
  const auto z = c.template in<4>(Shape<4>{batch, table.chunks, table.chunk, channels}, 2);
  const Tensor<T, 1> window = windowed ? aulos::hann_window<T>(c.context, table.chunk) : Tensor<T, 1>{};
  return results(segment(x, table, window), overlap_add(z, table, window));
}

TEST(SegmentOps, Values) {
  Context context;
  const auto x = of<float>(context, Shape<3>{1, 5, 1}, {1, 2, 3, 4, 5});
  const ChunkTable table{5, 4, 4, -2, 2, 2};
  const auto z = segment(x, table);
  EXPECT_EQ(z.shape(), (Shape<4>{1, 4, 4, 1}));
  expect_values(z, {0, 0, 1, 2, 1, 2, 3, 4, 3, 4, 5, 0, 5, 0, 0, 0});
  expect_values(overlap_add(z, table), {2, 4, 6, 8, 10});
  const auto window = of<float>(context, Shape<1>{4}, {1, 10, 100, 1000});
  expect_values(segment(x, table, window).slice(1, 1, 2), {1, 20, 300, 4000});
}

TEST(SegmentOps, GradientsLayoutsAndThreads) {
  for (const bool windowed : {false, true}) {
    expect_gradients([&](Case<double>& c) { return both(c, 2, 3, halves, windowed); });
    expect_gradients([&](Case<double>& c) { return both(c, 1, 1, ChunkTable{9, 5, 3, 0, 2, 2}, windowed); });
    expect_layouts_agree<float>([&](Case<float>& c) { return both(c, 2, 3, halves, windowed); });
    expect_threads_agree<float>([&](Case<float>& c) {
      return both(c, 2, 16, ChunkTable{1000, 250, 12, -125, 125, 125}, windowed);
    });
  }
  expect_gradients([&](Case<double>& c) { return both(c, 1, 2, ChunkTable{1, 1, 4, 0, 0, 1}, false); });
}

// <segment(x), z> = <x, overlap_add(z)>, exactly for small integers.
TEST(SegmentOps, OneIsTheTransposeOfTheOther) {
  Context context;
  for (const ChunkTable& table : {halves, ChunkTable{24, 7, 10, -3, 3, 4}, ChunkTable{20, 8, 7, 0, 2, 2}}) {
    const auto integers = [&](auto shape, std::uint64_t seed) {
      auto x = context.empty<float>(shape);
      for (Index i = 0; i < x.count(); ++i)
        x.mutable_data()[i] = static_cast<float>(static_cast<int>(8 * noise(seed, static_cast<std::uint64_t>(i))));
      return x;
    };
    const auto x = integers(Shape<3>{2, table.length, 3}, 1);
    const auto z = integers(Shape<4>{2, table.chunks, table.chunk, 3}, 2);
    const auto dot = [](const auto& a, const auto& b) {
      float sum = 0;
      for (Index i = 0; i < a.count(); ++i) sum += a.data()[i] * b.data()[i];
      return sum;
    };
    EXPECT_EQ(dot(segment(x, table), z), dot(x, overlap_add(z, table)));
    EXPECT_NE(dot(x, overlap_add(z, table)), 0);
  }
}

TEST(SegmentOps, ZeroBatch) {
  Context context;
  EXPECT_EQ(segment(context.zeros<float>(Shape<3>{0, 23, 3}), halves).shape(), (Shape<4>{0, 10, 6, 3}));
  EXPECT_EQ(overlap_add(context.zeros<float>(Shape<4>{0, 10, 6, 3}), halves).shape(), (Shape<3>{0, 23, 3}));
}

TEST(SegmentOps, Records) {
  expect_records<float>("segment", {"x"}, [](Case<float>& c) {
    return results(segment(c.in<3>(Shape<3>{2, 23, 3}, 1), halves));
  });
  expect_records<float>("overlap_add", {"z"}, [](Case<float>& c) {
    return results(overlap_add(c.in<4>(Shape<4>{2, 10, 6, 3}, 1), halves));
  });
}

TEST(SegmentOps, HannWindow) {
  Context context;  // torch.hann_window(5)
  expect_values(aulos::hann_window<double>(context, 5),
                {0, 0.3454915028125263, 0.9045084971874737, 0.9045084971874737, 0.3454915028125263}, 1e-15);
}

TEST(SegmentOps, SayWhatIsWrong) {
  const auto x = [](Context& c) { return c.zeros<float>(Shape<3>{1, 22, 3}); };
  const auto z = [](Context& c) { return c.zeros<float>(Shape<4>{1, 10, 5, 3}); };
  expect_errors({
      {"length", [&](Context& c) { segment(x(c), halves); }, {"segment: ", "x [1, 22, 3]", "expected [B, 23, C]"}},
      {"chunks",
       [&](Context& c) { overlap_add(z(c), halves); },
       {"overlap_add: ", "z [1, 10, 5, 3]", "expected [B, 10, 6, C]"}},
      {"window",
       [&](Context& c) {
         segment(x(c), ChunkTable{22, 6, 4, 0, 6, 6}, c.zeros<float>(Shape<1>{5}));
       },
       {"segment: ", "window [5]", "expected [6]"}},
      {"table",
       [&](Context& c) {
         segment(x(c), ChunkTable{22, 0, 4, 0, 6, 6});
       },
       {"segment: ", "4 chunks of 0"}},
      {"no x", [&](Context&) { segment(Tensor<float, 3>(), halves); }, {"segment: x is empty"}},
      {"no z", [&](Context&) { overlap_add(Tensor<float, 4>(), halves); }, {"overlap_add: z is empty"}},
      {"gradient of the window",
       [&](Context& c) {
         aulos::GradTape tape(c);
         auto window = c.zeros<float>(Shape<1>{6});
         tape.watch(window);
         segment(c.zeros<float>(Shape<3>{1, 23, 3}), halves, window);
       },
       {"segment: ", "no gradient"}},
  });
}

}  // namespace
