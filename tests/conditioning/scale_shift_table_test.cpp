#include "aulos/conditioning/scale_shift_table.hpp"

#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using aulos::conditioning::ScaleShiftTable;

struct Block {  // a parent gives the table its name
  ScaleShiftTable<float> table{6, 4};
  ScaleShiftTable<float, 3> wan{6, 4};
  void visit(auto&& v) {
    v("scale_shift_table", table);
    v("modulation", wan);
  }
};
static_assert(aulos::nn::Module<Block>);

TEST(ScaleShiftTables, NamesAndShapes) {
  Block block;
  EXPECT_EQ(names_of(block), "scale_shift_table modulation ");
  std::vector<std::vector<Index>> shapes;
  aulos::nn::for_each_parameter(block, [&](const auto& p) { shapes.emplace_back(p.shape.begin(), p.shape.end()); });
  EXPECT_EQ(shapes, (std::vector<std::vector<Index>>{{6, 4}, {1, 6, 4}}));
}

TEST(ScaleShiftTables, RowsOfTheTablePlusPartsOfTheVector) {
  Context context({.threads = 1});
  Block block;
  naive::randomise(block, 1);
  const float* table = block.table.table.data();
  std::copy_n(table, 24, block.wan.table.data());
  const auto t = naive::random<float, 2>(context, Shape<2>{2, 24}, 2);
  const auto by_token = naive::random<float, 3>(context, Shape<3>{2, 3, 24}, 3);
  const auto rows = block.table.rows<6>(t), wan = block.wan.rows<6>(t);
  const auto token_rows = block.table.rows<6>(by_token);
  for (std::size_t i = 0; i < 6; ++i) {
    ASSERT_EQ(rows[i].shape(), (Shape<3>{2, 1, 4}));
    ASSERT_EQ(token_rows[i].shape(), (Shape<3>{2, 3, 4}));
    EXPECT_EQ(naive::values(rows[i]), naive::values(wan[i]));
    for (Index b = 0; b < 2; ++b)
      for (Index c = 0; c < 4; ++c) {
        const Index at = static_cast<Index>(i) * 4 + c;
        EXPECT_EQ(rows[i](b, 0, c), table[at] + t(b, at));
        for (Index n = 0; n < 3; ++n) EXPECT_EQ(token_rows[i](b, n, c), table[at] + by_token(b, n, at));
      }
  }
}

// The last norm: one vector for all rows; no SiLU, no linear.
TEST(ScaleShiftTables, SharedRows) {
  Context context({.threads = 1});
  ScaleShiftTable<float> table(2, 4);
  const float numbers[] = {0, 1, 2, 3, 10, 11, 12, 13};
  std::copy_n(numbers, 8, table.table.data());
  const auto t = naive::random<float, 2>(context, Shape<2>{3, 4}, 2);
  const auto rows = table.shared_rows<2>(t);
  for (Index b = 0; b < 3; ++b)
    for (Index c = 0; c < 4; ++c) {
      EXPECT_EQ(rows[0](b, 0, c), t(b, c) + static_cast<float>(c));
      EXPECT_EQ(rows[1](b, 0, c), t(b, c) + static_cast<float>(10 + c));
    }
  const auto by_token = naive::random<float, 3>(context, Shape<3>{3, 2, 4}, 3);
  EXPECT_EQ(table.shared_rows<2>(by_token)[1](2, 1, 3), by_token(2, 1, 3) + 13.0f);
}

// LTX-2: four rows of a table of five go with one vector, the last with another.
TEST(ScaleShiftTables, PartsOfATable) {
  Context context({.threads = 1});
  ScaleShiftTable<float> table(5, 2);
  for (Index i = 0; i < 10; ++i) table.table.data()[i] = static_cast<float>(i);
  const auto four = table.rows<4>(context.zeros<float>(Shape<2>{1, 8}));
  EXPECT_EQ(naive::values(four[3]), (std::vector<float>{6, 7}));
  const auto last = table.rows<1>(context.full<float>(Shape<2>{1, 2}, 100), 4);
  EXPECT_EQ(naive::values(last[0]), (std::vector<float>{108, 109}));
}

TEST(ScaleShiftTableErrors, WidthsAndRows) {
  Context context({.threads = 1});
  ScaleShiftTable<float> table(5, 2);
  table.table.data();
  EXPECT_THROW(table.rows<5>(context.zeros<float>(Shape<2>{1, 8})), aulos::ShapeError);
  EXPECT_THROW(table.rows<6>(context.zeros<float>(Shape<2>{1, 12})), aulos::ShapeError);
  EXPECT_THROW(table.shared_rows<2>(context.zeros<float>(Shape<2>{1, 3})), aulos::ShapeError);
  EXPECT_THROW(table.shared_rows<2>(context.zeros<float>(Shape<2>{1, 2}), 4), aulos::ShapeError);
}

TEST(ScaleShiftTables, Gradients) {
  Context context({.threads = 1});
  ScaleShiftTable<double> table(3, 4);
  naive::randomise(table, 1);
  const aulos::nn::LayerNorm<double> norm(4, 1e-6, aulos::nn::Affine::no);
  expect_gradients(
      context, table,
      [&](const Tensor<double, 3>& x, const Tensor<double, 2>& t, const Tensor<double, 2>& e) {
        const auto row = table.rows<3>(t);
        const auto last = table.shared_rows<2>(e, 1);
        const auto y = aulos::gated_residual(Tensor<double, 3>(x), row[2], norm.modulated(x, row[0], row[1]));
        return norm.modulated(y, last[0], last[1]);
      },
      std::tuple(naive::random<double, 3>(context, Shape<3>{2, 3, 4}, 2),
                 naive::random<double, 2>(context, Shape<2>{2, 12}, 3),
                 naive::random<double, 2>(context, Shape<2>{2, 4}, 4)));
}

}  // namespace
