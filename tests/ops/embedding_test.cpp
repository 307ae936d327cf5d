#include "aulos/ops/embedding.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

Tensor<std::int64_t, 2> ids_of(Context& context, const Shape<2>& shape, Index rows) {
  auto ids = context.empty<std::int64_t>(shape);
  if (!context.dry())
    for (Index i = 0; i < ids.count(); ++i) ids.mutable_data()[i] = (i * 7 + i / 3) % rows;
  return ids;
}

TEST(EmbeddingOp, GathersRows) {
  Context context;
  const auto table = of<float>(context, Shape<2>{3, 2}, {1, 2, 3, 4, 5, 6});
  const auto ids = of<std::int64_t>(context, Shape<2>{2, 2}, {2, 0, 0, 1});
  const auto y = embedding(table, ids);
  EXPECT_EQ(y.shape(), (Shape<3>{2, 2, 2}));
  expect_values(y, {5, 6, 1, 2, 1, 2, 3, 4});
}

TEST(EmbeddingOp, RepeatedIdsAddUpAndThePaddingRowHasNoGradient) {
  Context context;
  GradTape tape(context);
  aulos::Parameter<float, 2> table(Shape<2>{4, 3});
  table.data();
  const auto ids = of<std::int64_t>(context, Shape<1>{5}, {1, 0, 1, 3, 1});
  backward<float>(context, {embedding(table.tensor(), ids, 3).any()});
  const auto g = tape.gradient(table);
  const auto cotangent = [](Index row, Index c) {
    return static_cast<float>(noise(77, static_cast<std::uint64_t>(row * 3 + c)));
  };
  for (Index c = 0; c < 3; ++c) {
    EXPECT_EQ(g(0, c), cotangent(1, c));
    EXPECT_EQ(g(1, c), cotangent(0, c) + cotangent(2, c) + cotangent(4, c));
    EXPECT_EQ(g(2, c), 0);
    EXPECT_EQ(g(3, c), 0);
  }
}

TEST(EmbeddingOp, Gradients) {
  for (const Index width : {1, 7, 17}) {
    expect_gradients([&](Case<double>& c) {
      return results(embedding(c.in<2>(Shape<2>{5, width}, 1), ids_of(c.context, Shape<2>{2, 4}, 5)));
    });
  }
}

TEST(EmbeddingOp, LayoutsThreadsRecordsAndNothing) {
  const auto body = [](const Shape<2>& table, const Shape<2>& ids) {
    return [=](Case<float>& c) { return results(embedding(c.in<2>(table, 1), ids_of(c.context, ids, table[0]))); };
  };
  expect_layouts_agree<float>(body({6, 19}, {3, 4}));
  expect_threads_agree<float>(body({40, 257}, {3, 64}));
  expect_records<float>("embedding", {"table"}, body({6, 19}, {3, 4}));
  const Outcome<float> none = forward_backward<float>(body({6, 5}, {0, 4}));
  EXPECT_TRUE(none.results[0].empty());
  EXPECT_EQ(none.gradients[0], std::vector<float>(30, 0));
}

TEST(EmbeddingOp, TakesIdsWithGaps) {
  Context context;
  const auto table = context.normal<float>(Shape<2>{4, 3});
  const auto wide = of<std::int64_t>(context, Shape<2>{2, 3}, {0, 1, 99, 2, 3, 99});
  EXPECT_EQ(values(embedding(table, wide.slice(1, 0, 2))), values(table));
}

TEST(EmbeddingOp, SaysWhatIsWrong) {
  const auto with_id = [](std::int64_t id) {
    return [id](Context& c) { embedding(c.zeros<float>(Shape<2>{3, 2}), of<std::int64_t>(c, Shape<1>{2}, {0, id})); };
  };
  expect_errors({
      {"too large", with_id(3), {"embedding: ", "id 3 at position 1", "expected 0 to 2", "table [3, 2]"}},
      {"negative", with_id(-1), {"embedding: ", "id -1 at position 1"}},
      {"table",
       [](Context& c) { embedding(Tensor<float, 2>(), c.zeros<std::int64_t>(Shape<1>{2})); },
       {"embedding: table is empty"}},
      {"ids",
       [](Context& c) {
         embedding(c.zeros<float>(Shape<2>{3, 2}), Tensor<std::int64_t, 1>());
       },
       {"embedding: ids is empty"}},
  });
}

}  // namespace
