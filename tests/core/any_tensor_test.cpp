#include "aulos/core/any_tensor.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>

#include "aulos/core/context.hpp"

namespace {

using aulos::AnyTensor;
using aulos::Context;
using aulos::dense_dims;
using aulos::Dims;
using aulos::Index;

static_assert(aulos::Element<float> && aulos::Element<std::int64_t> && aulos::Element<std::uint8_t>);
static_assert(!aulos::Element<bool> && !aulos::Element<std::int16_t> && !aulos::Element<const float>);
static_assert(aulos::Real<float> && aulos::Real<double> && !aulos::Real<std::int64_t>);
static_assert(sizeof(AnyTensor<float>) <= 176, "handles are copied often");

AnyTensor<float> counting(Context& context, std::initializer_list<Index> extents) {
  AnyTensor<float> x = context.empty_any<float>(dense_dims(extents));
  for (Index i = 0; i < x.count(); ++i) x.mutable_data()[i] = static_cast<float>(i);
  return x;
}

TEST(AnyTensor, ADefaultOneIsEmpty) {
  const AnyTensor<float> x;
  EXPECT_TRUE(x.empty());
  EXPECT_EQ(x.rank(), 0);
  EXPECT_EQ(x.context(), nullptr);
  EXPECT_EQ(x.buffer(), nullptr);
  EXPECT_EQ(x.data(), nullptr);
  EXPECT_FALSE(x.whole());
  EXPECT_FALSE(x.sole());
}

TEST(AnyTensor, KnowsItsContextAndExtents) {
  Context context({.threads = 1});
  const AnyTensor<float> x = counting(context, {2, 3, 4});
  EXPECT_EQ(x.context(), &context);
  EXPECT_EQ(x.rank(), 3);
  EXPECT_EQ(x.count(), 24);
  EXPECT_EQ(x.rows(), 6);
  EXPECT_EQ(x.last(), 4);
  EXPECT_EQ(x.extent(1), 3);
  EXPECT_EQ(x.stride(0), 12);
  EXPECT_EQ(x.offset(), 0);
}

TEST(AnyTensor, IsSoleWhileNobodyElseSeesItsBuffer) {
  Context context({.threads = 1});
  AnyTensor<float> x = counting(context, {2, 32});
  EXPECT_TRUE(x.sole());
  {
    const AnyTensor<float> copy = x;
    EXPECT_FALSE(x.sole());
    EXPECT_FALSE(copy.sole());
    EXPECT_TRUE(copy.whole());
  }
  EXPECT_TRUE(x.sole());
  Dims row = dense_dims({32});
  AnyTensor<float> part = std::move(x).view(row);
  EXPECT_FALSE(part.whole());  // alone, but a part of its buffer
  EXPECT_FALSE(part.sole());
  EXPECT_EQ(part.buffer()->references, 1);
  Dims wide = dense_dims({64});
  EXPECT_TRUE(part.view(wide).whole());
}

TEST(AnyTensor, AMovedFromOneIsEmpty) {
  Context context({.threads = 1});
  AnyTensor<float> x = counting(context, {4});
  AnyTensor<float> y = std::move(x);
  EXPECT_TRUE(x.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(x.context(), nullptr);
  EXPECT_TRUE(y.sole());
  x = std::move(y);
  EXPECT_TRUE(y.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(x.data()[3], 3);
  AnyTensor<float>& self = x;
  x = std::move(self);
  EXPECT_EQ(x.data()[3], 3);
  const AnyTensor<float> view = std::move(x).view(dense_dims({2}), 2);
  EXPECT_TRUE(x.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(view.data()[0], 2);
}

TEST(AnyTensor, ViewsShareMemoryAndNode) {
  Context context({.threads = 1});
  AnyTensor<float> x = counting(context, {4, 5});
  x.set_node(7);
  const AnyTensor<float> view = x.view(dense_dims({5}), 10);
  EXPECT_EQ(view.node(), 7u);
  EXPECT_EQ(view.offset(), 10);
  EXPECT_EQ(view.data(), x.data() + 10);
  const AnyTensor<float> inner = view.view(dense_dims({2}), 3);
  EXPECT_EQ(inner.offset(), 13);
  EXPECT_EQ(x.buffer()->references, 3);
}

TEST(AnyTensor, OneWithoutElementsIsNotEmpty) {
  Context context({.threads = 1});
  const AnyTensor<float> x = context.empty_any<float>(dense_dims({3, 0, 2}));
  EXPECT_FALSE(x.empty());
  EXPECT_EQ(x.count(), 0);
  EXPECT_NE(x.data(), nullptr);
}

TEST(AnyTensor, APlannedOneHasNoElements) {
  Context context(Context::Dry{});
  const AnyTensor<double> x = context.empty_any<double>(dense_dims({1000000, 1000}));
  EXPECT_TRUE(x.sole());
  for (const bool writing : {false, true}) {
    try {
      (void)(writing ? x.mutable_data() : x.data());
      ADD_FAILURE();
    } catch (const aulos::Error& error) {
      EXPECT_STREQ(error.what(), "a planned tensor [1000000, 1000] has no elements");
    }
  }
}

}  // namespace
