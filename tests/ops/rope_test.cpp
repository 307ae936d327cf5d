#include "aulos/ops/rope.hpp"

#include <gtest/gtest.h>

#include "aulos/ops/layout.hpp"
#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::RopeOptions;
using aulos::RopePairs;
using aulos::RopePrecision;
using aulos::RopeTable;

constexpr RopePairs layouts[] = {RopePairs::interleaved, RopePairs::half_split};

TEST(RopeOp, ClosedForms) {  // position 1, angles 1 and 0.01
  Context context;
  const auto table = aulos::rope_table<float>(context, 1, 4, {}, 1);
  const auto turn = [&](const std::vector<float>& x, RopePairs pairs) {
    return rope(of<float>(context, Shape<4>{1, 1, 1, 4}, x), table, pairs);
  };
  const double c = 0.54030230586814, s = 0.84147098480790;
  expect_values(turn({1, 0, 0, 0}, RopePairs::interleaved), {c, s, 0, 0}, 1e-7);
  expect_values(turn({1, 0, 0, 0}, RopePairs::half_split), {c, 0, s, 0}, 1e-7);
  expect_values(turn({0, 1, 0, 0}, RopePairs::interleaved), {-s, c, 0, 0}, 1e-7);
  expect_values(turn({0, 1, 0, 0}, RopePairs::half_split), {0, std::cos(0.01), 0, std::sin(0.01)}, 1e-7);
}

TEST(RopeOp, ScoresDependOnTheDistanceAlone) {
  for (const RopePairs pairs : layouts) {
    Context context;
    Case<double> c(context);
    const Index widths[] = {4, 6, 2};
    const auto q = c.in<4>(Shape<4>{1, 1, 1, 14}, 1), k = c.in<4>(Shape<4>{1, 1, 1, 14}, 2);  // 12 of 14 turn
    const auto score = [&](const std::vector<double>& at_q, const std::vector<double>& at_k) {
      const auto turned = [&](const Tensor<double, 4>& x, const std::vector<double>& at) {
        return values(rope(x, rope_table(of<double>(context, Shape<2>{1, 3}, at), widths), pairs));
      };
      const auto a = turned(q, at_q), b = turned(k, at_k);
      double sum = 0;
      for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
      return sum;
    };
    const double near = score({1, 2, 3}, {4, -1, 0.5});
    EXPECT_NEAR(score({101, 52, -7}, {104, 49, -9.5}), near, 1e-12);
    EXPECT_GT(std::fabs(score({2, 2, 3}, {4, -1, 0.5}) - near), 1e-3);
  }
}

TEST(RopeOp, AxesStandOneBehindTheOther) {
  Context context;
  const auto at = of<float>(context, Shape<2>{2, 3}, {2, 3, 5, -7, 0, 0.5f});
  const Index widths[] = {2, 0, 6};
  const auto table = rope_table(at, widths, {.theta = 256});
  EXPECT_EQ(table.cos.shape(), (Shape<4>{1, 2, 1, 4}));
  const auto angle = [&](Index i) {
    const double f[] = {1, 1, std::pow(256.0, -2.0 / 6), std::pow(256.0, -4.0 / 6)};
    return static_cast<double>(at(i / 4, i % 4 == 0 ? 0 : 2)) * f[i % 4];
  };
  expect_near(
      table.cos, [&](Index i) { return std::cos(angle(i)); }, 1e-7);
  expect_near(
      table.sin, [&](Index i) { return std::sin(angle(i)); }, 1e-7);
}

TEST(RopeOp, ExchangedAxesOfAGridExchangeTheTable) {
  Context context;
  const auto upright = aulos::grid_positions<float>(context, Shape<2>{2, 3});
  expect_values(upright, {0, 0, 0, 1, 0, 2, 1, 0, 1, 1, 1, 2});
  const auto flat = aulos::grid_positions<float>(context, Shape<2>{3, 2});
  const Index widths[] = {4, 4};
  const auto a = rope_table(upright, widths), b = rope_table(flat, widths);
  for (Index row = 0; row < 2; ++row)
    for (Index column = 0; column < 3; ++column)
      for (Index j = 0; j < 4; ++j)
        EXPECT_EQ(a.cos(0, row * 3 + column, 0, j), b.cos(0, column * 2 + row, 0, (j + 2) % 4));
}

TEST(RopeOp, PositionsBySampleAndAnglesByHead) {
  Context context;
  const auto at = of<float>(context, Shape<3>{2, 2, 1}, {0, 1, 5, 6});
  const Index width = 4;
  const auto by_sample = rope_table(at, std::span<const Index>(&width, 1));
  EXPECT_EQ(by_sample.cos.shape(), (Shape<4>{2, 2, 1, 2}));
  Case<float> c(context);
  const auto x = c.in<4>(Shape<4>{2, 2, 3, 4}, 1);
  const auto y = rope(x, by_sample, RopePairs::half_split);
  const auto second = rope(x.slice(0, 1, 2), aulos::rope_table<float>(context, 2, 4, {}, 5), RopePairs::half_split);
  EXPECT_EQ(values(y.slice(0, 1, 2)), values(second));

  const auto angles = c.in<4>(Shape<4>{1, 2, 3, 2}, 3, 3);
  const auto by_head = rope_table(angles);
  const auto z = rope(x, by_head, RopePairs::interleaved);
  expect_near(
      z,
      [&](Index i) {
        const Index b = i / 24, n = i / 12 % 2, h = i / 4 % 3, j = i % 4 / 2;
        const double a = static_cast<double>(angles(0, n, h, j));
        const double x0 = static_cast<double>(x(b, n, h, 2 * j)), x1 = static_cast<double>(x(b, n, h, 2 * j + 1));
        return i % 2 == 0 ? x0 * std::cos(a) - x1 * std::sin(a) : x1 * std::cos(a) + x0 * std::sin(a);
      },
      3e-7);
}

TEST(RopeOp, FloatAnglesAreRoundedStepByStep) {
  Context context;
  const auto table = aulos::rope_table<float>(context, 1, 6, {.precision = RopePrecision::float32}, 40000);
  const float angle = 40000 * (1 / std::pow(10000.0f, 2.0f / 6.0f));
  EXPECT_EQ(table.cos(0, 0, 0, 1), static_cast<float>(std::cos(static_cast<double>(angle))));
  EXPECT_EQ(table.sin(0, 0, 0, 1), static_cast<float>(std::sin(static_cast<double>(angle))));
}

TEST(RopeOp, OverwritesWhatNobodyElseHolds) {
  Context context;
  const auto table = aulos::rope_table<float>(context, 3, 4);
  auto x = context.normal<float>(Shape<4>{2, 3, 2, 6});
  const auto want = values(rope(x, table, RopePairs::half_split));
  const float* memory = x.data();
  const auto y = rope(std::move(x), table, RopePairs::half_split);
  EXPECT_EQ(y.data(), memory);
  EXPECT_EQ(values(y), want);
}

TEST(RopeOp, HeadsInFrontOfTokensAreAView) {
  Context context;
  const auto table = aulos::rope_table<float>(context, 3, 4);
  const auto x = context.normal<float>(Shape<4>{2, 5, 3, 4});  // [B, H, N, D]
  const auto y = rope(x.permute_leading({0, 2, 1, 3}), table, RopePairs::interleaved).permute_leading({0, 2, 1, 3});
  const auto want = rope(dense(Tensor<float, 4>(x.permute_leading({0, 2, 1, 3}))), table, RopePairs::interleaved);
  for (Index b = 0; b < 2; ++b)
    for (Index h = 0; h < 5; ++h)
      for (Index n = 0; n < 3; ++n)
        for (Index d = 0; d < 4; ++d) ASSERT_EQ(y(b, h, n, d), want(b, n, h, d));
}

TEST(RopeOp, Gradients) {
  for (const RopePairs pairs : layouts) {
    for (const Shape<4>& shape : {Shape<4>{2, 3, 2, 6}, {1, 1, 1, 2}, {2, 1, 3, 7}, {1, 2, 1, 34}}) {
      SCOPED_TRACE(to_string(shape));
      expect_gradients([&](Case<double>& c) {
        const auto x = c.in<4>(shape, 1);
        return results(rope(x, aulos::rope_table<double>(c.context, shape[1], shape[3] / 2 * 2, {}, 2), pairs));
      });
      for (const bool shared : {true, false}) {  // learned angles
        expect_gradients([&](Case<double>& c) {
          const auto x = c.in<4>(shape, 1);
          const auto angles =
              c.in<4>(Shape<4>{shared ? 1 : shape[0], shape[1], shared ? 1 : shape[2], shape[3] / 2}, 2, 3);
          return results(rope(x, rope_table(angles), pairs));
        });
      }
    }
  }
}

template <class T>
std::vector<AnyTensor<T>> turned(Case<T>& c, const Shape<4>& shape) {
  const auto x = c.template in<4>(shape, 1);
  const auto angles = c.template in<4>(Shape<4>{1, shape[1], shape[2], (shape[3] - 3) / 2}, 2, 3);
  const RopeTable<T> table = rope_table(angles);
  return results(rope(x, table, RopePairs::interleaved), rope(x, table, RopePairs::half_split));
}

TEST(RopeOp, LayoutsAndThreadsAgree) {
  expect_layouts_agree<float>([](Case<float>& c) {
    return results(rope(c.in<4>(Shape<4>{3, 4, 2, 18}, 1), aulos::rope_table<float>(c.context, 4, 16, {}, 1),
                        RopePairs::interleaved));
  });
  for (const aulos_test::Layout layout : {Layout::columns, Layout::exchanged, Layout::shifted}) {
    const aulos_test::Body<float> body = [](Case<float>& c) { return turned(c, Shape<4>{2, 5, 3, 19}); };
    const auto want = forward_backward<float>(body), got = forward_backward<float>(body, layout);
    expect_same(got.results, want.results, "result");
    expect_same(got.gradients, want.gradients, "gradient");
  }
  expect_threads_agree<float>([](Case<float>& c) { return turned(c, Shape<4>{2, 160, 3, 67}); });
}

TEST(RopeOp, RecordsAndNothing) {
  expect_records<float>("rope", {"x", "cos", "sin"}, [](Case<float>& c) { return turned(c, Shape<4>{2, 3, 2, 19}); });
  expect_records<float>("cos_sin", {"angles"}, [](Case<float>& c) { return turned(c, Shape<4>{2, 3, 2, 19}); });
  expect_records<float>("rope_table", {"positions"}, [](Case<float>& c) {
    const Index width = 4;
    return results(
        rope(c.in<4>(Shape<4>{1, 6, 1, 4}, 1),
             rope_table(aulos::grid_positions<float>(c.context, Shape<1>{6}), std::span<const Index>(&width, 1)),
             RopePairs::half_split));
  });
  for (const Shape<4>& shape : {Shape<4>{0, 3, 2, 19}, {2, 0, 2, 19}, {2, 3, 0, 19}, {2, 3, 2, 3}}) {
    const auto none = forward_backward<float>([&](Case<float>& c) { return turned(c, shape); });
    EXPECT_EQ(static_cast<Index>(none.results[0].size()), shape[0] * shape[1] * shape[2] * shape[3]);
  }
}

TEST(RopeOp, SaysWhatIsWrong) {
  const auto call = [](const Shape<4>& x, const Shape<4>& table) {
    return [=](Context& c) {
      rope(c.zeros<float>(x), RopeTable<float>{c.zeros<float>(table), c.zeros<float>(table)}, RopePairs::interleaved);
    };
  };
  expect_errors({
      {"tokens",
       call({2, 3, 4, 8}, {1, 5, 1, 4}),
       {"rope: table [1, 5, 1, 4] for x [2, 3, 4, 8]", "[1 or 2, 3, 1 or 4"}},
      {"width", call({2, 3, 4, 8}, {1, 3, 1, 5}), {"rope: table", "at most 4]"}},
      {"batch", call({2, 3, 4, 8}, {3, 3, 1, 4}), {"rope: table"}},
      {"heads", call({2, 3, 4, 8}, {1, 3, 2, 4}), {"rope: table"}},
      {"cos and sin",
       [](Context& c) {
         rope(c.zeros<float>(Shape<4>{1, 1, 1, 4}),
              RopeTable<float>{c.zeros<float>(Shape<4>{1, 1, 1, 2}), c.zeros<float>(Shape<4>{1, 1, 1, 1})},
              RopePairs::interleaved);
       },
       {"rope: cos [1, 1, 1, 2] and sin [1, 1, 1, 1]"}},
      {"axes",
       [](Context& c) {
         const Index widths[] = {4, 4};
         rope_table(c.zeros<float>(Shape<2>{5, 3}), std::span<const Index>(widths));
       },
       {"rope_table: positions [5, 3] for 2 axes"}},
      {"odd", [](Context& c) { aulos::rope_table<float>(c, 3, 5); }, {"rope_table: width 5 of an axis"}},
      {"x",
       [](Context& c) { rope(Tensor<float, 4>(), aulos::rope_table<float>(c, 1, 2), RopePairs::interleaved); },
       {"rope: x is empty"}},
  });
}

}  // namespace
